"""Check the invariants of an index: DataFrame -> DataFrame.

The fingerprints are scanned four times and shuffled twice: by song, to count them, and by whole
row, to find duplicates.
"""

from __future__ import annotations

from datetime import datetime
from functools import reduce

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from sonic_lib.fingerprint.spark import hash_prefix
from sonic_lib.index.sort_order import SORT_KEYS, file_runs
from sonic_lib.schemas import FILE_RUNS


def data_files(fingerprints: DataFrame) -> DataFrame:
    """One row per file of the table: file, hash_prefix, n_rows and is_sorted.

    Parameters
    ----------
    fingerprints : DataFrame
        The table itself, with its hidden column _metadata.
    """
    rows = fingerprints.select(
        F.col("_metadata.file_path").alias("file"),
        F.col("_metadata.file_block_start").alias("split_bytes"),
        "hash_prefix",
        *SORT_KEYS,
    )
    order = Window.partitionBy("file").orderBy("split_bytes", "place")
    before = F.lag("last").over(order)
    return (
        rows.mapInArrow(file_runs, FILE_RUNS)
        .withColumn("descends", F.coalesce(before > F.col("first"), F.lit(False)))
        .groupBy("file", "hash_prefix")
        .agg(
            F.sum("n_rows").alias("n_rows"),
            ((F.sum("n_descents") == 0) & ~F.bool_or("descends")).alias("is_sorted"),
        )
    )


def song_counts(fingerprints: DataFrame, *, songs: DataFrame) -> DataFrame:
    """Count the fingerprints of each song: song_id, n_expected, n_found and written_at.

    Returns
    -------
    DataFrame
        n_expected is null if the song is not in `songs`; written_at is when the newest file with
        its fingerprints was written.
    """
    found = fingerprints.groupBy("song_id").agg(
        F.count("*").alias("n_found"),
        F.max("_metadata.file_modification_time").alias("written_at"),
    )
    expected = songs.select("song_id", F.coalesce("n_fingerprints", F.lit(0)).alias("n_expected"))
    return expected.join(found, "song_id", "full").fillna(0, ["n_found"])


def orphans(counts: DataFrame, *, at_work: tuple[datetime, datetime]) -> DataFrame:
    """Songs of `song_counts` that have fingerprints but are not in `songs`.

    Parameters
    ----------
    at_work : tuple of two datetimes
        Songs whose newest file was written in this interval are skipped: a job may be working on
        them.
    """
    is_pending = F.col("written_at").between(*map(F.lit, at_work))
    return counts.filter(F.col("n_expected").isNull() & ~is_pending)


def duplicate_rows(fingerprints: DataFrame) -> DataFrame:
    """Duplicate fingerprints: hash_prefix, hash, song_id, offset_frames."""
    rows = fingerprints.groupBy("hash_prefix", *SORT_KEYS).count()
    return rows.filter("count > 1").drop("count")


def violations(
    fingerprints: DataFrame,
    *,
    songs: DataFrame,
    song_files: DataFrame,
    counts: DataFrame,
    files: DataFrame,
    prefix_bits: int,
    at_work: tuple[datetime, datetime],
) -> DataFrame:
    """Find violated invariants.

    Parameters
    ----------
    counts, files : DataFrame
        From `song_counts` and `data_files`.
    prefix_bits : int
        Of the table.
    at_work : tuple of two datetimes
        As in `orphans`.

    Returns
    -------
    DataFrame
        invariant, n_broken and an example; one row per invariant.
    """
    wrong_prefix = F.col("hash_prefix") != hash_prefix(bits=prefix_bits)
    twice = F.col("count") > 1
    checks = {
        "every fingerprint's song exists": (
            counts.transform(orphans, at_work=at_work),
            F.format_string("song %d has %d fingerprints and no row", "song_id", "n_found"),
        ),
        "songs have all their fingerprints": (
            counts.filter("n_expected <> n_found"),
            F.format_string(
                "song %d should have %d and has %d", "song_id", "n_expected", "n_found"
            ),
        ),
        "fingerprints are unique": (
            fingerprints.transform(duplicate_rows),
            F.format_string("hash %d of song %d at frame %d", *SORT_KEYS),
        ),
        "prefixes match the hashes": (
            fingerprints.filter(wrong_prefix),
            F.format_string("hash %d has prefix %d", "hash", "hash_prefix"),
        ),
        "files are sorted": (files.filter("not is_sorted"), F.col("file")),
        "songs are unique": (
            songs.groupBy("song_id").count().filter(twice),
            F.format_string("song %d occurs %d times", "song_id", "count"),
        ),
        "files are unique": (song_files.groupBy("path").count().filter(twice), F.col("path")),
        "every file's song exists": (
            song_files.filter("song_id IS NOT NULL").join(songs, "song_id", "left_anti"),
            F.col("path"),
        ),
    }
    rows = [
        broken.agg(F.count("*").alias("n_broken"), F.min(example).alias("example")).select(
            F.lit(name).alias("invariant"), "n_broken", "example"
        )
        for name, (broken, example) in checks.items()
    ]
    return reduce(DataFrame.unionByName, rows)
