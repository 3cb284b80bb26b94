"""`sonic playlist`: make a playlist from a few songs."""

from __future__ import annotations

import argparse

from pyspark.sql import SparkSession

from sonic_lib.cli.commands.recommend import song_lines
from sonic_lib.cli.options import add_output, add_source
from sonic_lib.cli.writers import check_output, write_output
from sonic_lib.config import Config
from sonic_lib.console import paragraph, say
from sonic_lib.schemas import FEATURES
from sonic_lib.workflows.playlists import check_choices, make_playlist

HELP = "make a playlist from a few songs"
READS = (FEATURES,)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument(
        "songs",
        nargs="+",
        metavar="SONG",
        help="song_id, key (path of the audio, or id in the table), or part of a title",
    )
    add_source(parser)
    parser.add_argument(
        "--columns", nargs="+", metavar="COLUMN", help="numeric columns to compare (default: all)"
    )
    parser.add_argument(
        "--count", type=int, default=20, metavar="N", help="songs to list (default 20)"
    )
    parser.add_argument(
        "--diversity",
        type=float,
        default=0.3,
        metavar="D",
        help="0: the most similar songs, 1: the most diverse ones (default 0.3)",
    )
    add_output(parser, "also write")


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    check_choices(count=args.count, diversity=args.diversity)
    check_output(args.output)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Make the playlist and print it."""
    playlist = make_playlist(
        spark,
        config,
        args.songs,
        source=args.source,
        columns=args.columns,
        count=args.count,
        diversity=args.diversity,
    )
    listed = playlist.collect()  # as many rows as requested
    say(paragraph(song_lines(listed)), songs=[row.asDict() for row in listed])
    if args.output:
        write_output(playlist, args.output)
    return 0
