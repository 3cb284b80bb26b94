"""`sonic recommend`: list similar songs from the table that `sonic train` wrote."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pyspark.sql import Row, SparkSession

from sonic_lib.cli.options import add_output, add_source
from sonic_lib.cli.writers import check_output, text_lines, write_output
from sonic_lib.config import Config
from sonic_lib.console import paragraph, say
from sonic_lib.schemas import FEATURES
from sonic_lib.workflows.recommendation import check_lists, recommended

HELP = "list the songs most similar to a song"
READS = (FEATURES,)
_MAX_NAME, _NO_WIDTH = 48, 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument(
        "song",
        metavar="SONG",
        help="song_id, key (path of the audio, or id in the table), or part of a title",
    )
    add_source(parser)
    parser.add_argument(
        "--count", type=int, default=10, metavar="N", help="songs to list (default 10)"
    )
    add_output(parser, "also write")


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    check_lists(count=args.count)
    check_output(args.output)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Print the list of similar songs."""
    found = recommended(spark, config, [args.song], source=args.source, count=args.count)
    found = found.drop("song")
    listed = found.take(args.count)
    say(paragraph(song_lines(listed)), songs=[row.asDict() for row in listed])
    if args.output:
        write_output(found, args.output)
    return 0


def song_lines(rows: Sequence[Row]) -> list[str]:
    """Format songs as lines of a table, with titles and artists if there are any.

    Each row has song_id, source_key, title and artist.  Keys are not truncated, since users refer
    to songs by them.
    """
    shown = [row.asDict() for row in rows]
    columns = [
        name
        for name in (shown[0] if shown else ())
        if name != "song_id" and any(row[name] is not None for row in shown)
    ]
    for row in shown:
        for name in ("title", "artist"):
            if len(row[name] or "") > _MAX_NAME:
                row[name] = row[name][: _MAX_NAME - 1] + "…"
    cells = [[row[name] for name in columns] for row in shown]
    return list(text_lines(columns, cells, max_width=_NO_WIDTH))
