"""`sonic predict`: predict genre and popularity with the champions."""

from __future__ import annotations

import argparse

from pyspark.sql import SparkSession

from sonic_lib.cli.options import add_output, add_source
from sonic_lib.cli.writers import check_output, write_output
from sonic_lib.config import Config
from sonic_lib.console import say, show
from sonic_lib.formats import counted
from sonic_lib.models.registry import NAMES
from sonic_lib.schemas import FEATURES
from sonic_lib.spark.columns import sql_text
from sonic_lib.spark.messages import one_line
from sonic_lib.workflows.completed_table import completed_source
from sonic_lib.workflows.prediction import Predictions, check_confidence, predict_songs

HELP = "predict genre and popularity with the champions"
READS = (FEATURES,)
IS_PYTHON_WORK = True  # as `sonic train`
_ALL = "all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    add_source(parser)
    parser.add_argument(
        "--model", choices=(_ALL, *NAMES), default=_ALL, help="default: all that have a champion"
    )
    parser.add_argument(
        "--confidence",
        type=float,
        default=0.9,
        metavar="C",
        help="target coverage of prediction sets and intervals (default 0.9)",
    )
    add_output(parser, "write the completed table as")
    parser.add_argument(
        "--probabilities", action="store_true", help="include the probability of every genre"
    )


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    check_confidence(args.confidence)
    check_output(args.output)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Predict, and write the completed table if asked to."""
    done = predict_songs(
        spark,
        config,
        source=args.source,
        model=None if args.model == _ALL else args.model,
        confidence=args.confidence,
        probabilities=args.probabilities,
    )
    for remark in done.remarks:
        show(one_line(f"  {remark.topic:10}  {remark.text}"))
    say(
        f"Predicted {counted(done.counts['songs'], 'song')} of {done.source}, sets and intervals "
        f"of {args.confidence:.0%}",
        **done.counts,
        source=done.source,
        confidence=args.confidence,
        versions={each.name: each.version for each in done.predictors.values()},
        output=args.output,
    )
    for target, predictor in done.predictors.items():
        show(one_line(f"  {predictor.name:10}  {target} by {predictor.version}"))
        if predictor.n_known:
            show(
                f"              trained on {predictor.n_known} of them (in_training), on which "
                "it is overconfident"
            )
    if args.output:
        _write_completed(spark, config.warehouse, done, output=args.output)
    return 0


def _write_completed(
    spark: SparkSession, warehouse: str, done: Predictions, *, output: str
) -> None:
    is_csv = output.lower().endswith(".csv")
    table, n_rejected = completed_source(spark, warehouse, done, as_texts=is_csv)
    write_output(table, output, all_digits=True)
    show(f"  {output}")
    if n_rejected:
        show(
            f'  without {counted(n_rejected, "rejected row")}: sonic sql "SELECT record, error '
            f'FROM sonic.feature_rejects WHERE source = {sql_text(done.source)}"'
        )
