"""`sonic models`: list versions, promote one, or roll back."""

from __future__ import annotations

import argparse

from pyspark.sql import SparkSession

from sonic_lib.config import Config
from sonic_lib.console import say, show
from sonic_lib.errors import UsageError
from sonic_lib.formats import counted
from sonic_lib.models.registry import NAMES
from sonic_lib.schemas import MODEL_TABLES
from sonic_lib.spark.messages import one_line
from sonic_lib.workflows import model_versions

HELP = "list versions of the models; promote one, or roll back"
READS = MODEL_TABLES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument(
        "--rollback",
        metavar="NAME",
        choices=NAMES,
        help="make the previous champion the champion again",
    )
    parser.add_argument(
        "--promote", nargs=2, metavar=("NAME", "VERSION"), help="make a version the champion"
    )


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    if args.rollback and args.promote:
        raise UsageError("--rollback and --promote: give only one.")
    if args.promote and args.promote[0] not in NAMES:
        raise UsageError(f"--promote {args.promote[0]!r}: expected one of {', '.join(NAMES)}.")


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Change the champion if asked to, and list all versions."""
    if args.rollback:
        version = model_versions.rollback(spark, config, args.rollback)
        show(f"The champion of {args.rollback} is {version} again.")
    if args.promote:
        name, version = args.promote
        model_versions.promote(spark, config, name, version)
        show(f"The champion of {name} is {version}.")
    for name, aliases, cards in model_versions.list_models(spark, config):
        roles = {aliases.get("champion"): "champion", aliases.get("challenger"): "challenger"}
        say(
            f"{name}: {counted(len(cards), 'version')}" if cards else f"{name}: no version yet",
            **{name: {**aliases, "versions": cards}},
        )
        for card in cards:
            metrics = "  ".join(f"{k} {v:.4g}" for k, v in card.get("metrics", {}).items())
            show(one_line(f"  {card['version']}  {roles.get(card['version'], ''):10}  {metrics}"))
    return 0
