"""`sonic remove`: take songs out of the index."""

from __future__ import annotations

import argparse

from pyspark.sql import SparkSession

from sonic_lib.config import Config
from sonic_lib.console import say
from sonic_lib.workflows.removal import check_given, remove_songs

HELP = "take songs out of the index"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument(
        "songs", nargs="*", metavar="SONG", help="song_id, or path of a file as it was indexed"
    )
    parser.add_argument(
        "--where",
        metavar="CONDITION",
        help="all songs for which this holds, in SQL over the columns of songs: \"artist = 'X'\"",
    )


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before Spark starts."""
    check_given(args.songs, where=args.where)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Delete the songs, all that was computed of them, and the record of their files."""
    counts = remove_songs(spark, config, args.songs, where=args.where)
    say(
        f"{counts['songs']:.0f} songs removed from {config.warehouse}. Indexing a folder that "
        "still holds their files brings them back; `sonic maintain --restore-to TIME` does, too, "
        "until `sonic maintain --purge` has deleted them for good.",
        **counts,
    )
    return 0
