"""`sonic remove`: remove songs from the index."""

from __future__ import annotations

import argparse

from pyspark.sql import SparkSession

from sonic_lib.config import Config
from sonic_lib.console import say
from sonic_lib.formats import counted
from sonic_lib.schemas import SONGS
from sonic_lib.workflows.removal import check_given, remove_songs

HELP = "remove songs from the index"
READS = (SONGS,)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument(
        "songs",
        nargs="*",
        metavar="SONG",
        help="song_id, path of a file as it was indexed, or whole title",
    )
    parser.add_argument(
        "--where",
        metavar="CONDITION",
        help="all songs that match this SQL condition on the table songs: \"artist = 'X'\"",
    )


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    check_given(args.songs, where=args.where)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Delete the songs, everything computed from them, and the records of their files."""
    counts = remove_songs(spark, config, args.songs, where=args.where)
    say(
        f"{counted(counts['songs'], 'song')} removed from {config.warehouse}. Indexing a folder "
        "that still has their files adds them again; so does `sonic maintain --restore-to TIME`, "
        "until `sonic maintain --purge` deletes them for good.",
        **counts,
    )
    return 0
