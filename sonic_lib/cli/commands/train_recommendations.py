"""`sonic train recommendations`: the songs most like every song."""

from __future__ import annotations

import argparse
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.config import Config
from sonic_lib.console import say
from sonic_lib.errors import ModelError, UsageError
from sonic_lib.features.spark import profile, wide
from sonic_lib.models.names import ARTISTS, TITLES, one_song
from sonic_lib.models.similarity.recommend import (
    clustered_neighbours,
    exact_neighbours,
    standardised,
)
from sonic_lib.schemas import RECOMMENDATIONS
from sonic_lib.storage import runs, tables
from sonic_lib.workflows.sources import chosen_numbers, read_source, sql_text

JOB = "train recommendations"
# A task holds this many songs as queries, some 20 MB, while all songs pass it.
_QUERIES_PER_TASK = 50_000
# Comparing all with all takes an hour on 100 cores here; clusters take over.
EXACT_UP_TO = 10_000_000
_PROBED = 8
_SONGS_PER_CENTROID = 100  # of the sample that the clusters are fitted on
_SEED = 314_159


class Vectors(NamedTuple):
    """The songs of a source as vectors."""

    frame: DataFrame
    columns: list[str]
    n: int
    constant: tuple[str, ...] = ()  # columns that were left out


def add_arguments(parser: argparse._ActionsContainer) -> None:
    """Declare the arguments of this model."""
    parser.add_argument(
        "--columns", nargs="+", metavar="COLUMN", help="numbers to compare by (default: all)"
    )
    parser.add_argument(
        "--count", type=int, default=10, metavar="K", help="songs for each (default 10)"
    )
    parser.add_argument(
        "--clusters",
        type=int,
        metavar="N",
        help="compare within the nearest of N clusters only; 0: with all songs "
        f"(default: 0 up to {EXACT_UP_TO:,} songs)",
    )


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before Spark starts."""
    if not 1 <= args.count <= 1000:
        raise UsageError(f"--count {args.count}: expected 1 to 1000 songs.")
    if args.clusters is not None and (args.clusters < 0 or args.clusters == 1):
        raise UsageError(f"--clusters {args.clusters}: expected 0, or 2 clusters or more.")


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Compare the songs and replace their lists."""
    started_s = time.monotonic()
    source, features = read_source(spark, config.warehouse, args.source)
    vectors = song_vectors(features, columns=args.columns)
    if vectors.n < 2:
        raise ModelError(
            f"The source {source} has {vectors.n} songs; expected 2 or more to compare. "
            "`sonic features` brings more in."
        )
    tables.create_for_models(spark, config.warehouse)
    options = {name: getattr(args, name) for name in ("columns", "count", "clusters")}
    with runs.recorded(
        spark, config.warehouse, job=JOB, config=config, options={"source": source, **options}
    ) as this_run:
        found = neighbours(vectors, k=args.count, n_clusters=args.clusters)
        rows = found.withColumns({"source": F.lit(source), "model_version": F.lit(this_run.run_id)})
        tables.replace(
            rows, config.warehouse, RECOMMENDATIONS, where=f"source = {sql_text(source)}"
        )
        seconds = time.monotonic() - started_s
        this_run.counts.update(songs=vectors.n, columns=len(vectors.columns), seconds=seconds)
    left_out = f"; of one value: {', '.join(vectors.constant)}" if vectors.constant else ""
    say(
        f"Recommendations for {source}\n"
        f"  songs   {vectors.n}, compared by {len(vectors.columns)} features{left_out}\n"
        f"  time    {seconds:.1f} s\n"
        "  Ask: sonic recommend SONG, or sonic playlist SONG SONG …",
        recommendations={"source": source, **this_run.counts},
    )
    return 0


def song_vectors(features: DataFrame, *, columns: list[str] | None = None) -> Vectors:
    """Standardise the features of a source.

    Raises
    ------
    UsageError
        If a column is not among its numbers.
    ModelError
        If no column varies.
    """
    described = profile(features).collect()
    numbers = chosen_numbers(sorted(r.name for r in described if r.kind == "number"), columns)
    texts = {r.name for r in described if r.kind == "text"}
    title = next((name for name in TITLES if name in texts), None)
    artist = next((name for name in ARTISTS if name in texts), None)
    frame = wide(features, numbers=numbers, texts=[name for name in (title, artist) if name])
    told = frame.agg(
        F.count("*").alias("n"),
        *(F.avg(f"`{name}`").alias(f"mean {name}") for name in numbers),
        *(F.stddev_pop(f"`{name}`").alias(f"deviation {name}") for name in numbers),
    ).first()
    varied = [name for name in numbers if (told[f"deviation {name}"] or 0.0) > 0]
    if not varied:
        raise ModelError(
            f"None of the columns {', '.join(numbers) or '(there is no number)'} varies; songs "
            "cannot be compared by them. Name others with --columns."
        )
    recording: Column | None = one_song(title, artist) if title and artist else None
    vectors = frame.transform(
        standardised,
        means={name: told[f"mean {name}"] for name in varied},
        deviations={name: told[f"deviation {name}"] for name in varied},
        recording=recording,
    )
    constant = tuple(name for name in numbers if name not in varied)
    return Vectors(vectors, varied, told["n"], constant)


def neighbours(vectors: Vectors, *, k: int, n_clusters: int | None = None) -> DataFrame:
    """Choose the plan by the number of songs, unless clusters are asked for."""
    if n_clusters is None:
        n_clusters = 0 if vectors.n <= EXACT_UP_TO else int(vectors.n**0.5)
    if n_clusters:
        centroids = fit_centroids(vectors, n=n_clusters)
        return clustered_neighbours(vectors.frame, centroids=centroids, k=k, n_probed=_PROBED)
    parallelism = vectors.frame.sparkSession.sparkContext.defaultParallelism
    n_tasks = max(parallelism, vectors.n // _QUERIES_PER_TASK)
    return exact_neighbours(vectors.frame, k=k, n_tasks=n_tasks)


def fit_centroids(vectors: Vectors, *, n: int) -> NDArray[np.float64]:
    """Find the middles of n clusters of directions by k-means on a sample drawn by hash."""
    from pyspark.ml.clustering import KMeans
    from pyspark.ml.functions import array_to_vector

    share = min(1.0, n * _SONGS_PER_CENTROID / vectors.n)
    drawn = F.pmod(F.xxhash64(F.lit(_SEED), "song_id"), F.lit(2**20)) < int(share * 2**20)
    # Of directions: the cosine is what songs are compared by, and nothing has none.
    is_nothing = F.forall("vector", lambda x: x == 0)
    sample = vectors.frame.filter(drawn & ~is_nothing)
    kmeans = KMeans(k=n, seed=_SEED, distanceMeasure="cosine", maxIter=10)
    fitted = kmeans.fit(sample.select(array_to_vector("vector").alias("features")))
    return np.array(fitted.clusterCenters())
