"""`sonic remove`: take songs out of the index."""

from __future__ import annotations

import argparse

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.audio.listing import canonical_path, relative_path
from sonic_lib.config import Config
from sonic_lib.console import say
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

HELP = "take songs out of the index"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument(
        "songs", nargs="*", metavar="SONG", help="song_id, or path of a file as it was indexed"
    )
    parser.add_argument(
        "--where",
        metavar="CONDITION",
        help="all songs for which this holds, in SQL over the columns of songs: \"artist = 'X'\"",
    )


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before Spark starts."""
    if not args.songs and args.where is None:
        raise UsageError("Nothing to remove was given; expected SONG … or --where CONDITION.")


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Delete the songs, all that was computed of them, and the record of their files."""
    warehouse = config.warehouse
    tables.check_layout(spark, warehouse)
    # One version for all steps: each changes the tables that the next would look into.
    songs = tables.read_pinned(spark, warehouse, SONGS)
    ids = _given_songs(songs, args.songs, warehouse)
    if args.where is not None:
        chosen = songs.filter(condition(songs, args.where, option="--where"))
        ids = ids.unionByName(chosen.select("song_id")).distinct()
    with runs.recorded(spark, warehouse, job="remove", config=config) as this_run:
        this_run.counts["songs"] = ids.count()
        if this_run.counts["songs"]:
            _forget(ids, warehouse)
            commit.delete_songs(ids, warehouse)
            tables.delete_keys(ids, warehouse, SONG_FILES, key="song_id")
    say(
        f"{this_run.counts['songs']:.0f} songs removed from {warehouse}. Indexing a folder that "
        "still holds their files brings them back; `sonic maintain --restore-to TIME` does, too, "
        "until `sonic maintain --purge` has deleted them for good.",
        **this_run.counts,
    )
    return 0


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


def _given_songs(songs: DataFrame, given: list[str], warehouse: str) -> DataFrame:
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


def _chosen(files: DataFrame, songs: DataFrame, given: list[str]) -> DataFrame:
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
