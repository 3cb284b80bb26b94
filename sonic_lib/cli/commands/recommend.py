"""`sonic recommend`: the songs most like one, from the table that `train` made."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from sonic_lib.cli.writers import check_output, text_lines, write_output
from sonic_lib.config import Config
from sonic_lib.console import say
from sonic_lib.errors import ModelError, UsageError
from sonic_lib.models.names import ARTISTS, TITLES, first_artist, song_name
from sonic_lib.schemas import RECOMMENDATIONS
from sonic_lib.storage import tables
from sonic_lib.workflows.sources import read_source

HELP = "list the songs most like a song"
_N_NAMED = 10
_NO_TITLES = (
    ' The table has no titles; `sonic sql "SELECT source_key FROM sonic.features"` lists its keys.'
)
_MAX_NAME, _NO_WIDTH = 48, 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("song", metavar="SONG", help="song_id, path, id, or part of the title")
    parser.add_argument("--source", metavar="NAME", help="which features, if there are several")
    parser.add_argument("--count", type=int, default=10, metavar="N", help="default 10")
    parser.add_argument("--output", metavar="FILE", help="write .csv, .json or .parquet as well")


def check(args: argparse.Namespace) -> None:
    """Refuse an output that could not be written."""
    check_output(args.output)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Look the song up and print its list."""
    source, features = read_source(spark, config.warehouse, args.source)
    lists = tables.read(spark, config.warehouse, RECOMMENDATIONS).filter(F.col("source") == source)
    if lists.isEmpty():
        raise ModelError(
            f"There are no recommendations for {source} yet. "
            f"Make them with `sonic train recommendations --source {source}`."
        )
    (song_id,) = find_songs(features, [args.song])
    chosen = lists.filter((F.col("song_id") == song_id) & (F.col("rank") <= args.count))
    found = (
        chosen.select("rank", "similarity", F.col("recommended_song_id").alias("song_id"))
        .join(named(features), "song_id")
        .select("rank", "similarity", "title", "artist", "song_id", "source_key")
        .orderBy("rank")
    )
    listed = found.take(args.count)
    say("\n".join(song_lines(listed)), songs=[row.asDict() for row in listed])
    if args.output:
        write_output(found, args.output)
    return 0


def song_lines(rows: Sequence[Row]) -> list[str]:
    """Lines of a table of songs: titles and artists where there are some, and whole keys.

    Each row has song_id, source_key, title and artist; a song is asked for by its key, so nothing
    of it is cut, and its song_id is for programs.
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


def named(features: DataFrame) -> DataFrame:
    """Name the songs: song_id, source_key, title, artist."""

    def first_of(names: tuple[str, ...]):
        return F.coalesce(*(F.try_element_at("texts", F.lit(name)) for name in names))

    return features.select(
        "song_id",
        "source_key",
        first_of(TITLES).alias("title"),
        first_of(ARTISTS).alias("artist"),
    )


def find_songs(features: DataFrame, given: list[str]) -> list[int]:
    """Find each song by its id, its key, or a part of its title that no other song has.

    Of versions of one song, as `names.one_song` has it, the first by song_id is taken.

    Raises
    ------
    UsageError
        If one is not found, or several are.
    """
    songs = named(features)
    found = []
    for text in given:
        is_key = (F.col("song_id").cast("string") == text) | (F.col("source_key") == text)
        rows = (
            songs.filter(is_key).limit(1).collect()
            or songs.filter(F.contains(F.lower("title"), F.lit(text.lower())))
            .orderBy("song_id")
            .limit(_N_NAMED)
            .collect()
        )
        if not rows or (len(rows) > 1 and not _are_one(rows)):
            which = ", ".join(
                f"{row.song_id} ({' - '.join(filter(None, (row.artist, row.title)))})"
                for row in rows
            )
            where = "" if songs.filter("title IS NOT NULL").limit(1).collect() else _NO_TITLES
            raise UsageError(
                f"SONG {text!r}: expected the song_id, the key (a path or an id), or a part of the "
                f"title of one song; it fits {which or 'none'}.{where}"
            )
        found.append(rows[0].song_id)
    return found


def _are_one(rows: Sequence[Row]) -> bool:
    """Whether rows are versions of one song, and no more than were looked at."""
    if len(rows) == _N_NAMED or not all(row.title and row.artist for row in rows):
        return False
    return len({(song_name(row.title), first_artist(row.artist)) for row in rows}) == 1
