"""The command line: `sonic VERB …`, and the same verbs as spark-submit jobs.

A verb is a module of `sonic_lib.commands` with HELP, `add_arguments` and `run`; one that can do
some of its work without Spark has `run_without_spark`, too.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from importlib import import_module

import sonic_lib
from sonic_lib.config import load_config
from sonic_lib.errors import SonicError

VERBS = (
    *("index", "identify", "explain", "evaluate", "remove", "maintain", "duplicates"),
    *("features", "explore", "train", "retrain", "models", "predict", "recommend", "playlist"),
    *("report", "sql", "register", "jars", "demo"),
)


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        0 if done, 1 if it failed, 2 if it was called wrongly.
    """
    parser = argparse.ArgumentParser(
        prog="sonic", description="Identify music at any scale on Apache Spark and Delta tables."
    )
    parser.add_argument("--version", action="version", version=sonic_lib.__version__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    words = sys.argv[1:] if argv is None else argv
    commands = {}
    # Others are loaded only to be listed: one command is not to wait for what all of them import.
    for verb in words[:1] if words and words[0] in VERBS else VERBS:
        commands[verb] = import_module(f"sonic_lib.commands.{verb}")
        _prepare(verbs.add_parser(verb, help=commands[verb].HELP), commands[verb])
    args = parser.parse_args(words)
    return _run(commands[args.verb], args)


def run_job(verb: str, *words: str) -> None:
    """Run one command, its first words given, as a spark-submit script; ends the process."""
    command = import_module(f"sonic_lib.commands.{verb}")
    parser = argparse.ArgumentParser(description=command.HELP)
    _prepare(parser, command)
    sys.exit(_run(command, parser.parse_args([*words, *sys.argv[1:]])))


def _prepare(parser: argparse.ArgumentParser, command) -> None:
    parser.add_argument("--warehouse", metavar="URI", help="where the tables are")
    parser.add_argument("--config", metavar="FILE", help="settings, as in conf/sonic.yaml")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="one setting, stronger than the file; may be repeated",
    )
    command.add_arguments(parser)


def _run(command, args: argparse.Namespace) -> int:
    try:
        config = load_config(args.config, args.overrides)
        if not getattr(command, "NEEDS_SPARK", True):
            return command.run(config, args)
        if hasattr(command, "run_without_spark"):
            code = command.run_without_spark(config, args)
            if code is not None:
                return code
        return _run_with_spark(command, config, args)
    except SonicError as error:
        print(f"sonic: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("sonic: interrupted; run the same command again to go on.", file=sys.stderr)
        return 130


def _run_with_spark(command, config, args: argparse.Namespace) -> int:
    from pyspark.errors import PySparkException

    from sonic_lib import storage, tables
    from sonic_lib.session import spark_job

    config = config.model_copy(
        update={"warehouse": tables.resolve(args.warehouse or config.warehouse)}
    )
    if hasattr(command, "check"):
        command.check(args)
    # It prints errors as JSON that are shown as sentences below.
    logging.getLogger("DataFrameQueryContextLogger").setLevel(logging.CRITICAL)
    started_s = time.monotonic()
    app_name = f"sonic {command.__name__.rpartition('.')[2]}"
    with spark_job(app_name=app_name, with_s3=storage.uses_s3(config.warehouse, args)) as spark:
        if sys.stderr.isatty():
            print(f"Spark started in {time.monotonic() - started_s:.1f} s", file=sys.stderr)
        try:
            return command.run(spark, config, args)
        except PySparkException as error:
            # Mostly about the user's own SQL or paths: the first line says it, plans follow.
            raise SonicError(str(error).strip().split("\n")[0]) from error


if __name__ == "__main__":
    sys.exit(main())
