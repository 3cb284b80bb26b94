"""Find songs that an index holds more than once: DataFrame -> DataFrame.

Method
------
1. Candidates: a self-join of the fingerprints on rare hashes.  Two songs with the same music
   share several hashes within 10 s, all with the same shift; other pairs rarely do.
2. The common passages of each candidate pair are found from all their shared hashes, including
   frequent ones (`overlap`).
3. Copies of one another form a group: connected components, by propagating the smallest song_id
   along the pairs until nothing changes.

A hash with n rows costs n(n - 1)/2 rows of the self-join; `affordable_frequency` bounds them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema

from sonic_lib.matching.overlap import common_passages
from sonic_lib.schemas import OVERLAPS

_HASH = ("hash_prefix", "hash")
_PAIR = ("song_id", "other_song_id")
CELL_FRAMES = 312  # 10 s of the first song
SHIFT_FRAMES = 8  # a speed difference of 2 % shifts 10 s by 6 frames
MIN_CELL_VOTES = 5
MAX_CANDIDATES = 64  # per song; further copies of a song are found from their own lists
# A hash that a song repeats more often is weak evidence, and every use joins with every other.
MAX_ROWS_PER_SONG = 20
WHOLE_SHARE = 0.95  # of the longest copy
SAME_SHARE = 0.75  # of the shorter song
SAME, PASSAGE = "same recording", "shared passage"  # kinds of pairs
COLUMNS = (
    *("group", "kind", "overlap_s", "song", "other_song", "keep", "start_s", "other_start_s"),
    *("speed", "n_votes", "p_value", "song_id", "other_song_id", "keep_song_id"),
)


def pairs_by_frequency(fingerprints: DataFrame) -> DataFrame:
    """Count the rows of the self-join by frequency of the hash, in powers of two.

    Returns
    -------
    DataFrame
        max_rows (upper end of the class) and n_hits, for `budget.affordable_frequency`.
    """
    n = F.col("n_rows")
    return (
        fingerprints.groupBy(*_HASH)
        .agg(F.count("*").alias("n_rows"))
        .groupBy(F.pow(F.lit(2), F.ceil(F.log2("n_rows"))).cast("long").alias("max_rows"))
        .agg(F.sum(n * (n - 1) / 2).alias("n_hits"))
    )


def candidate_pairs(fingerprints: DataFrame, *, max_rows_per_hash: int) -> DataFrame:
    """Find pairs of songs that share several rare hashes within 10 s.

    Parameters
    ----------
    fingerprints : DataFrame
        Of the songs to compare.
    max_rows_per_hash : int
        Hashes that occur more often are left out.

    Returns
    -------
    DataFrame
        song_id and other_song_id, which is the larger.
    """
    rare = fingerprints.withColumn("n_rows", F.count("*").over(Window.partitionBy(*_HASH))).filter(
        F.col("n_rows").between(2, max_rows_per_hash)
    )
    left = rare.select(*_HASH, "song_id", "offset_frames")
    right = rare.select(
        *_HASH, F.col("song_id").alias("other_song_id"), F.col("offset_frames").alias("other")
    )
    shift = F.floor((F.col("other") - F.col("offset_frames")) / SHIFT_FRAMES)
    hits = left.join(right, list(_HASH)).filter("song_id < other_song_id")
    best_first = Window.partitionBy("song_id").orderBy(F.desc("n_votes"), "other_song_id")
    return (
        # Overlapping cells: a shift near the edge of one is inside the next.
        hits.select(
            *_PAIR,
            F.floor(F.col("offset_frames") / CELL_FRAMES).alias("cell"),
            F.explode(F.array(shift, shift + 1)).alias("shift"),
        )
        .groupBy(*_PAIR, "cell", "shift")
        .count()
        .filter(F.col("count") >= MIN_CELL_VOTES)
        .groupBy(*_PAIR)
        .agg(F.sum("count").alias("n_votes"))
        .withColumn("rank", F.row_number().over(best_first))
        .filter(F.col("rank") <= MAX_CANDIDATES)
        .select(*_PAIR)
    )


def compare_pairs(pairs: DataFrame, *, fingerprints: DataFrame, n_index_frames: float) -> DataFrame:
    """Find the passages that the songs of each pair have in common.

    Parameters
    ----------
    pairs : DataFrame
        From `candidate_pairs`.
    fingerprints : DataFrame
        The table.
    n_index_frames : float
        Frames of all songs together.

    Returns
    -------
    DataFrame [schemas.OVERLAPS]
        Pairs without a common passage have no row.

    Notes
    -----
    Hits are sorted by pair, and Python gets one pair's columns at a time.
    """
    n_in_song = F.count("*").over(Window.partitionBy("song_id", "hash"))
    both = pairs.select(F.explode(F.array(*_PAIR)).alias("song_id")).distinct()
    rows = fingerprints.join(both, "song_id", "left_semi").select(
        "hash", "song_id", "offset_frames", n_in_song.alias("n_in_song")
    )
    rows = rows.filter(F.col("n_in_song") <= MAX_ROWS_PER_SONG)
    other = rows.select(
        "hash",
        F.col("song_id").alias("other_song_id"),
        F.col("offset_frames").alias("other_frames"),
        F.col("n_in_song").alias("n_in_other"),
    )
    # A hash is weaker evidence the more often the songs repeat it.
    n_places = F.col("n_in_song") * F.col("n_in_other")
    weight = F.greatest(F.log(F.lit(float(n_index_frames)) / n_places), F.lit(0.1))
    hits = (
        rows.join(pairs, "song_id")
        .join(other, ["other_song_id", "hash"])
        .select(*_PAIR, "offset_frames", "other_frames", weight.cast("float").alias("weight"))
    )
    return hits.repartition(*_PAIR).sortWithinPartitions(*_PAIR).mapInArrow(_compare, OVERLAPS)


def _compare(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    schema = to_arrow_schema(OVERLAPS)
    for pair, hits in _by_pair(batches):
        columns = (hits[name].to_numpy() for name in ("offset_frames", "other_frames", "weight"))
        found = common_passages(*columns)
        if found is not None:
            row = dict(zip(_PAIR, pair, strict=True)) | found._asdict()
            yield pa.RecordBatch.from_pylist([row], schema=schema)


def _by_pair(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[tuple[int, int], pa.Table]]:
    """Split sorted batches by pair."""
    held: list[pa.RecordBatch] = []
    last = (-1, -1)
    for batch in batches:
        ids = np.stack([batch[name].to_numpy() for name in _PAIR])
        cuts = np.flatnonzero((ids[:, 1:] != ids[:, :-1]).any(axis=0)) + 1
        for first, stop in itertools.pairwise([0, *cuts.tolist(), batch.num_rows]):
            if first == stop:
                continue
            pair = (int(ids[0, first]), int(ids[1, first]))
            if held and pair != last:
                yield last, pa.Table.from_batches(held)
                held = []
            last = pair
            held.append(batch.slice(first, stop - first))
    if held:
        yield last, pa.Table.from_batches(held)


def kinds(overlaps: DataFrame, *, songs: DataFrame) -> DataFrame:
    """Add kind: SAME or PASSAGE.

    Parameters
    ----------
    overlaps : DataFrame [schemas.OVERLAPS]
    songs : DataFrame with song_id, duration_s
    """
    length = songs.select("song_id", "duration_s")
    other = length.toDF("other_song_id", "other_duration_s")
    share = F.col("overlap_s") / F.least("duration_s", F.col("other_duration_s") / F.col("speed"))
    kind = F.when(share >= SAME_SHARE, SAME).otherwise(PASSAGE)
    joined = overlaps.join(length, "song_id").join(other, "other_song_id")
    return joined.withColumn("kind", kind).drop("duration_s", "other_duration_s")


def spread_labels(labels: DataFrame, *, edges: DataFrame) -> DataFrame:
    """Do one step of label propagation: each song takes the smallest label of its neighbours.

    Parameters
    ----------
    labels : DataFrame with song_id, label
    edges : DataFrame with song_id, other_song_id
        Each pair in both directions.

    Returns
    -------
    DataFrame
        song_id, label, and changed.
    """
    around = (
        edges.join(labels.withColumnRenamed("song_id", "other_song_id"), "other_song_id")
        .groupBy("song_id")
        .agg(F.min("label").alias("least"))
    )
    least = F.least("label", "least")
    return labels.join(around, "song_id", "left").select(
        "song_id", least.alias("label"), (least < F.col("label")).alias("changed")
    )


def report(overlaps: DataFrame, *, labels: DataFrame, copies: DataFrame) -> DataFrame:
    """Name the songs of each pair, its group, and the copy of the group to keep.

    Parameters
    ----------
    overlaps : DataFrame
        From `kinds`.
    labels : DataFrame with song_id, label
        Of the songs of SAME pairs.
    copies : DataFrame
        From `index.copies.copies_by_quality`.

    Returns
    -------
    DataFrame
        `COLUMNS`.
    """
    # Never keep a truncated copy, however good its quality.
    longest = F.max("quality.length_s").over(Window.partitionBy("label"))
    is_whole = F.col("quality.length_s") >= WHOLE_SHARE * F.col("longest")
    best = (
        labels.join(copies, "song_id")
        .withColumn("longest", longest)
        .groupBy("label")
        .agg(F.max_by(F.struct("song_id", "song"), F.struct(is_whole, "quality")).alias("best"))
    )
    groups = labels.join(best, "label").select(
        "song_id",
        F.col("label").alias("group"),
        F.col("best.song_id").alias("keep_song_id"),
        F.col("best.song").alias("keep"),
    )
    is_same = F.col("kind") == SAME
    others = copies.select(
        F.col("song_id").alias("other_song_id"), F.col("song").alias("other_song")
    )
    named = overlaps.join(copies, "song_id").join(others, "other_song_id")
    return (
        named.join(groups, "song_id", "left")
        .withColumns({c: F.when(is_same, F.col(c)) for c in ("group", "keep_song_id", "keep")})
        .select(*COLUMNS)
        .orderBy(F.asc_nulls_last("group"), "song", "other_song")
    )
