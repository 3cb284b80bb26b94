"""`sonic sql`: SQL over the tables, as sonic.songs, sonic.fingerprints and so on."""

from __future__ import annotations

import argparse
from pathlib import Path

from pyspark.sql import SparkSession

from sonic_lib import tables
from sonic_lib.commands.output import SUFFIXES, check_output, text_table, write_output
from sonic_lib.config import Config
from sonic_lib.errors import UsageError

HELP = "run SQL over the tables (sonic.songs, sonic.fingerprints, sonic.matches …)"
_SHOWN_ROWS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("statement", nargs="?", metavar="SQL", help="one statement")
    what.add_argument("--file", metavar="FILE", help="a file with one statement")
    parser.add_argument("--output", metavar="FILE", help=f"write {SUFFIXES} instead of a table")


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before Spark starts."""
    check_output(args.output)
    if args.file and not Path(args.file).is_file():
        raise UsageError(f"--file {args.file!r} is no file; expected one with a SQL statement.")


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Run one statement and show its rows."""
    statement = args.statement or Path(args.file).read_text(encoding="utf-8")
    tables.register(spark, config.warehouse)
    rows = spark.sql(statement.strip().rstrip(";"))
    if args.output:
        write_output(rows, args.output)
        return 0
    lines = list(text_table(rows, n_rows=_SHOWN_ROWS + 1))
    print("\n".join(lines[: _SHOWN_ROWS + 2]))
    if len(lines) > _SHOWN_ROWS + 2:
        print(f"… the first {_SHOWN_ROWS} rows; --output FILE gives all")
    return 0
