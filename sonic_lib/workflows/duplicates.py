"""Find songs of an index that are the same recording or share a passage."""

from __future__ import annotations

from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.audio.sandbox import Limits
from sonic_lib.config import Config
from sonic_lib.index import copies
from sonic_lib.matching import duplicates
from sonic_lib.matching.budget import affordable_frequency
from sonic_lib.schemas import SONG_FILES
from sonic_lib.spark.caching import cache_scope, cached
from sonic_lib.storage import runs, tables
from sonic_lib.workflows.identification import Index, open_index

MAX_P = 1e-9
# Limits of the self-join: average rows per fingerprint, and a minimum for small indexes.
PAIRS_PER_ROW, MIN_PAIRS = 8, 20_000_000


class Duplicates(NamedTuple):
    """Result of `list_duplicates`.

    Attributes
    ----------
    pairs : DataFrame
        One row per pair: `matching.duplicates.COLUMNS`; cached.
    counts : dict of str to float
        pairs, same_recording, shared_passage, groups.
    """

    pairs: DataFrame
    counts: dict[str, float]


def list_duplicates(spark: SparkSession, config: Config) -> Duplicates:
    """Compare all songs of the index with one another.

    Raises
    ------
    TableError
        If there is no index, or one of an older layout.
    """
    warehouse = config.warehouse
    tables.check_layout(spark, warehouse)
    with (
        cache_scope(),
        runs.recorded(spark, warehouse, job="duplicates", config=config) as this_run,
    ):
        index = open_index(spark, warehouse)
        files = tables.read_pinned(spark, warehouse, SONG_FILES)
        found = find_duplicates(index, files, limits=config.index.limits()).persist()
        counts = found.agg(
            F.count("*").alias("pairs"),
            F.count_if(F.col("kind") == duplicates.SAME).alias("same_recording"),
            F.count_if(F.col("kind") == duplicates.PASSAGE).alias("shared_passage"),
            F.count_distinct("group").alias("groups"),
        )
        this_run.counts.update(counts.first().asDict())
    return Duplicates(found, this_run.counts)


def find_duplicates(index: Index, song_files: DataFrame, *, limits: Limits) -> DataFrame:
    """Find pairs of songs with music in common: `duplicates.COLUMNS`.

    Files of songs with copies are read again, within the limits, to choose the copy to keep.
    """
    fingerprints = index.fingerprints.join(index.songs.select("song_id"), "song_id", "left_semi")
    sample = fingerprints.filter("hash_prefix = 0").transform(duplicates.pairs_by_frequency)
    share = 2**index.files.prefix_bits
    n_hits = {row.max_rows: row.n_hits * share for row in sample.collect()}
    max_pairs = max(MIN_PAIRS, PAIRS_PER_ROW * index.files.n_fingerprints)
    candidates = cached(
        fingerprints.transform(
            duplicates.candidate_pairs,
            max_rows_per_hash=affordable_frequency(n_hits, max_hits=max_pairs),
        )
    )
    overlaps = cached(
        candidates.transform(
            duplicates.compare_pairs, fingerprints=fingerprints, n_index_frames=index.files.n_frames
        )
        .filter(F.col("p_value") <= MAX_P)
        .transform(duplicates.kinds, songs=index.songs)
    )
    same = overlaps.filter(F.col("kind") == duplicates.SAME).select("song_id", "other_song_id")
    labels = cached(group_labels(same))
    files = song_files.transform(copies.first_files)
    bands = files.join(labels, "song_id", "left_semi").transform(
        copies.measure_bands, limits=limits
    )
    ranked = cached(index.songs.transform(copies.copies_by_quality, files=files, bands=bands))
    return overlaps.transform(duplicates.report, labels=labels, copies=ranked)


def group_labels(same: DataFrame) -> DataFrame:
    """Find connected components: song_id and label, the smallest song_id of its group.

    Notes
    -----
    Takes as many rounds as the longest path in a group; each joins and shuffles the pairs.
    """
    back = same.select(
        F.col("other_song_id").alias("song_id"), F.col("song_id").alias("other_song_id")
    )
    edges = same.unionByName(back).localCheckpoint()
    labels = edges.select("song_id", F.col("song_id").alias("label")).distinct()
    while True:
        step = labels.transform(duplicates.spread_labels, edges=edges).localCheckpoint()
        labels = step.drop("changed")
        if step.filter("changed").isEmpty():
            return labels
