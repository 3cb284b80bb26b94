"""Summarise the tables for a report: DataFrame -> small DataFrame.

No result has one row per song: one row, one per frequent value, or one per requested clip.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from sonic_lib.audio.listing import relative_path
from sonic_lib.index.copies import first_files

MAX_DIGITS = 20  # of a p-value: beyond, all are equally certain
_MAX_SEGMENTS = 12
_SAME_LENGTH_S = 3.0  # copies differ by the silence at their ends


def catalogue(songs: DataFrame) -> DataFrame:
    """Summarise the index.

    Returns
    -------
    DataFrame
        One row: n_songs, n_artists, duration_s, n_fingerprints, first_at, last_at.
    """
    return songs.agg(
        F.count("*").alias("n_songs"),
        F.count_distinct("artist").alias("n_artists"),
        F.coalesce(F.sum("duration_s"), F.lit(0.0)).alias("duration_s"),
        F.coalesce(F.sum("n_fingerprints"), F.lit(0)).alias("n_fingerprints"),
        F.min("indexed_at").alias("first_at"),
        F.max("indexed_at").alias("last_at"),
    )


def commonest(songs: DataFrame, *, column: str, n_values: int = 12) -> DataFrame:
    """Count the songs of each of the most frequent values of a column.

    Returns
    -------
    DataFrame
        value (null for songs without one), n_songs, hours, n_fingerprints.
    """
    return (
        songs.groupBy(F.col(column).alias("value"))
        .agg(
            F.count("*").alias("n_songs"),
            (F.sum("duration_s") / 3600).alias("hours"),
            F.sum("n_fingerprints").alias("n_fingerprints"),
        )
        .orderBy(F.desc("n_songs"), "value")
        .limit(n_values)
    )


def songs_named_alike(songs: DataFrame, *, n_names: int = 20) -> DataFrame:
    """Find songs that seem to be indexed twice: same title, artist and length.

    Returns
    -------
    DataFrame
        title, artist, n_songs, shortest_s, longest_s, codecs; the most songs first.
    """
    alike = [F.lower(F.trim(F.coalesce(name, F.lit("")))) for name in ("title", "artist")]
    by_length = Window.partitionBy(*alike).orderBy("duration_s", "song_id")
    gap_s = F.col("duration_s") - F.lag("duration_s").over(by_length)
    next_gap_s = F.lead("duration_s").over(by_length) - F.col("duration_s")
    return (
        songs.filter("trim(title) <> ''")
        .withColumn("gap_s", F.least(gap_s, next_gap_s))
        .filter(F.col("gap_s") <= _SAME_LENGTH_S)
        .groupBy(*alike)
        .agg(
            F.min("title").alias("title"),
            F.min("artist").alias("artist"),
            F.count("*").alias("n_songs"),
            F.min("duration_s").alias("shortest_s"),
            F.max("duration_s").alias("longest_s"),
            F.concat_ws(", ", F.sort_array(F.collect_set("codec"))).alias("codecs"),
        )
        .select("title", "artist", "n_songs", "shortest_s", "longest_s", "codecs")
        .orderBy(F.desc("n_songs"), "title", "artist")
        .limit(n_names)
    )


def file_states(song_files: DataFrame) -> DataFrame:
    """Count paths by status.

    Returns
    -------
    DataFrame
        status, n_files, size_bytes.
    """
    return (
        song_files.groupBy("status")
        .agg(F.count("*").alias("n_files"), F.sum("size_bytes").alias("size_bytes"))
        .orderBy(F.desc("n_files"), "status")
    )


def reject_reasons(song_files: DataFrame) -> DataFrame:
    """Count the 20 most frequent reasons of rejection, ignoring numbers in them.

    Returns
    -------
    DataFrame
        stage, reason (digits are #), n_files, example (a path below its root).
    """
    reason = F.regexp_replace("error", r"\d+([.]\d+)?", "#").alias("reason")
    return (
        song_files.filter("status = 'rejected'")
        .groupBy("stage", reason)
        .agg(F.count("*").alias("n_files"), F.min(relative_path()).alias("example"))
        .orderBy(F.desc("n_files"), "stage", "reason")
        .limit(20)
    )


def job_states(runs: DataFrame) -> DataFrame:
    """Count runs by job.

    Returns
    -------
    DataFrame
        job, n_runs, n_failed, n_unfinished (running or killed), last_at, mean_s (of those done).
    """
    length_s = F.unix_micros("ended_at") / 1e6 - F.unix_micros("started_at") / 1e6
    return (
        runs.groupBy("job")
        .agg(
            F.count("*").alias("n_runs"),
            F.count_if(F.col("status") == "failed").alias("n_failed"),
            F.count_if(F.col("status") == "running").alias("n_unfinished"),
            F.max("started_at").alias("last_at"),
            F.avg(F.when(F.col("status") == "done", length_s)).alias("mean_s"),
        )
        .orderBy("job")
    )


def latest_runs(runs: DataFrame, *, jobs: Sequence[str], n_runs: int = 50) -> DataFrame:
    """Select the latest runs of some jobs, given by their first word.

    Returns
    -------
    DataFrame
        Columns of `schemas.RUNS`, latest first.
    """
    verb = F.split_part("job", F.lit(" "), F.lit(1))
    return runs.filter(verb.isin(*jobs)).orderBy(F.desc("started_at"), "run_id").limit(n_runs)


def verdicts(matches: DataFrame) -> DataFrame:
    """Count the clips of one identification run by their answer.

    Returns
    -------
    DataFrame
        One row: n_clips, n_identified, n_rejected, n_segments, n_songs (identified ones).
    """
    accepted = F.col("accepted")
    return matches.agg(
        F.count_distinct("clip_path").alias("n_clips"),
        F.count_distinct(F.when(accepted, F.col("clip_path"))).alias("n_identified"),
        F.count_distinct(F.when(F.col("error").isNotNull(), F.col("clip_path"))).alias(
            "n_rejected"
        ),
        F.count_if(accepted).alias("n_segments"),
        F.count_distinct(F.when(accepted, F.col("song_id"))).alias("n_songs"),
    )


def certainty_counts(matches: DataFrame) -> DataFrame:
    """Count best answers by the digits of their p-values.

    Returns
    -------
    DataFrame
        digits (int, 0 to MAX_DIGITS: -log10 p, rounded down), accepted, n.
    """
    digits = F.floor(F.least(-F.log10(F.greatest("p_value", F.lit(1e-300))), F.lit(MAX_DIGITS)))
    return (
        matches.filter("rank = 1 AND error IS NULL")
        .groupBy(digits.cast("int").alias("digits"), "accepted")
        .agg(F.count("*").alias("n"))
    )


def shown_answers(matches: DataFrame, *, n_clips: int) -> DataFrame:
    """Select the answers to show: the first clips by name, with up to 12 segments each.

    Parameters
    ----------
    matches : DataFrame
        Of one run.
    n_clips : int

    Returns
    -------
    DataFrame
        Columns of `schemas.MATCHES` except the run's; is_surest (one row per clip, even if nothing
        is accepted) and n_segments (accepted ones of the clip).
    """
    chosen = matches.select("clip_path").distinct().orderBy("clip_path").limit(n_clips)
    surest_first = (F.desc("accepted"), F.col("p_value"), F.col("clip_start_s"))
    within = Window.partitionBy("clip_path")
    return (
        matches.filter("rank = 1")
        .join(F.broadcast(chosen), "clip_path", "left_semi")
        .withColumn("place", F.row_number().over(within.orderBy(*surest_first)))
        .withColumn("is_surest", F.col("place") == 1)
        .withColumn("n_segments", F.count_if("accepted").over(within))
        .filter((F.col("accepted") | F.col("is_surest")) & (F.col("place") <= _MAX_SEGMENTS))
        .drop("place", "run_id", "run_date", "rank")
    )


def with_names(answers: DataFrame, *, songs: DataFrame, song_files: DataFrame) -> DataFrame:
    """Add title, artist, song (its path below its root) and song_path to answers.

    Parameters
    ----------
    answers : DataFrame
        A few rows with song_id, which are broadcast.
    """
    wanted = F.broadcast(answers.select("song_id").distinct())
    names = songs.join(wanted, "song_id", "left_semi").select("song_id", "title", "artist")
    files = (
        song_files.join(wanted, "song_id", "left_semi")
        .transform(first_files)
        .select("song_id", F.col("path").alias("song_path"), relative_path().alias("song"))
    )
    return answers.join(names, "song_id", "left").join(files, "song_id", "left")


def feature_sources(features: DataFrame) -> DataFrame:
    """Count the songs of each source of features.

    Returns
    -------
    DataFrame
        source, n_songs, last_at; one row per imported table, so few.
    """
    return (
        features.groupBy("source")
        .agg(F.count("*").alias("n_songs"), F.max("computed_at").alias("last_at"))
        .orderBy("source")
    )


def prediction_states(predictions: DataFrame) -> DataFrame:
    """Summarise the predictions of each model.

    Returns
    -------
    DataFrame
        model, model_version, source, n_songs, mean_set_size, share_single, mean_popularity,
        mean_width, confidence, last_at; null where a model does not predict it.
    """
    size = F.when(F.col("genre_set").isNotNull(), F.size("genre_set"))
    return (
        predictions.groupBy("model", "model_version", "source")
        .agg(
            F.count("*").alias("n_songs"),
            F.avg(size).alias("mean_set_size"),
            F.avg((size == 1).cast("double")).alias("share_single"),
            F.avg("popularity").alias("mean_popularity"),
            F.avg(F.col("popularity_high") - F.col("popularity_low")).alias("mean_width"),
            F.max("confidence").alias("confidence"),
            F.max("predicted_at").alias("last_at"),
        )
        .orderBy("model", "model_version", "source")
        .limit(100)
    )
