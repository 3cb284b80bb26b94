"""`sonic songs`: list the songs of the index by path, title, artist and length."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sonic_lib.cli.options import add_output
from sonic_lib.cli.writers import check_output, text_lines, write_output, write_rows
from sonic_lib.config import Config
from sonic_lib.console import paragraph, say, show
from sonic_lib.formats import clock, counted
from sonic_lib.spark.uris import is_local
from sonic_lib.workflows.catalogue import list_on_spark, list_without_spark

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HELP = "list the songs of the index: path, title, artist, length"
_HEADS = ("path", "title", "artist", "length")
_SHOWN_ROWS = 50
_WIDTH = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="list only songs whose path, title, artist or album contain all words",
    )
    add_output(parser, "write all, with song_id, as")


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    check_output(args.output)


def run_without_spark(config: Config, args: argparse.Namespace) -> int | None:
    """List the songs of a warehouse on this machine.

    Returns
    -------
    int, optional
        The exit code; None if Spark is needed.
    """
    check(args)
    if not is_local(config.warehouse):
        return None
    found = list_without_spark(config.warehouse, args.words)
    if found is None:
        return None
    if args.output:
        write_rows(found.to_pylist(), args.output, schema=found.schema)
    _say(found.slice(0, _SHOWN_ROWS).to_pylist(), found.num_rows, args, config.warehouse)
    return 0


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """List the songs of any warehouse."""
    found = list_on_spark(spark, config, args.words).persist()
    if args.output:
        write_output(found, args.output)
    rows = [row.asDict() for row in found.take(_SHOWN_ROWS)]
    _say(rows, found.count(), args, config.warehouse)
    return 0


def _say(rows: list[dict], n_songs: int, args: argparse.Namespace, warehouse: str) -> None:
    cells = [
        [_end_of(row["path"]), row["title"], row["artist"], clock(row["duration_s"] or 0.0)]
        for row in rows
    ]
    if cells:
        show(paragraph(text_lines(_HEADS, cells, max_width=_WIDTH)))
    matching = f" with {' '.join(map(repr, args.words))}" if args.words else ""
    say(
        f"{counted(n_songs, 'song')}{matching} in {warehouse}"
        + (f"; all in {args.output}" if args.output else ""),
        songs=rows,
        n_songs=n_songs,
        output=args.output,
    )
    if n_songs > len(rows) and not args.output:
        show(f"… the first {len(rows)}; give a WORD to search, or --output FILE to write all")


def _end_of(path: str) -> str:
    """Cut a long path on the left: its end tells songs apart."""
    return path if len(path) <= _WIDTH else f"…{path[1 - _WIDTH :]}"
