"""`sonic explore`: plot and tabulate a source of features."""

from __future__ import annotations

import argparse
from pathlib import Path

from pyspark.sql import SparkSession

from sonic_lib.cli.options import add_source
from sonic_lib.config import Config
from sonic_lib.console import paragraph, say, show
from sonic_lib.models.exploration import projections
from sonic_lib.report.exploration import text_of
from sonic_lib.schemas import FEATURES
from sonic_lib.storage.whole_file import check_folder
from sonic_lib.workflows.exploration import check_sample, explore_source, write_exploration

HELP = "plot a source of features: distributions, correlations, projections"
READS = (FEATURES,)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    add_source(parser)
    parser.add_argument(
        "--color",
        metavar="COLUMN",
        help="column that colors the projections (default: genre, genres or folder)",
    )
    parser.add_argument(
        "--columns", nargs="+", metavar="COLUMN", help="numeric columns to explore (default: all)"
    )
    parser.add_argument(
        "--sample",
        type=int,
        default=3000,
        metavar="N",
        help="songs in the projections, sampled by hash (default 3000)",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="random seed (default 1)")
    parser.add_argument(
        "--report", default="exploration", metavar="FOLDER", help="folder for plots and tables"
    )


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    check_folder("--report", args.report)
    check_sample(args.sample)
    projections.load_manifold()


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Explore one source and write the report."""
    found = explore_source(
        spark,
        config,
        source=args.source,
        color=args.color,
        columns=args.columns,
        n_sample=args.sample,
        seed=args.seed,
    )
    folder = Path(args.report)
    write_exploration(found, folder)
    show(paragraph(text_of(found)))
    say(f"  report      {folder}", report=str(folder))
    return 0
