"""How the hashes of a table grow with its songs, to compare a synthetic table with a real one.

Two things determine the cost of a clip in a large table, and the evidence for chance: how many
distinct hashes there are, and how many rows of other songs match the hashes looked up for one
triangle, many of them frequent hashes.  Distinct hashes are counted in subsets of the songs (each
song is in one of k subsets, by its id), which gives a curve to extrapolate.  Rows matched grow in
proportion to the rows in the table, so they are given per million rows.
"""

from __future__ import annotations

import math

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.fingerprint.hashes import HASH_BITS, pack, unpack
from sonic_lib.fingerprint.spark import hash_prefix

# Hashes are mixed, so those with leading zeros are a fair sample; the files are sorted.
MAX_SAMPLE_ROWS = 5_000_000
N_PROBED = 5_000
FREQUENT = (10, 30, 100)  # rows per million rows


def curve(fingerprints: DataFrame, *, n_rows: float, parts: tuple[int, ...]) -> list[dict]:
    """Measure subsets of the songs.

    Parameters
    ----------
    parts : tuple of int
        Numbers of subsets to divide the songs into.

    Returns
    -------
    list of dict
        For each number: rows and distinct (hashes), means over the subsets.
    """
    bits = max(0, math.ceil(math.log2(n_rows / MAX_SAMPLE_ROWS)))
    sample = fingerprints.filter(F.col("hash") < (1 << (HASH_BITS - bits)))
    by_song = sample.groupBy("hash", "song_id").agg(F.count("*").alias("n")).persist()
    found = []
    for n_parts in parts:
        part = F.pmod(F.xxhash64("song_id"), F.lit(n_parts))
        by_hash = by_song.groupBy(part, "hash").agg(F.sum("n").alias("n"))
        rows, distinct = by_hash.agg(F.sum("n"), F.count("*")).first()
        found.append({"rows": rows * 2**bits / n_parts, "distinct": distinct * 2**bits / n_parts})
    by_song.unpersist()
    return found


def distinct_at(n_rows: float, *, real: list[dict]) -> float:
    """Extrapolate the curve of real songs to a larger table.

    The number of distinct hashes is a power of the number of rows whose exponent falls slowly
    (a bent Heaps' law), so a parabola is fitted to the logarithms.
    """
    x, y = np.log([[point["rows"], point["distinct"]] for point in real]).T
    return float(np.exp(np.polyval(np.polyfit(x, y, 2), np.log(n_rows))))


def probes(spark: SparkSession, fingerprints: DataFrame, *, prefix_bits: int) -> DataFrame:
    """Return what clips would look up for some rows: triangle, own_song, hash_prefix, hash."""
    rows = fingerprints.select("hash", F.col("song_id").alias("own_song"))
    drawn = rows.orderBy(F.xxhash64("hash", "song_id", "offset_frames")).limit(N_PROBED).toPandas()
    # Like `hashes.query_hashes` for one triangle, without its grids and swaps.
    steps = np.concatenate([np.zeros((1, 5)), np.eye(5), -np.eye(5)])
    numbers = unpack(drawn["hash"].to_numpy())[:, np.newaxis, :] + steps
    drawn = drawn.loc[drawn.index.repeat(len(steps))].rename_axis("triangle").reset_index()
    looked_up = drawn.assign(hash=pack(numbers.reshape(-1, 5)))
    return spark.createDataFrame(looked_up).withColumn("hash_prefix", hash_prefix(bits=prefix_bits))


def rows_met(fingerprints: DataFrame, *, probes: DataFrame, n_rows: float) -> dict[str, float]:
    """Count the rows of other songs that match the lookups of one triangle.

    Returns
    -------
    dict
        per_million (rows matched per million rows) and, for each of `FREQUENT`, the share of
        them whose hash occurs more often than that per million rows.
    """
    met = (
        fingerprints.join(F.broadcast(probes), ["hash_prefix", "hash"])
        .filter("song_id != own_song")
        .groupBy("triangle", "hash")
        .agg((F.count("*") / n_rows * 1e6).alias("n"))
    )
    above = [F.sum(F.when(F.col("n") > limit, F.col("n"))) for limit in FREQUENT]
    total, *frequent = met.agg(F.sum("n"), *above).first()
    shares = {f"above_{k}": (n or 0.0) / total for k, n in zip(FREQUENT, frequent, strict=True)}
    return {"per_million": total / N_PROBED, **shares}
