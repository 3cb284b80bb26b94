"""Remove songs from the index, with everything computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.audio.listing import canonical_path, relative_path
from sonic_lib.config import Config
from sonic_lib.errors import UsageError
from sonic_lib.index import commit
from sonic_lib.schemas import (
    FEATURE_FILES,
    FEATURES,
    PREDICTIONS,
    RECOMMENDATIONS,
    SONG_FILES,
    SONGS,
)
from sonic_lib.sql.predicate import condition
from sonic_lib.storage import runs, tables, writes
from sonic_lib.workflows.spellings import spellings


def check_given(given: Sequence[str], *, where: str | None) -> None:
    """Check that there is something to remove.

    Raises
    ------
    UsageError
        If neither songs nor a condition are given.
    """
    if not given and where is None:
        raise UsageError(
            "No SONG is given; expected ids, paths or titles, or a condition (--where CONDITION)."
        )


def remove_songs(
    spark: SparkSession, config: Config, given: Sequence[str], *, where: str | None = None
) -> dict[str, float]:
    """Delete songs, everything computed from them, and the records of their files.

    Parameters and errors are those of `Warehouse.remove`.

    Returns
    -------
    dict of str to float
        songs: number of songs removed.
    """
    check_given(given, where=where)
    warehouse = config.warehouse
    tables.check_layout(spark, warehouse)
    # Pinned, since each step changes tables that later steps read.
    songs = tables.read_pinned(spark, warehouse, SONGS)
    files = tables.read(spark, warehouse, SONG_FILES).filter("song_id IS NOT NULL")
    chosen = choose_songs(files, songs, given, warehouse=warehouse)
    ids = spark.createDataFrame([(song_id,) for song_id in chosen], "song_id long")
    if where is not None:
        meant = songs.filter(condition(songs, where, option="where (--where)"))
        ids = ids.unionByName(meant.select("song_id")).distinct()
    with runs.recorded(spark, warehouse, job="remove", config=config) as this_run:
        this_run.counts["songs"] = ids.count()
        if this_run.counts["songs"]:
            _forget(ids, warehouse)
            commit.delete_songs(ids, warehouse)
            writes.delete_keys(ids, warehouse, SONG_FILES, key="song_id")
    return this_run.counts


def _forget(song_ids: DataFrame, warehouse: str) -> None:
    """Delete the results of other jobs; first, so that a repeated run still finds the songs."""
    keys = {
        FEATURES: ("song_id",),
        FEATURE_FILES: ("song_id",),
        PREDICTIONS: ("song_id",),
        RECOMMENDATIONS: ("song_id", "recommended_song_id"),
    }
    for table, names in keys.items():
        if tables.exists(song_ids.sparkSession, warehouse, table):
            for name in names:
                writes.delete_keys(song_ids.toDF(name), warehouse, table, key=name)


def choose_songs(
    files: DataFrame, songs: DataFrame, given: Sequence[str], *, warehouse: str
) -> list[int]:
    """Return the ids of the songs given by id, path or title, ascending.

    Parameters
    ----------
    files : DataFrame with song_id, path, root
    songs : DataFrame with song_id, title
    given : sequence of str
        Ids, whole paths, paths relative to the folder that was indexed, or whole titles.
    warehouse : str
        For messages.

    Raises
    ------
    UsageError
        If one is unknown, or is the path or title of several songs.
    """
    found = _found(files, songs, given).collect() if given else []  # about as few as the arguments
    chosen: set[int] = set()
    unknown, unclear = [], []
    for text in dict.fromkeys(given):
        own = [row for row in found if row.given == text]
        # An id or a whole path takes precedence over a relative path or a title, and a name as it
        # stands over one in another Unicode form.
        nearest = max(((row.is_whole, row.is_exact) for row in own), default=None)
        own = [row for row in own if (row.is_whole, row.is_exact) == nearest]
        song_ids = {row.song_id for row in own}
        if not own:
            unknown.append(text)
        elif len(song_ids) > 1:
            unclear.append(f"{text!r} ({', '.join(sorted(row.path for row in own))})")
        chosen |= song_ids
    if unknown:
        raise UsageError(
            f"No song in {warehouse} has the id, path or title "
            f"{', '.join(map(repr, sorted(unknown)))}; nothing was removed. `sonic songs WORD` "
            "finds songs."
        )
    if unclear:
        raise UsageError(
            f"Several songs in {warehouse} have the path or title {'; '.join(unclear)}; nothing "
            "was removed. Give the whole path."
        )
    return sorted(chosen)


def _found(files: DataFrame, songs: DataFrame, given: Sequence[str]) -> DataFrame:
    """Find the songs of each id, path or title: given, song_id, path, is_whole, is_exact.

    `is_whole` is false for a title, and for a path relative to the folder that was indexed;
    `is_exact` for a name in another Unicode form than the stored one.
    """
    spark = files.sparkSession
    wanted = spark.createDataFrame(
        [
            (text, spelling, canonical_path(spark, spelling), spelling == text)
            for text in given
            for spelling in spellings(text)
        ],
        "given string, spelling string, whole string, is_exact boolean",
    )
    name = F.col("song_id").cast("string")
    by_id = songs.select("song_id", name.alias("name"), name.alias("path"))
    by_path = files.select("song_id", "path", relative_path().alias("relative"))
    title = F.lower("title").alias("title")
    by_title = files.join(songs.select("song_id", title), "song_id")
    parts = (
        (by_id, wanted.spelling == by_id.name, True),
        # Two joins: one with OR would compare every file with every argument.
        (by_path, by_path.path == wanted.spelling, True),
        (by_path, by_path.path == wanted.whole, True),
        (by_path, by_path.relative == wanted.spelling, False),
        (by_title, by_title.title == F.lower(wanted.spelling), False),
    )
    matches = [
        wanted.join(rows, is_meant).select(
            "given", "song_id", "path", F.lit(is_whole).alias("is_whole"), "is_exact"
        )
        for rows, is_meant, is_whole in parts
    ]
    return reduce(DataFrame.unionByName, matches).distinct()
