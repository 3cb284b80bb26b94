"""`sonic identify`: find the songs in a folder of clips.

Clips and an index on this machine are handled without Spark if that takes at most half an hour; the
tables and answers are the same.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, cast

from sonic_lib.cli.answers import MAX_SHOWN_CLIPS, say_answers, say_summary
from sonic_lib.cli.options import add_no_links, add_output, add_watch, check_watch, run_watch
from sonic_lib.cli.writers import check_output, write_output, write_rows
from sonic_lib.config import Config
from sonic_lib.console import report_error
from sonic_lib.errors import UsageError
from sonic_lib.matching.scoring import N_CANDIDATES
from sonic_lib.spark.session import is_running
from sonic_lib.workflows.answers import (
    ENGINES,
    Answers,
    check_engine,
    works_without_spark,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

HELP = "identify a folder of clips"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="folder or audio file")
    add_output(parser, "also write")
    parser.add_argument(
        "--candidates",
        type=_n_candidates,
        default=1,
        metavar="N",
        help="list the N best songs per segment (default 1)",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a clip is rejected")
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="local: without Spark; auto: local if that takes at most half an hour",
    )
    parser.add_argument("--no-record", action="store_true", help="write nothing to the warehouse")
    add_no_links(parser)
    add_watch(parser)


def _n_candidates(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= N_CANDIDATES):
        raise argparse.ArgumentTypeError(f"expected 1 to {N_CANDIDATES}, not {text!r}")
    return int(text)


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    check_output(args.output)
    check_watch(args)
    if args.watch and args.no_record:
        raise UsageError("--no-record and --watch: give only one; a watch does nothing but record.")
    if args.watch and args.engine == "local":
        raise UsageError("--engine local and --watch: give only one; a watch needs Spark.")
    if args.watch and args.output:
        raise UsageError(
            "--output and --watch: give only one. The answers of a watch are in the table: "
            'sonic sql "SELECT * FROM sonic.matches" --output FILE'
        )


def run_without_spark(config: Config, args: argparse.Namespace) -> int | None:
    """Identify the clips without Spark if that was requested or is quick.

    Returns
    -------
    int, optional
        The exit code; None if Spark is needed.
    """
    check(args)
    places = [config.warehouse, *args.paths]
    check_engine(args.engine, places)
    if args.engine == "spark" or args.watch:
        return None
    if args.engine == "auto" and (is_running() or not works_without_spark(places)):
        return None
    from sonic_lib.workflows import local_identification

    answers = local_identification.identify_folders(
        config,
        args.paths,
        n_listed=args.candidates,
        record=not args.no_record,
        follow_links=not args.no_links,
        only_if_quick=args.engine == "auto",
    )
    if answers is None:
        return None
    if args.output:
        schema = local_identification.answer_schema(config.warehouse)
        write_rows(cast("list[dict]", answers.rows), args.output, schema=schema)
    return _say(answers, cast("list[dict]", answers.met), config, args)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Identify all clips of the folders in one batch, or watch for new ones."""
    from sonic_lib.audio.listing import list_audio

    if not args.watch:
        clips = list_audio(spark, args.paths, follow_links=not args.no_links)
        return _identify(spark, config, args, clips)

    def take(session: SparkSession, clips: DataFrame, batch: str) -> int:
        return _identify(session, config, args, clips, token=batch)

    return run_watch(spark, config, args, verb="identify", what="clips", take=take)


def _identify(
    spark: SparkSession,
    config: Config,
    args: argparse.Namespace,
    clips: DataFrame,
    *,
    token: str | None = None,
) -> int:
    from sonic_lib.workflows.batch_identification import identify_batch

    answers = identify_batch(
        spark,
        config,
        clips,
        n_listed=args.candidates,
        record=not args.no_record,
        token=token,
    )
    if args.output:
        write_output(cast("DataFrame", answers.rows), args.output)
    shown = []
    if answers.counts["clips"] <= MAX_SHOWN_CLIPS:
        met = cast("DataFrame", answers.met)
        shown = [row.asDict() for row in met.collect()]
    return _say(answers, shown, config, args)


def _say(answers: Answers, shown: list[dict], config: Config, args: argparse.Namespace) -> int:
    if answers.run_id is None and not args.no_record:
        report_error(f"{config.warehouse} is not writable, so the answers are not recorded.")
    if answers.counts["clips"] <= MAX_SHOWN_CLIPS:
        say_answers(shown, n_listed=args.candidates)
    say_summary(answers, warehouse=config.warehouse, output=args.output)
    return 1 if args.strict and answers.counts["rejected"] else 0
