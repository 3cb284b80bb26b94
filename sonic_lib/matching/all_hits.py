"""Find every hit of a few clips by a SQL join, for inspection.

`join` defines hits and their weights.  It finds the same hits for batches of any size, but keeps
only the heaviest of each window.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema

from sonic_lib.fingerprint.descriptor import LOG_LIKELIHOOD_RATIO
from sonic_lib.fingerprint.spark import hash_prefix
from sonic_lib.matching.slices import gather
from sonic_lib.matching.spark import window_id
from sonic_lib.schemas import LOOKED_UP

_HASH = ["hash_prefix", "hash"]


def looked_up(extracts: DataFrame, *, prefix_bits: int) -> DataFrame:
    """Return one row per hash that a window looks up.

    Parameters
    ----------
    extracts : DataFrame [schemas.CLIP_EXTRACTS]

    Returns
    -------
    DataFrame
        hash_prefix, and the columns of `schemas.LOOKED_UP`.
    """
    schema = to_arrow_schema(LOOKED_UP)

    def unpack(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in batch.to_pylist():
                queries = gather([row["queries"]], bits=0).queries
                columns = queries._asdict() | {
                    "window_id": np.full(len(queries.hash), row["window_id"])
                }
                yield pa.RecordBatch.from_arrays(
                    [pa.array(columns[field.name]).cast(field.type) for field in schema],
                    schema=schema,
                )

    windows = extracts.filter("queries IS NOT NULL").select(window_id(), "queries")
    hashes = windows.mapInArrow(unpack, LOOKED_UP)
    return hashes.withColumn("hash_prefix", hash_prefix(bits=prefix_bits))


def find_all_hits(
    fingerprints: DataFrame, *, hashes: DataFrame, songs: DataFrame, n_index_frames: float
) -> DataFrame:
    """Return one row per hash that a window shares with a song.

    Parameters
    ----------
    hashes : DataFrame
        From `looked_up`, for a few clips: broadcast.
    songs : DataFrame with song_id
        Fingerprints of other songs do not count.
    n_index_frames : float
        Frames of all songs of the index together.

    Returns
    -------
    DataFrame
        The columns of `hashes`, song_id, offset_frames and weight (nats).
    """
    wanted = hashes.select(*_HASH).distinct()
    rows = (
        fingerprints.join(F.broadcast(wanted), _HASH, "left_semi")
        .join(songs.select("song_id"), "song_id", "left_semi")
        .withColumn("n_rows", F.count("*").over(Window.partitionBy(*_HASH)))
        .withColumnRenamed("descriptor", "stored")
    )
    return rows.join(F.broadcast(hashes), _HASH).select(
        *hashes.columns,
        "song_id",
        "offset_frames",
        weight(F.col("n_rows"), F.col("stored"), n_index_frames=n_index_frames).alias("weight"),
    )


def weight(n_rows: Column, stored: Column, *, n_index_frames: float) -> Column:
    """Evidence of a hit against chance, in nats, as in `join.join_slice`."""
    ratios = F.array(*(F.lit(float(ratio)) for ratio in LOG_LIKELIHOOD_RATIO))
    # Masked, because sign extension to 64 bits would add 32 differing bits.
    distance = F.bit_count(stored.bitwiseXOR(F.col("descriptor")).bitwiseAND(F.lit(0xFFFFFFFF)))
    rarity = F.log(F.lit(float(n_index_frames)) / n_rows)
    return (rarity + F.element_at(ratios, distance.cast("int") + 1)).cast("float")
