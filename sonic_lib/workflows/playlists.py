"""Make playlists: songs similar to a few seeds, but diverse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.config import Config
from sonic_lib.errors import UsageError
from sonic_lib.models.similarity.topk import diverse, unit_rows
from sonic_lib.workflows.recommendation import song_vectors
from sonic_lib.workflows.song_names import find_songs, named
from sonic_lib.workflows.sources import read_source

# Candidates collected per song of the playlist.
_CANDIDATES_PER_SONG = 20


def make_playlist(
    spark: SparkSession,
    config: Config,
    songs: Sequence[str],
    *,
    source: str | None,
    columns: Sequence[str] | None,
    count: int,
    diversity: float,
) -> DataFrame:
    """Choose songs similar to a few songs, by maximal marginal relevance.

    Parameters and errors are those of `Warehouse.playlist`.

    Returns
    -------
    DataFrame
        place, relevance, title, artist, song_id, source_key; ordered by place.
    """
    check_choices(count=count, diversity=diversity)
    _, features = read_source(spark, config.warehouse, source)
    seed_ids = find_songs(features, songs)
    vectors = song_vectors(features, columns=columns).frame
    seeds = vectors.filter(F.col("song_id").isin(seed_ids)).collect()
    centre = unit_rows(np.array([row.vector for row in seeds])).mean(axis=0)

    norm = F.sqrt(F.aggregate("vector", F.lit(0.0), lambda total, x: total + x * x))
    products = F.zip_with("vector", F.array(*map(F.lit, centre.tolist())), lambda a, b: a * b)
    dot = F.aggregate(products, F.lit(0.0), lambda total, x: total + x)
    relevance = dot / F.nullif(norm, F.lit(0.0))
    candidates = (
        vectors.filter(~F.col("recording").isin([row.recording for row in seeds]))
        .withColumn("relevance", F.coalesce(relevance, F.lit(0.0)))
        .orderBy(F.desc("relevance"), "song_id")
        .limit(_CANDIDATES_PER_SONG * count)
        .toPandas()
    )
    if candidates.empty:
        raise UsageError("There is no other song to choose from; add some with `sonic features`.")
    rows = unit_rows(np.stack(candidates["vector"]))
    chosen = diverse(
        rows @ rows.T,
        candidates["relevance"].to_numpy(),
        candidates["recording"].to_numpy(),
        n=count,
        diversity=diversity,
    )
    listed = candidates.iloc[chosen][["song_id", "relevance"]].reset_index(drop=True)
    listed.insert(0, "place", range(1, len(listed) + 1))
    return (
        spark.createDataFrame(listed)
        .join(named(features), "song_id")
        .select("place", "relevance", "title", "artist", "song_id", "source_key")
        .orderBy("place")
    )


def check_choices(*, count: int, diversity: float) -> None:
    """Check the numbers.

    Raises
    ------
    UsageError
        If one is out of range.
    """
    if not 0 <= diversity <= 1:
        raise UsageError(f"diversity {diversity:g} (--diversity): expected 0 to 1.")
    if not 1 <= count <= 500:
        raise UsageError(f"count {count} (--count): expected 1 to 500 songs.")
