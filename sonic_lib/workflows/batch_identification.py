"""Identify folders of clips in one Spark batch, record the answers and add song names."""

from __future__ import annotations

import time
from contextlib import nullcontext

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.audio.listing import relative_path
from sonic_lib.config import Config
from sonic_lib.index.copies import first_files
from sonic_lib.schemas import MATCHES, SONG_FILES, SONGS
from sonic_lib.spark.caching import cache_scope, cached
from sonic_lib.storage import runs, tables, writes
from sonic_lib.storage.run_rows import new_run
from sonic_lib.workflows.answers import COLUMNS, NO_MATCH, Answers, can_record, n_asked
from sonic_lib.workflows.identification import open_index, search


def identify_batch(
    spark: SparkSession,
    config: Config,
    clips: DataFrame,
    *,
    n_listed: int = 1,
    record: bool = True,
    token: str | None = None,
) -> Answers:
    """Identify clips in one batch.

    Parameters
    ----------
    clips : DataFrame
        From `audio.listing.list_audio`.
    n_listed : int >= 1
        Songs to list per segment.
    record : bool
        Write the answers to the tables `matches` and `runs`, if these are writable.
    token : str, optional
        Idempotency token: answers are written once per token.

    Raises
    ------
    TableError
        If there is no index, or it is empty or was made with other parameters.
    """
    started_s = time.monotonic()
    warehouse = config.warehouse
    record = record and can_record(warehouse)
    tables.check_params(spark, warehouse, params=config.fingerprint.params())
    index = open_index(spark, warehouse)
    run = runs.recorded(spark, warehouse, job="identify", config=config)
    with cache_scope(), run if record else nullcontext(new_run()) as this_run:
        clips = cached(clips)
        found = search(clips, index, config, n_listed=n_asked(n_listed))
        matches = cached(_matches(found, this_run.run_id))
        this_run.counts.update(
            matches.filter("rank = 1")
            .agg(
                F.count_distinct("clip_path").alias("clips"),
                F.count_distinct(F.when(F.col("accepted"), F.col("clip_path"))).alias("identified"),
                F.count_if("accepted").alias("segments"),
                F.count("error").alias("rejected"),
            )
            .first()
            .asDict()
        )
        is_listed = F.col("rank") <= n_listed
        if record:
            writes.append(matches.filter(is_listed), warehouse, MATCHES, token=token)
        named = _named(matches, clips, warehouse).persist()
        named.count()  # computed now, while the frames that it is made from are cached
        this_run.counts["seconds"] = time.monotonic() - started_s
    run_id = this_run.run_id if record else None
    return Answers(named.filter(is_listed), named, this_run.counts, run_id)


def _matches(found: DataFrame, run_id: str) -> DataFrame:
    """Return at least one row per clip: its segments, or one row without an answer or an error."""
    return found.select(
        F.lit(run_id).alias("run_id"),
        F.current_date().alias("run_date"),
        F.col("path").alias("clip_path"),
        F.coalesce("clip_end_s", "duration_s").alias("clip_end_s"),
        *("song_id", "offset_s", "speed", "pitch"),
        *(F.coalesce(name, F.lit(value)).alias(name) for name, value in NO_MATCH.items()),
        "error",
        "note",
    )


def _named(matches: DataFrame, clips: DataFrame, warehouse: str) -> DataFrame:
    """Replace absolute paths by relative ones, and song ids by titles and artists."""
    spark = matches.sparkSession
    songs = tables.read(spark, warehouse, SONGS).select("song_id", "title", "artist")
    files = tables.read(spark, warehouse, SONG_FILES).transform(first_files)
    names = files.select("song_id", relative_path().alias("song"))
    clip_names = clips.select(F.col("path").alias("clip_path"), relative_path().alias("clip"))
    return (
        matches.join(clip_names, "clip_path")
        .join(songs, "song_id", "left")
        .join(names, "song_id", "left")
        .select(*COLUMNS)
        .orderBy("clip", "clip_start_s", "rank")
    )
