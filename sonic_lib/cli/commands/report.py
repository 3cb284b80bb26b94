"""`sonic report`: the index, an identification run and the models as one HTML page."""

from __future__ import annotations

import argparse

from pyspark.sql import SparkSession

from sonic_lib.config import Config
from sonic_lib.console import say
from sonic_lib.workflows.reporting import EVALUATION, N_CLIPS, check_wanted, write_report

HELP = "an HTML page of the index, an identification run and the models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument(
        "--output", default="report.html", metavar="FILE", help="default report.html"
    )
    parser.add_argument("--run", metavar="RUN_ID", help="which run of identify (default: the last)")
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
        help=f"what `sonic evaluate` wrote (default {EVALUATION}, if it ran on this warehouse)",
    )


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before Spark starts."""
    check_wanted(args.output, n_clips=args.clips, evaluation=args.evaluation)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Gather what there is and write the page."""
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
