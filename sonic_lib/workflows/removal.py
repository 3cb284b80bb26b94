"""Remove songs from the index, with everything computed from them."""

from __future__ import annotations

from collections.abc import Sequence

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


def check_given(given: Sequence[str], *, where: str | None) -> None:
    """Check that there is something to remove.

    Raises
    ------
    UsageError
        If neither songs nor a condition are given.
    """
    if not given and where is None:
        raise UsageError(
            "No SONG is given; expected ids or paths, or a condition (--where CONDITION)."
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
    ids = _given_songs(songs, given, warehouse)
    if where is not None:
        chosen = songs.filter(condition(songs, where, option="where (--where)"))
        ids = ids.unionByName(chosen.select("song_id")).distinct()
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


def _given_songs(songs: DataFrame, given: Sequence[str], warehouse: str) -> DataFrame:
    """Return the songs given by id or path: song_id."""
    spark = songs.sparkSession
    files = tables.read(spark, warehouse, SONG_FILES).filter("song_id IS NOT NULL")
    chosen = _chosen(files, songs, given).collect() if given else []  # as few as the arguments
    unknown = sorted(set(given) - {row.given for row in chosen})
    if unknown:
        raise UsageError(
            f"No song in {warehouse} has the id or path {', '.join(map(repr, unknown))}; nothing "
            'was removed. sonic sql "SELECT song_id, path FROM sonic.song_files" lists them.'
        )
    song_ids = sorted({row.song_id for row in chosen})
    return spark.createDataFrame([(song_id,) for song_id in song_ids], "song_id long")


def _chosen(files: DataFrame, songs: DataFrame, given: Sequence[str]) -> DataFrame:
    """Find the song of each id or path: given, song_id."""
    spark = files.sparkSession
    wanted = spark.createDataFrame(
        [(text, canonical_path(text)) for text in given], "given string, name string"
    )
    names = (
        files.select("song_id", F.explode(F.array("path", relative_path())).alias("name"))
        .unionByName(songs.select("song_id", F.col("song_id").cast("string").alias("name")))
        .distinct()
    )
    by_text = wanted.join(names, wanted.given == names.name).select("given", "song_id")
    by_path = wanted.join(names, "name").select("given", "song_id")
    return by_text.unionByName(by_path).distinct()
