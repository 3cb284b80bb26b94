"""`sonic train recommendations`: find the most similar songs for every song."""

from __future__ import annotations

import argparse

from pyspark.sql import SparkSession

from sonic_lib.config import Config
from sonic_lib.console import say
from sonic_lib.formats import counted
from sonic_lib.spark.messages import one_line
from sonic_lib.workflows.recommendation import (
    EXACT_UP_TO,
    RecommendationTraining,
    check_lists,
    train_recommendations,
)


def add_arguments(parser: argparse._ActionsContainer) -> None:
    """Declare the arguments of this model."""
    parser.add_argument(
        "--columns", nargs="+", metavar="COLUMN", help="numeric columns to compare (default: all)"
    )
    parser.add_argument(
        "--count", type=int, default=10, metavar="K", help="similar songs per song (default 10)"
    )
    parser.add_argument(
        "--clusters",
        type=int,
        metavar="N",
        help="compare only songs in the nearest of N clusters; 0: all songs "
        f"(default: 0 up to {EXACT_UP_TO:,} songs)",
    )


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    check_lists(count=args.count, clusters=args.clusters)


def run(
    spark: SparkSession, config: Config, args: argparse.Namespace, *, source: str | None
) -> int:
    """Compare the songs and print the counts."""
    done = train_recommendations(
        spark,
        config,
        source=source,
        columns=args.columns,
        count=args.count,
        clusters=args.clusters,
    )
    say_training(done)
    return 0


def say_training(done: RecommendationTraining) -> None:
    """Describe what was compared."""
    counts = done.counts
    left_out = f"; constant: {one_line(', '.join(done.constant))}" if done.constant else ""
    say(
        f"Recommendations for {done.source}\n"
        f"  songs   {counts['songs']:.0f}, compared by "
        f"{counted(counts['columns'], 'feature')}{left_out}\n"
        f"  time    {counts['seconds']:.1f} s\n"
        "  Next: sonic recommend SONG, or sonic playlist SONG SONG …",
        recommendations={"source": done.source, **counts},
    )
