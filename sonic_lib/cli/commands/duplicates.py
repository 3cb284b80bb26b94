"""`sonic duplicates`: find songs that are the same recording or share a passage."""

from __future__ import annotations

import argparse

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from sonic_lib.cli.options import add_output
from sonic_lib.cli.writers import check_output, text_lines, write_output
from sonic_lib.config import Config
from sonic_lib.console import paragraph, say, show
from sonic_lib.formats import counted
from sonic_lib.index import copies
from sonic_lib.schemas import SONGS
from sonic_lib.workflows.duplicates import list_duplicates

HELP = "find songs of the index that are the same recording or share a passage"
READS = (SONGS,)
_SHOWN_ROWS = 50
_NAMES = ("song", "other_song", "keep")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    add_output(parser, "write all pairs as")


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    check_output(args.output)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Compare all songs with one another and print the pairs."""
    found, counts = list_duplicates(spark, config)
    if args.output:
        write_output(found, args.output)
    say(
        f"{counted(counts['same_recording'], 'pair is', 'pairs are')} the same recording, in "
        f"{counted(counts['groups'], 'group')}; "
        f"{counted(counts['shared_passage'], 'pair shares', 'pairs share')} a passage",
        **counts,
        output=args.output,
    )
    if counts["pairs"]:
        shown = found.select("kind", F.round("overlap_s").alias("overlap_s"), *_NAMES)
        show(paragraph(text_lines(shown.columns, shown.take(_SHOWN_ROWS))))
        if counts["groups"]:
            show(f"keep: {copies.RULE}")
        if counts["pairs"] > _SHOWN_ROWS:
            show(f"… the first {_SHOWN_ROWS} pairs; --output FILE writes all")
    return 0
