"""`sonic report`: an HTML report on the index, an identification run and the models."""

from __future__ import annotations

import argparse

from pyspark.sql import SparkSession

from sonic_lib.config import Config
from sonic_lib.console import say
from sonic_lib.schemas import TABLES
from sonic_lib.workflows.reporting import EVALUATION, N_CLIPS, check_wanted, write_report

HELP = "write an HTML report on the index, an identification run and the models"
READS = TABLES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument(
        "--output",
        default="report.html",
        metavar="FILE",
        help="the page to write (default report.html)",
    )
    parser.add_argument(
        "--run", metavar="RUN_ID", help="run of identify to show (default: the last)"
    )
    parser.add_argument(
        "--clips",
        type=int,
        default=N_CLIPS,
        metavar="N",
        help=f"clips of the run to show (default {N_CLIPS})",
    )
    parser.add_argument(
        "--evaluation",
        metavar="DIR",
        help=f"output of `sonic evaluate` (default {EVALUATION}, if it is for this warehouse)",
    )


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    check_wanted(args.output, n_clips=args.clips, evaluation=args.evaluation)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Write the report."""
    n_bytes = write_report(
        spark,
        config,
        args.output,
        run_id=args.run,
        n_clips=args.clips,
        evaluation=args.evaluation,
    )
    say(f"Report: {args.output} ({n_bytes / 1e6:.1f} MB)", output=args.output, bytes=n_bytes)
    return 0
