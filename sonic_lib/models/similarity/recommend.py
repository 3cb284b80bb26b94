"""Find the most similar songs of every song: DataFrame -> DataFrame.

Every song is a vector of standardised features; similarity is the cosine.  The exact search
compares all pairs: each task holds a share of the songs as queries, all songs stream past it, and
only the best k per query are kept, so its memory does not grow with the number of songs.  In large
catalogues, each song is compared only with the songs of its nearest clusters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import ArrayType, StructType

from sonic_lib.models.similarity.topk import empty_lists, unit_rows, update_topk
from sonic_lib.schemas import CLUSTERED_VECTORS, NEIGHBOURS, SONG_VECTORS, VECTOR_PLACES
from sonic_lib.spark.columns import column


def standardised(
    frame: DataFrame,
    *,
    means: dict[str, float],
    deviations: dict[str, float],
    recording: Column | None = None,
) -> DataFrame:
    """Compute the vector of every song.

    Parameters
    ----------
    frame : DataFrame with song_id and the columns that `means` and `deviations` name
    means, deviations : dict of str to float
        A missing value becomes the mean; deviations are greater than 0.
    recording : Column, optional
        Equal for versions of one song, such as `names.one_song`; null if unknown.

    Returns
    -------
    DataFrame [schemas.SONG_VECTORS]
        Vectors are in the order of `means`.
    """
    values = [
        F.coalesce((column(name) - means[name]) / deviations[name], F.lit(0.0)) for name in means
    ]
    group = F.col("song_id") if recording is None else F.coalesce(recording, F.col("song_id"))
    return frame.select(
        "song_id", group.cast("long").alias("recording"), F.array(*values).alias("vector")
    )


def exact_neighbours(vectors: DataFrame, *, k: int, n_tasks: int) -> DataFrame:
    """Find the k most similar songs of every song by comparing all pairs.

    Parameters
    ----------
    vectors : DataFrame
        From `standardised`.
    n_tasks : int
        Number of shares of the queries; all songs are sent to each once.

    Returns
    -------
    DataFrame
        song_id, rank, recommended_song_id, similarity.
    """
    share = F.pmod(F.xxhash64("song_id"), F.lit(n_tasks)).cast("int")
    everywhere = F.sequence(F.lit(0), F.lit(n_tasks - 1))
    sent = _sent(vectors, queries_to=F.array(share), references_to=everywhere)
    return _compared(sent, k=k, n_tasks=n_tasks).drop("recording")


def clustered_neighbours(
    vectors: DataFrame, *, centroids: NDArray[np.float64], k: int, n_probed: int
) -> DataFrame:
    """Find the most similar songs of every song among those of its nearest clusters.

    Parameters
    ----------
    vectors : DataFrame
        From `standardised`.
    centroids : np.ndarray [shape=(c, d)]
        A song belongs to the cluster whose centroid has the largest cosine.
    n_probed : int
        Clusters to search per song.

    Returns
    -------
    DataFrame
        As from `exact_neighbours`; some neighbours may be missed.
    """
    assigned = vectors.transform(_nearest_clusters, centroids=centroids, n=n_probed)
    clusters = F.col("clusters")
    sent = _sent(assigned, queries_to=clusters, references_to=F.slice(clusters, 1, 1))
    found = _compared(sent.drop("clusters"), k=k, n_tasks=len(centroids))
    best_first = [F.desc("similarity"), "recommended_song_id"]
    once = F.row_number().over(Window.partitionBy("song_id", "recording").orderBy(*best_first))
    rank = F.row_number().over(Window.partitionBy("song_id").orderBy(*best_first))
    return (
        found.withColumn("once", once)
        .filter("once = 1")
        .withColumn("rank", rank)
        .filter(F.col("rank") <= k)
        .select(*NEIGHBOURS.names)
    )


def shared_values(neighbours: DataFrame, *, songs: DataFrame, columns: Sequence[str]) -> DataFrame:
    """Share of neighbours with the same value in a column, such as genre or artist.

    Parameters
    ----------
    neighbours : DataFrame with song_id, recommended_song_id
    songs : DataFrame with song_id and `columns`

    Returns
    -------
    DataFrame
        One row with these columns; pairs with a missing value are ignored.
    """
    theirs = songs.select(
        F.col("song_id").alias("recommended_song_id"),
        *(column(name).alias(f"their_{name}") for name in columns),
    )
    ours = songs.select("song_id", *(column(name) for name in columns))
    pairs = neighbours.join(ours, "song_id").join(theirs, "recommended_song_id")
    return pairs.agg(
        *(
            F.avg((F.col(name) == F.col(f"their_{name}")).cast("int")).alias(name)
            for name in columns
        )
    )


def _sent(vectors: DataFrame, *, queries_to: Column, references_to: Column) -> DataFrame:
    """Copy every song to the tasks that look for its neighbours, and to those that offer it."""

    def copies(tasks: Column, *, is_reference: bool) -> Column:
        places = F.transform(tasks, lambda task: F.struct(task, F.lit(is_reference)))
        return places.cast(ArrayType(VECTOR_PLACES))

    # In one pass: the vectors are computed once.
    places = (copies(queries_to, is_reference=False), copies(references_to, is_reference=True))
    return vectors.select("*", F.inline(F.concat(*places)))


def _compared(sent: DataFrame, *, k: int, n_tasks: int) -> DataFrame:
    """Compare the queries of every task with the references of the same task."""
    schema = StructType([*NEIGHBOURS, SONG_VECTORS["recording"]])
    arrow_schema = to_arrow_schema(schema)

    def compare(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        held, lists = [], None
        for batch in batches:
            is_reference = batch["is_reference"].to_numpy(zero_copy_only=False)
            n_queries = int(np.searchsorted(is_reference, True))  # queries come first
            if n_queries:
                held.append(_arrays(batch.slice(0, n_queries)))
            if n_queries == batch.num_rows or not held:
                continue
            if lists is None:
                ids, recordings, vectors = (
                    np.concatenate(parts) for parts in zip(*held, strict=True)
                )
                lists = empty_lists(len(ids), k)
            new_ids, new_recordings, new_vectors = _arrays(batch.slice(n_queries))
            update_topk(lists, vectors, recordings, new_vectors, new_ids, new_recordings)
        if lists is None:
            return
        place = lists.similarities > -1.5
        rows = {
            "song_id": np.repeat(ids, k)[place.ravel()],
            "rank": np.tile(np.arange(1, k + 1, dtype=np.int32), len(ids))[place.ravel()],
            "recommended_song_id": lists.ids[place],
            "similarity": np.clip(lists.similarities[place], -1.0, 1.0),
            "recording": lists.groups[place],
        }
        yield pa.RecordBatch.from_arrays(
            [pa.array(rows[f.name], f.type) for f in arrow_schema], schema=arrow_schema
        )

    return (
        sent.repartitionById(n_tasks, "task")
        .sortWithinPartitions("is_reference")
        .mapInArrow(compare, schema)
    )


def _arrays(batch: pa.RecordBatch) -> tuple[NDArray, NDArray, NDArray]:
    vectors = batch["vector"].flatten().to_numpy().reshape(batch.num_rows, -1)
    return batch["song_id"].to_numpy(), batch["recording"].to_numpy(), unit_rows(vectors)


def _nearest_clusters(vectors: DataFrame, *, centroids: NDArray[np.float64], n: int) -> DataFrame:
    """Add `clusters`, the numbers of the n nearest ones, nearest first."""
    arrow_type = to_arrow_schema(CLUSTERED_VECTORS).field("clusters").type
    directions = unit_rows(centroids)

    def assign(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            closeness = _arrays(batch)[2] @ directions.T
            nearest = np.argsort(-closeness, axis=1, kind="stable")[:, :n]
            clusters = pa.array(list(nearest.astype(np.int32)), arrow_type)
            yield batch.append_column("clusters", clusters)

    return vectors.mapInArrow(assign, CLUSTERED_VECTORS)
