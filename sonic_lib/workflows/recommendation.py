"""Find the most similar songs for every song, store the lists and look them up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.config import Config
from sonic_lib.errors import ModelError, UsageError
from sonic_lib.features.spark import moments, wide
from sonic_lib.models.names import ARTISTS, TITLES, find_column, one_song
from sonic_lib.models.similarity.recommend import (
    clustered_neighbours,
    exact_neighbours,
    standardised,
)
from sonic_lib.schemas import RECOMMENDATIONS
from sonic_lib.spark.columns import is_sampled, sql_text
from sonic_lib.storage import creation, runs, tables, writes
from sonic_lib.workflows.song_names import find_songs, named
from sonic_lib.workflows.sources import chosen_numbers, read_source

MODEL_NAME = "recommendations"
# Comparing all pairs takes some two hours on 100 cores at this size; clusters are used beyond it.
EXACT_UP_TO = 10_000_000
_JOB = f"train {MODEL_NAME}"
# Query songs per task, about 20 MB; all songs stream past them.
_QUERIES_PER_TASK = 50_000
_PROBED = 8
_SONGS_PER_CENTROID = 100  # of the sample that the clusters are fitted on
_SEED = 314_159


class Vectors(NamedTuple):
    """The songs of a source as vectors."""

    frame: DataFrame
    columns: list[str]
    n: int
    constant: tuple[str, ...] = ()  # columns that were left out


class RecommendationTraining(NamedTuple):
    """Result of `train_recommendations`.

    Attributes
    ----------
    source : str
    constant : tuple of str
        Columns that were left out because all values are equal.
    counts : dict of str to float
        songs, columns, seconds.
    """

    source: str
    constant: tuple[str, ...]
    counts: dict[str, float]
    name: str = MODEL_NAME


def train_recommendations(
    spark: SparkSession,
    config: Config,
    *,
    source: str | None = None,
    columns: Sequence[str] | None = None,
    count: int = 10,
    clusters: int | None = None,
) -> RecommendationTraining:
    """Compare the songs of a source and replace their lists.

    Parameters and errors are those of `Warehouse.train_recommendations`; `clusters` may also be 0,
    which compares all pairs, the default up to `EXACT_UP_TO` songs.
    """
    check_lists(count=count, clusters=clusters)
    started_s = time.monotonic()
    source, features = read_source(spark, config.warehouse, source)
    vectors = song_vectors(features, columns=columns)
    if vectors.n < 2:
        raise ModelError(
            f"The source {source} has {vectors.n} songs; expected 2 or more to compare. "
            "Add more with `sonic features`."
        )
    creation.create_for_models(spark, config.warehouse)
    options = {
        "source": source,
        "columns": list(columns) if columns else None,
        "count": count,
        "clusters": clusters,
    }
    with runs.recorded(
        spark, config.warehouse, job=_JOB, config=config, options=options
    ) as this_run:
        found = neighbours(vectors, k=count, n_clusters=clusters)
        rows = found.withColumns({"source": F.lit(source), "model_version": F.lit(this_run.run_id)})
        writes.replace(
            rows, config.warehouse, RECOMMENDATIONS, where=f"source = {sql_text(source)}"
        )
        seconds = time.monotonic() - started_s
        this_run.counts.update(songs=vectors.n, columns=len(vectors.columns), seconds=seconds)
    return RecommendationTraining(source, vectors.constant, dict(this_run.counts))


def repeat_recommendations(
    spark: SparkSession, config: Config, source: str | None = None
) -> RecommendationTraining:
    """Compute recommendations again, with the options of the last time."""
    creation.create_for_models(spark, config.warehouse)
    last = runs.last_options(spark, config.warehouse, job=_JOB, source=source)
    return train_recommendations(spark, config, **{"source": source} | last)


def recommended(
    spark: SparkSession,
    config: Config,
    songs: Sequence[str],
    *,
    source: str | None,
    count: int,
) -> DataFrame:
    """List the most similar songs for each of a few songs.

    Parameters
    ----------
    songs : sequence of str
        As in `song_names.find_songs`.
    source : str or None
        Source of the recommendations; not needed if there is only one.
    count : int in 1..1000
        Similar songs per song, at most as many as are stored.

    Returns
    -------
    DataFrame
        song (as given), rank, similarity, title, artist, song_id, source_key; ordered by song
        and rank.

    Raises
    ------
    ModelError
        If there are no recommendations for the source yet.
    UsageError
        If a song is not found or is ambiguous, or the count is out of range.
    """
    check_lists(count=count)
    source, features = read_source(spark, config.warehouse, source)
    lists = tables.read(spark, config.warehouse, RECOMMENDATIONS).filter(F.col("source") == source)
    if lists.isEmpty():
        raise ModelError(
            f"There are no recommendations for {source} yet. "
            f"Make them with `sonic train recommendations --source {source}`."
        )
    asked = [
        F.struct(F.lit(i).alias("nr"), F.lit(text).alias("song"), F.lit(song_id).alias("song_id"))
        for i, (text, song_id) in enumerate(zip(songs, find_songs(features, songs), strict=True))
    ]
    asked_songs = spark.range(1).select(F.inline(F.array(*asked)))
    return (
        lists.filter(F.col("rank") <= count)
        .join(F.broadcast(asked_songs), "song_id")
        .select("nr", "song", "rank", "similarity", F.col("recommended_song_id").alias("song_id"))
        .join(named(features), "song_id")
        .orderBy("nr", "rank")
        .select("song", "rank", "similarity", "title", "artist", "song_id", "source_key")
    )


def check_lists(*, count: int, clusters: int | None = None) -> None:
    """Check the numbers.

    Raises
    ------
    UsageError
        If one is out of range.
    """
    if not 1 <= count <= 1000:
        raise UsageError(f"count {count} (--count): expected 1 to 1000 songs.")
    if clusters is not None and (clusters < 0 or clusters == 1):
        raise UsageError(f"clusters {clusters} (--clusters): expected 0, or 2 or more.")


def song_vectors(features: DataFrame, *, columns: Sequence[str] | None = None) -> Vectors:
    """Standardise the features of a source.

    Raises
    ------
    UsageError
        If it has no such numeric column.
    ModelError
        If no column varies.
    """
    described = features.transform(moments).collect()  # one row per column
    known = {row.name: row for row in described if row.kind == "number"}
    numbers = chosen_numbers(sorted(known), columns)
    texts = {row.name for row in described if row.kind == "text"}
    title, artist = (find_column(names, texts) for names in (TITLES, ARTISTS))
    frame = wide(features, numbers=numbers, texts=[name for name in (title, artist) if name])
    varied = [name for name in numbers if (known[name].std or 0.0) > 0]
    if not varied:
        raise ModelError(
            f"None of the columns {', '.join(numbers) or '(none is numeric)'} varies, so songs "
            "cannot be compared. Choose others with columns (--columns)."
        )
    recording: Column | None = one_song(title, artist) if title and artist else None
    vectors = frame.transform(
        standardised,
        means={name: known[name].mean for name in varied},
        deviations={name: known[name].std for name in varied},
        recording=recording,
    )
    constant = tuple(name for name in numbers if name not in varied)
    n_songs = sum(row.n for row in described if row.kind == "song")
    return Vectors(vectors, varied, n_songs, constant)


def neighbours(vectors: Vectors, *, k: int, n_clusters: int | None = None) -> DataFrame:
    """Choose exact or clustered search by the number of songs, unless `n_clusters` is given."""
    if n_clusters is None:
        n_clusters = 0 if vectors.n <= EXACT_UP_TO else int(vectors.n**0.5)
    if n_clusters:
        centroids = fit_centroids(vectors, n=n_clusters)
        return clustered_neighbours(vectors.frame, centroids=centroids, k=k, n_probed=_PROBED)
    parallelism = vectors.frame.sparkSession.sparkContext.defaultParallelism
    n_tasks = max(parallelism, vectors.n // _QUERIES_PER_TASK)
    return exact_neighbours(vectors.frame, k=k, n_tasks=n_tasks)


def fit_centroids(vectors: Vectors, *, n: int) -> NDArray[np.float64]:
    """Find n cluster centroids on the unit sphere by k-means on a sample drawn by hash."""
    from pyspark.ml.clustering import KMeans
    from pyspark.ml.functions import array_to_vector

    share = min(1.0, n * _SONGS_PER_CENTROID / vectors.n)
    # Unit vectors, since songs are compared by their cosine; a zero vector has no direction.
    is_zero = F.forall("vector", lambda x: x == 0)
    sample = vectors.frame.filter(is_sampled(share, seed=_SEED) & ~is_zero)
    kmeans = KMeans(k=n, seed=_SEED, distanceMeasure="cosine", maxIter=10)
    fitted = kmeans.fit(sample.select(array_to_vector("vector").alias("features")))
    return np.array(fitted.clusterCenters())
