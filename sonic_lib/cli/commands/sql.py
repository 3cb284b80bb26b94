"""`sonic sql`: run SQL on the tables and views: sonic.songs, sonic.catalogue and so on."""

from __future__ import annotations

import argparse
import atexit
import io
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from sonic_lib.cli.writers import SUFFIXES, check_output, text_lines, write_output
from sonic_lib.config import Config
from sonic_lib.console import say, show
from sonic_lib.errors import UsageError
from sonic_lib.workflows.sources import register

HELP = "run SQL on the tables and views; without a statement, open a shell"
_SHOWN_ROWS = 100
_HISTORY_LINES = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("statement", nargs="?", metavar="SQL", help="one statement")
    what.add_argument("--file", metavar="FILE", help="a file with statements, each ended by ;")
    parser.add_argument("--output", metavar="FILE", help=f"write {SUFFIXES} instead of a table")


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    check_output(args.output)
    if args.file and not Path(args.file).is_file():
        raise UsageError(f"--file {args.file!r}: no such file; expected one with SQL statements.")
    if args.output and not (args.statement or args.file):
        raise UsageError("--output writes the rows of a SQL statement; give one, or --file.")


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Run statements and print their rows, or open a shell."""
    register(spark, config)
    if not (args.statement or args.file):
        _converse(spark)
        return 0
    text = args.statement or Path(args.file).read_text(encoding="utf-8")
    *others, last = split_statements(text) or [text]
    for statement in others:
        _show(spark, statement)
    if args.output:
        write_output(spark.sql(last), args.output)
    else:
        _show(spark, last)
    return 0


def split_statements(text: str) -> list[str]:
    """Split text at semicolons outside of strings, names and comments."""
    return list(_statements(io.StringIO(text), ends_open=True))


def _statements(lines: Iterable[str], *, ends_open: bool = False) -> Iterator[str]:
    held, inside = "", ""
    for line in lines:
        i = 0
        while i < len(line):
            pair = line[i : i + 2]
            if inside in ("'", '"', "`"):
                if line[i] == "\\" and inside != "`":
                    i += 1
                elif line[i] == inside:
                    inside = ""
            elif inside == "/*":
                if pair == "*/":
                    inside, i = "", i + 1
            elif pair == "--":
                break
            elif line[i] in "'\"`":
                inside = line[i]
            elif pair == "/*":
                inside, i = pair, i + 1
            elif line[i] == ";":
                if (held + line[:i]).strip():
                    yield (held + line[:i]).strip()
                held, line, i = "", line[i + 1 :], -1
            i += 1
        held += line
    if ends_open and _says_something(held):
        yield held.strip()


def _says_something(text: str) -> bool:
    return any(line.strip() and not line.strip().startswith("--") for line in text.split("\n"))


def _show(spark: SparkSession, statement: str) -> None:
    rows = spark.sql(statement)
    if not rows.columns:  # a statement without rows, such as CREATE VIEW
        return
    found = rows.take(_SHOWN_ROWS + 1)
    is_cut = len(found) > _SHOWN_ROWS
    shown = found[:_SHOWN_ROWS]
    say(
        "\n".join(text_lines(rows.columns, shown)),
        rows=[row.asDict(True) for row in shown],
        rows_are_all=not is_cut,
    )
    if is_cut:
        show(f"… the first {_SHOWN_ROWS} rows; --output FILE gives all")


def _converse(spark: SparkSession) -> None:
    """Run statements as they are typed or piped in; an error does not end the shell."""
    is_person = sys.stdin.isatty()
    if is_person:
        _keep_history()
        show("Statements end with ; and may take several lines. SHOW TABLES IN sonic; Ctrl-D ends.")
    for statement in _statements(_typed() if is_person else sys.stdin, ends_open=not is_person):
        try:
            _show(spark, statement)
        except PySparkException as error:
            if not is_person:
                raise
            show(f"sonic: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        except KeyboardInterrupt:
            show("interrupted", file=sys.stderr)


def _typed() -> Iterator[str]:
    while True:
        try:
            yield input("sonic> ") + "\n"
        except (EOFError, KeyboardInterrupt):
            show()
            return


def _keep_history() -> None:
    """Give the shell a history, kept between sessions."""
    try:
        import readline
    except ImportError:  # a Python built without it
        return
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    path = state / "sonic-signature" / "sql_history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            readline.read_history_file(path)
    except OSError:  # a home that cannot be written: no history
        return
    readline.set_history_length(_HISTORY_LINES)
    atexit.register(readline.write_history_file, path)
