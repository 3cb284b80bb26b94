"""`sonic retrain`: train new versions, and promote those that are significantly better."""

from __future__ import annotations

import argparse

from pyspark.sql import SparkSession

from sonic_lib.cli.commands import train_recommendations
from sonic_lib.cli.commands.train import remark_lines, report_lines
from sonic_lib.config import Config
from sonic_lib.console import paragraph, say, show
from sonic_lib.models.estimators import KINDS
from sonic_lib.schemas import FEATURES
from sonic_lib.spark.messages import one_line
from sonic_lib.workflows.recommendation import RecommendationTraining
from sonic_lib.workflows.retraining import (
    ALL_NAMES,
    PassedOver,
    Retraining,
    check_names,
    retrain_models,
)
from sonic_lib.workflows.training import check_choices

HELP = "train new versions, and promote those that are significantly better"
READS = (FEATURES,)
IS_PYTHON_WORK = True  # as `sonic train`


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument(
        "names", nargs="*", metavar="MODEL", help=f"some of {', '.join(ALL_NAMES)} (default: all)"
    )
    parser.add_argument(
        "--source", metavar="NAME", help="source of features (default: that of the champion)"
    )
    parser.add_argument("--model", choices=KINDS, help="estimator (default: as for the champion)")
    parser.add_argument(
        "--folds",
        type=int,
        metavar="N",
        help="number of cross-validation folds (default: as for the champion)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="random seed (default: as for the champion)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="compare only: store and promote nothing"
    )


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    check_names(args.names)
    check_choices(kind=args.model, n_folds=args.folds)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Retrain one model after the other, and print the outcomes."""
    for done in retrain_models(
        spark,
        config,
        args.names,
        source=args.source,
        kind=args.model,
        n_folds=args.folds,
        seed=args.seed,
        dry_run=args.dry_run,
    ):
        if isinstance(done, RecommendationTraining):
            train_recommendations.say_training(done)
        elif isinstance(done, PassedOver):
            message = one_line(f"Model {done.name}: skipped. {done.reason}")
            say(message, **{done.name: {"passed_over": done.reason}})
        else:
            _say_retraining(done)
    return 0


def _say_retraining(done: Retraining) -> None:
    for remark in done.remarks:
        if remark.topic == done.name:  # about the champion, not the challenger
            show(one_line(f"  {remark.topic:10}  {remark.text}"))
    others = [remark for remark in done.remarks if remark.topic != done.name]
    show(paragraph([*report_lines(done.card), *remark_lines(others)]))
    version = done.version or "(not kept)"
    say(
        f"  champion  {one_line(done.comparison)}\n"
        f"  {'promoted ' if done.is_better else 'not better'} {version}; "
        f"{done.counts['seconds']:.0f} s",
        **{done.name: {"version": version, **done.counts}},
    )
