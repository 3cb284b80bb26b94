"""`sonic sql`: run SQL on the tables and views: sonic.songs, sonic.catalogue and so on."""

from __future__ import annotations

import argparse
import atexit
import difflib
import io
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import DataFrame, SparkSession

from sonic_lib.cli.failures import reason
from sonic_lib.cli.writers import SUFFIXES, check_output, text_lines, told_apart, write_output
from sonic_lib.config import Config
from sonic_lib.console import paragraph, say, show
from sonic_lib.errors import UsageError
from sonic_lib.schemas import DATABASE
from sonic_lib.spark.messages import one_line
from sonic_lib.spark.sentences import sentence
from sonic_lib.workflows.sources import register
from sonic_lib.workflows.statements import run_statement, without_comments

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
    if args.file is not None and not Path(args.file).is_file():
        raise UsageError(f"--file {args.file!r}: no such file; expected one with SQL statements.")
    if _is_given(args) and not split_statements(_text(args)):
        raise UsageError("There is no SQL statement; give one, or open a shell: `sonic sql`.")
    if args.output and not _is_given(args):
        raise UsageError("--output writes the rows of a SQL statement; give one, or --file.")


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Run statements and print their rows, or open a shell."""
    if not _is_given(args):
        register(spark, config)
        _converse(spark, config)
        return 0
    statements = split_statements(_text(args))
    register(spark, config, statements=statements)
    *others, last = statements
    for statement in others:
        _show(spark, config, statement)
    if args.output:
        write_output(_rows_of(spark, config, last), args.output)
    else:
        _show(spark, config, last)
    return 0


def _is_given(args: argparse.Namespace) -> bool:
    return not (args.statement is None and args.file is None)


def _text(args: argparse.Namespace) -> str:
    if args.file is None:
        return args.statement
    try:
        return Path(args.file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--file {args.file!r} cannot be read: {error}; expected SQL in UTF-8."
        ) from error


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
                if without_comments(held + line[:i]).strip():
                    yield (held + line[:i]).strip()
                held, line, i = "", line[i + 1 :], -1
            i += 1
        held += line
    if ends_open and without_comments(held).strip():
        yield held.strip()


def _rows_of(spark: SparkSession, config: Config, statement: str) -> DataFrame:
    """Plan a statement; the error for an unknown table lists those that exist."""
    try:
        return run_statement(spark, config.warehouse, statement)
    except AnalysisException as error:
        if error.getCondition() != "TABLE_OR_VIEW_NOT_FOUND":
            raise
        register(spark, config)
        found = spark.sql(f"SHOW TABLES IN {DATABASE}").collect()
        names = sorted(f"{DATABASE}.{row.tableName}" for row in found)
        given = (error.getMessageParameters() or {}).get("relationName", "").replace("`", "")
        near = difflib.get_close_matches(given, names, n=1)
        raise UsageError(
            f"{sentence(error).split('. ')[0]}. {f'Did you mean {near[0]}? ' if near else ''}"
            f"Tables: {', '.join(names) or 'none yet; `sonic index FOLDER` creates them'}"
        ) from error


def _show(spark: SparkSession, config: Config, statement: str) -> None:
    rows = _rows_of(spark, config, statement)
    if not rows.columns:  # a statement without rows, such as CREATE VIEW
        return
    rows = told_apart(rows)
    found = rows.take(_SHOWN_ROWS + 1)
    is_cut = len(found) > _SHOWN_ROWS
    shown = found[:_SHOWN_ROWS]
    say(
        paragraph(text_lines(rows.columns, shown)),
        rows=[row.asDict(True) for row in shown],
        rows_are_all=not is_cut,
    )
    if is_cut:
        show(f"… the first {_SHOWN_ROWS} rows; --output FILE writes all")


def _converse(spark: SparkSession, config: Config) -> None:
    """Run statements as they are typed or piped in; an error does not end the shell."""
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        _keep_history()
        show("Statements end with ; and may take several lines. SHOW TABLES IN sonic; Ctrl-D ends.")
    for statement in _statements(_typed() if is_terminal else sys.stdin, ends_open=not is_terminal):
        try:
            _show(spark, config, statement)
        except (PySparkException, UsageError) as error:
            if not is_terminal:
                raise
            message = str(error) if isinstance(error, UsageError) else reason(error)
            show(f"sonic: {one_line(message)}", file=sys.stderr)
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
    """Give the shell a history that is kept between sessions."""
    try:
        import readline
    except ImportError:  # Python was built without readline
        return
    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        path = state / "sonic-signature" / "sql_history"
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            readline.read_history_file(path)
        is_writable = os.access(path.parent, os.W_OK)
    except (OSError, RuntimeError):  # there is no home folder, or it is not writable: no history
        return
    if is_writable:
        readline.set_history_length(_HISTORY_LINES)
        atexit.register(readline.write_history_file, path)
