"""The command line: `sonic VERB …`, and the same verbs as spark-submit jobs.

A verb is a module of `sonic_lib.cli.commands` with HELP, `add_arguments` and `run`.  If it can work
without Spark, it also has `run_without_spark`; if it needs a table, READS names the tables of which
at least one must exist.
"""

from __future__ import annotations

import argparse
import difflib
import io
import logging
import os
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path

from sonic_lib.cli.failures import explained, reason
from sonic_lib.cli.parser import VERBS, make_job_parser, make_parser
from sonic_lib.cli.signals import ignore_interrupts, terminated_as_interrupted
from sonic_lib.config import load_config
from sonic_lib.console import capture_output, is_silent, report_error, show
from sonic_lib.errors import SonicError

_INTERRUPTED = 130  # the exit code


def main(argv: list[str] | None = None) -> int:
    """Run one command; an existing Spark session of this process is used and kept.

    Returns
    -------
    int
        0 done, 1 failed, 2 wrong arguments, 130 interrupted.
    """
    _prepare_streams()
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] not in VERBS and not words[0].startswith("-"):
        near = difflib.get_close_matches(words[0], VERBS, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        report_error(f"there is no verb {words[0]!r}. {hint}`sonic --help` lists them all.")
        return 2
    # Only the verb in use is imported, since importing all of them takes long.
    parser, _ = make_parser(words[:1] if words and words[0] in VERBS else VERBS)
    if not words:
        show(parser.format_help(), file=sys.stderr)
        return 2
    args = parser.parse_args(words)
    code = _run(import_module(f"sonic_lib.cli.commands.{args.verb}"), args)
    if argv is None and code == _INTERRUPTED:
        ignore_interrupts()
    return code


def run_job(verb: str, *words: str) -> None:
    """Run a command as a spark-submit script, with its first words given; ends the process."""
    _prepare_streams()
    command = import_module(f"sonic_lib.cli.commands.{verb}")
    code = _run(command, make_job_parser(command).parse_args([*words, *sys.argv[1:]]))
    if code == _INTERRUPTED:
        ignore_interrupts()
    sys.exit(code)


def _prepare_streams() -> None:
    """Make the standard streams usable, whatever they are.

    Those that are closed, as by `2>&-`, become the null device: their numbers would go to the next
    files that are opened, and Java's messages into those.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115  # until the end
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)
    # Not every encoding has the letters of every title, nor the … of the help.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _run(command, args: argparse.Namespace) -> int:
    with terminated_as_interrupted():
        return _run_quietly(command, args) if args.quiet or args.json else _code(command, args)


def _run_quietly(command, args: argparse.Namespace) -> int:
    code = 1
    try:
        with capture_output(as_json=args.json) as facts:
            facts["command"] = _verb(command)
            code = facts["exit_code"] = _code(command, args)
    except BrokenPipeError:
        _print_no_more()
    return code


def _code(command, args: argparse.Namespace) -> int:
    try:
        config = load_config(args.config, args.overrides)
        if args.warehouse:
            config = config.model_copy(update={"warehouse": args.warehouse})
        if not getattr(command, "NEEDS_SPARK", True):
            return command.run(config, args)
        if hasattr(command, "run_without_spark"):
            with explained(config.warehouse):
                code = command.run_without_spark(config, args)
            if code is not None:
                return code
        return _run_with_spark(command, config, args)
    except SonicError as error:
        report_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        report_error("interrupted; run the same command again to continue.")
        return _INTERRUPTED
    except BrokenPipeError:
        _print_no_more()
        return 0
    except PermissionError as error:  # also from looking whether something is there
        report_error(
            f"{error.filename or 'A file'} cannot be used: {error.strerror}; expected a path that "
            "this user may read and write. Change its permissions, or give another."
        )
        return 1
    except Exception as error:  # a bug, or a failure of the machine that `explained` does not know
        if args.debug:
            show(traceback.format_exc(), file=sys.stderr)
        report_error(
            f"unexpected error {type(error).__name__}: {error}"
            + ("" if args.debug else "; run with --debug for details")
        )
        return 1


def _print_no_more() -> None:
    """Discard all further output: the reader, such as `head`, has closed the pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run_with_spark(command, config, args: argparse.Namespace) -> int:
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    from sonic_lib.spark import filesystem
    from sonic_lib.spark.session import spark_job
    from sonic_lib.spark.uris import resolve_warehouse
    from sonic_lib.storage import tables

    config = config.model_copy(update={"warehouse": resolve_warehouse(config.warehouse)})
    if hasattr(command, "check"):
        command.check(args)
    if hasattr(command, "READS") and not getattr(args, "csv", None):  # --csv fills the table
        tables.check_local(config.warehouse, *command.READS)
    # Spark would also print errors as JSON; they are printed as sentences below.
    for kind in ("DataFrame", "SQL"):
        logging.getLogger(f"{kind}QueryContextLogger").setLevel(logging.CRITICAL)
    # Py4J logs tracebacks of calls that Ctrl-C interrupts, partly by the root logger.
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(_is_not_of_py4j)
    started_s = time.monotonic()
    app_name = f"sonic {_verb(command)}"
    with spark_job(
        app_name=app_name,
        has_light_java=getattr(command, "IS_PYTHON_WORK", False)
        or filesystem.is_small(config.warehouse),
        conf=_conf(command, args, config.warehouse),
        with_s3=filesystem.uses_s3(config.warehouse, vars(args)),
    ) as spark:
        if sys.stderr.isatty() and not is_silent():
            show(f"Spark started in {time.monotonic() - started_s:.1f} s", file=sys.stderr)
        try:
            with explained(config.warehouse):
                return command.run(spark, config, args)
        except (PySparkException, Py4JJavaError) as error:
            raise SonicError(reason(error)) from error


def _is_not_of_py4j(record: logging.LogRecord) -> bool:
    return Path(record.pathname).parent.name != "py4j"


def _conf(command, args: argparse.Namespace, warehouse: str) -> dict[str, str]:
    from sonic_lib.schemas import FEATURES
    from sonic_lib.spark.conf import features_conf

    csv = getattr(args, "csv", None)
    if csv is None and getattr(command, "READS", ()) != (FEATURES,):
        return {}
    return features_conf(f"{warehouse}/{FEATURES.name}", csv=csv)


def _verb(command) -> str:
    return command.__name__.rpartition(".")[2]


if __name__ == "__main__":
    sys.exit(main())
