"""Take songs out of the index, with all that was computed of them."""

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
from sonic_lib.storage import runs, tables


def check_given(given: Sequence[str], *, where: str | None) -> None:
    """Refuse to remove nothing.

    Raises
    ------
    UsageError
        If neither songs nor a condition are given.
    """
    if not given and where is None:
        raise UsageError("Nothing to remove was given; expected SONG … or --where CONDITION.")


def remove_songs(
    spark: SparkSession, config: Config, given: Sequence[str], *, where: str | None = None
) -> dict[str, float]:
    """Delete songs, all that was computed of them, and the record of their files.

    Parameters
    ----------
    given : sequence of str
        Ids of songs, and paths of files as they were indexed.
    where : str, optional
        All songs for which this holds, in SQL over the columns of `songs`.

    Returns
    -------
    dict of str to float
        songs: how many were removed.

    Raises
    ------
    UsageError
        If nothing is given, no song has an id or path, or `where` is no condition on a song;
        nothing is removed then.
    TableError
        If there is no index, or one of an older layout.
    """
    check_given(given, where=where)
    warehouse = config.warehouse
    tables.check_layout(spark, warehouse)
    # One version for all steps: each changes the tables that the next would look into.
    songs = tables.read_pinned(spark, warehouse, SONGS)
    ids = _given_songs(songs, given, warehouse)
    if where is not None:
        chosen = songs.filter(condition(songs, where, option="--where"))
        ids = ids.unionByName(chosen.select("song_id")).distinct()
    with runs.recorded(spark, warehouse, job="remove", config=config) as this_run:
        this_run.counts["songs"] = ids.count()
        if this_run.counts["songs"]:
            _forget(ids, warehouse)
            commit.delete_songs(ids, warehouse)
            tables.delete_keys(ids, warehouse, SONG_FILES, key="song_id")
    return this_run.counts


def _forget(song_ids: DataFrame, warehouse: str) -> None:
    """Delete what other jobs said of songs; first, while a run that dies finds the songs again."""
    keys = {
        FEATURES: ("song_id",),
        FEATURE_FILES: ("song_id",),
        PREDICTIONS: ("song_id",),
        RECOMMENDATIONS: ("song_id", "recommended_song_id"),
    }
    for table, names in keys.items():
        if tables.exists(song_ids.sparkSession, warehouse, table):
            for name in names:
                tables.delete_keys(song_ids.toDF(name), warehouse, table, key=name)


def _given_songs(songs: DataFrame, given: Sequence[str], warehouse: str) -> DataFrame:
    """The songs named one by one: song_id."""
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
    """Songs by what the user wrote: given, song_id."""
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
