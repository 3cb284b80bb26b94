"""Options that several verbs have."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from sonic_lib.cli.writers import SUFFIXES
from sonic_lib.config import Config
from sonic_lib.console import say
from sonic_lib.errors import UsageError
from sonic_lib.formats import counted
from sonic_lib.spark.messages import one_line
from sonic_lib.workflows.streaming import ONCE, watch

if TYPE_CHECKING:  # not every run needs Spark
    from pyspark.sql import DataFrame, SparkSession


def add_source(parser: argparse.ArgumentParser) -> None:
    """Declare --source, of the verbs that read features."""
    parser.add_argument(
        "--source", metavar="NAME", help="source of features; required if there are several"
    )


def add_output(parser: argparse.ArgumentParser, what: str) -> None:
    """Declare --output, for `writers.check_output` and `writers.write_output`."""
    parser.add_argument("--output", metavar="FILE", help=f"{what} {SUFFIXES}")


def add_watch(parser: argparse.ArgumentParser) -> None:
    """Declare --watch."""
    parser.add_argument(
        "--watch",
        metavar="WHEN",
        help=f"process new files since the last time: {ONCE} (for schedulers), or every N seconds "
        "until stopped",
    )


def add_no_links(parser: argparse.ArgumentParser) -> None:
    """Declare --no-links."""
    parser.add_argument(
        "--no-links", action="store_true", help="skip symbolic links, to folders and to files"
    )


def check_watch(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    if args.watch in (None, ONCE):
        return
    if not (args.watch.isdecimal() and int(args.watch)):
        raise UsageError(f"--watch {args.watch!r}: expected {ONCE!r}, or seconds such as 60.")


def run_watch(
    spark: SparkSession,
    config: Config,
    args: argparse.Namespace,
    *,
    verb: str,
    what: str,
    take: Callable[[SparkSession, DataFrame, str], int],
) -> int:
    """Watch folders, as `streaming.watch`, and return the worst exit code of all batches."""
    worst = 0

    def take_batch(session: SparkSession, files: DataFrame, batch: str) -> None:
        nonlocal worst
        worst = max(worst, take(session, files, batch))

    n = watch(
        spark,
        args.paths,
        warehouse=config.warehouse,
        verb=verb,
        when=args.watch,
        follow_links=not args.no_links,
        take=take_batch,
    )
    say(
        f"{counted(n, 'batch', 'batches')} of new {what} in {one_line(', '.join(args.paths))}",
        batches=n,
    )
    return worst
