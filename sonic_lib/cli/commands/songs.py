"""`sonic songs`: what is in the index, as a person looks for it: path, title, artist, length."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sonic_lib.audio.local_files import absolute, is_local
from sonic_lib.cli.answers import clock
from sonic_lib.cli.writers import SUFFIXES, check_output, text_lines, write_output, write_rows
from sonic_lib.config import Config
from sonic_lib.console import say, show
from sonic_lib.errors import SetupError
from sonic_lib.storage.delta_rs import list_songs, n_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

HELP = "list the songs of the index: path, title, artist, length"
COLUMNS = ("path", "title", "artist", "album", "duration_s", "song_id")
_SEARCHED = ("path", "title", "artist", "album")
_HEADS = ("path", "title", "artist", "length")
_SHOWN_ROWS = 50
_MAX_LOCAL_SONGS = 1_000_000  # of more the names alone fill the memory of a laptop


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="only songs with all of these in path or tags"
    )
    parser.add_argument("--output", metavar="FILE", help=f"write all, with song_id, as {SUFFIXES}")


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before Spark starts."""
    check_output(args.output)


def run_without_spark(config: Config, args: argparse.Namespace) -> int | None:
    """List the songs of a warehouse on this machine.

    Returns
    -------
    int, optional
        The exit code; None if it is work for Spark.
    """
    check(args)
    warehouse = args.warehouse or config.warehouse
    if not is_local(warehouse):
        return None
    warehouse = absolute(warehouse)
    try:
        if n_rows(warehouse, "songs") > _MAX_LOCAL_SONGS:
            return None
        found = list_songs(warehouse).select(list(COLUMNS))
    except SetupError:
        return None
    import pyarrow.compute as pc

    for word in args.words:
        is_in = [pc.match_substring(found[name], word, ignore_case=True) for name in _SEARCHED]
        mask = is_in[0]
        for more in is_in:
            mask = pc.or_kleene(mask, more)
        found = found.filter(mask)  # null, where no column says so and one is empty, is no
    found = found.sort_by([(name, "ascending") for name in ("path", "song_id")])
    if args.output:
        write_rows(found.to_pylist(), args.output, schema=found.schema)
    _say(found.slice(0, _SHOWN_ROWS).to_pylist(), found.num_rows, args, warehouse)
    return 0


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """List the songs of any warehouse."""
    from sonic_lib.sql import views
    from sonic_lib.storage import tables

    views.create(spark, tables.register(spark, config.warehouse))
    found = _searched(spark.table("sonic.catalogue"), args.words).orderBy("path", "song_id")
    found = found.persist()
    if args.output:
        write_output(found, args.output)
    rows = [row.asDict() for row in found.take(_SHOWN_ROWS)]
    _say(rows, found.count(), args, config.warehouse)
    return 0


def _searched(catalogue: DataFrame, words: list[str]) -> DataFrame:
    from pyspark.sql import functions as F

    found = catalogue.withColumnRenamed("first_path", "path").select(*COLUMNS)
    for word in words:
        is_in = F.lit(False)
        for name in _SEARCHED:
            is_in |= F.contains(F.lower(F.coalesce(name, F.lit(""))), F.lower(F.lit(word)))
        found = found.filter(is_in)
    return found


def _say(rows: list[dict], n_songs: int, args: argparse.Namespace, warehouse: str) -> None:
    cells = [
        [row["path"], row["title"], row["artist"], clock(row["duration_s"] or 0.0)] for row in rows
    ]
    if cells:
        show("\n".join(text_lines(_HEADS, cells, max_width=60)))
    told = f" with {' '.join(map(repr, args.words))}" if args.words else ""
    say(
        f"{n_songs} songs{told} in {warehouse}"
        + (f"; all in {args.output}" if args.output else ""),
        songs=rows,
        n_songs=n_songs,
        output=args.output,
    )
    if n_songs > len(rows) and not args.output:
        show(f"… the first {len(rows)}; a WORD of path, title or artist finds others, --output all")
