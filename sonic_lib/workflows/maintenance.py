"""Maintain an index: sweep, compact, repartition, restore and purge.

Other jobs may index, identify and remove at the same time: every change is one commit, which is
retried if Delta rejects it because another job committed in between.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from sonic_lib.errors import UsageError
from sonic_lib.fingerprint.spark import hash_prefix
from sonic_lib.index import commit, invariants
from sonic_lib.schemas import FINGERPRINTS, MATCHES, RUNS, SONG_FILES, SONGS, TABLES
from sonic_lib.spark.filesystem import last_change_s
from sonic_lib.storage import history, tables, writes
from sonic_lib.storage.damage import Damage, move_aside

# A partition is rewritten if it has this many times as many files as its rows need.
_TOO_MANY = 1.25
# A failed commit is retried from the start; this many rows take some minutes on a cluster.
_ROWS_PER_COMMIT = 2_000_000_000


class Pinned(NamedTuple):
    """The tables of an index, at one point in time without a commit in progress."""

    songs: DataFrame
    song_files: DataFrame
    fingerprints: DataFrame
    prefix_bits: int


def pinned(spark: SparkSession, warehouse: str) -> Pinned:
    """Read all tables of the index as of one point in time."""

    def versions() -> list[int]:
        names = (SONGS, SONG_FILES, FINGERPRINTS)
        return [tables.version(spark, warehouse, table) for table in names]

    now = versions()
    for _ in range(5):
        before, now = now, versions()
        if now == before:
            break
    songs, song_files, fingerprints = (
        tables.read(spark, warehouse, table, version=version)
        for table, version in zip((SONGS, SONG_FILES, FINGERPRINTS), now, strict=True)
    )
    bits = tables.prefix_bits(spark, warehouse, version=now[2])
    return Pinned(songs, song_files, fingerprints, bits)


def violations(spark: SparkSession, warehouse: str, *, grace_hours: float) -> list[Row]:
    """Check every invariant: one row each, with the number of violations and an example.

    Columns are those of `invariants.violations`.
    """
    index = pinned(spark, warehouse)
    return (
        index.fingerprints.transform(
            invariants.violations,
            songs=index.songs,
            song_files=index.song_files,
            counts=invariants.song_counts(index.fingerprints, songs=index.songs),
            files=invariants.data_files(index.fingerprints),
            prefix_bits=index.prefix_bits,
            at_work=_around_now(grace_hours),
        )
        .orderBy("invariant")
        .collect()
    )


def sweep(spark: SparkSession, warehouse: str, *, grace_hours: float) -> dict[str, int]:
    """Remove leftovers of dead runs: their stages, and fingerprints without a song.

    Parameters
    ----------
    grace_hours : float
        A run that has written nothing for this long is considered dead.  If it is alive, it can
        no longer commit these songs, and decodes them again.

    Returns
    -------
    dict
        Counts by name.
    """
    stages = old_stages(spark, warehouse, hours=grace_hours)
    for folder in stages:
        commit.undo_stage(spark, warehouse, folder)
    # From here on, no dead or slow run can commit songs whose fingerprints are old.
    fingerprints = tables.read(spark, warehouse, FINGERPRINTS)
    left = (
        invariants.song_counts(fingerprints, songs=tables.read(spark, warehouse, SONGS))
        .transform(invariants.orphans, at_work=_around_now(grace_hours))
        .localCheckpoint()
    )
    n_songs, n_rows = left.agg(F.count("*"), F.coalesce(F.sum("n_found"), F.lit(0))).first()
    if n_songs:
        commit.delete_fingerprints(left, warehouse)
    lost = lost_files(spark, warehouse)
    n_lost = lost.count()
    if n_lost:
        writes.delete_keys(lost, warehouse, SONG_FILES, key="path")
    return {
        "stages": len(stages),
        "orphan_songs": n_songs,
        "orphan_fingerprints": n_rows,
        "lost_files": n_lost,
    }


def repair(spark: SparkSession, warehouse: str, found: list[Damage]) -> int:
    """Make tables readable again, without their damaged files.

    Parameters
    ----------
    found : list of Damage
        Must all be repairable.

    Returns
    -------
    int
        Songs that were dropped because fingerprints are lost; the next index run reads their
        files again.
    """
    move_aside(warehouse, found)
    lost = [damage for damage in found if damage.is_data]
    by_name = {table.name: table for table in TABLES}
    for name in sorted({damage.table for damage in lost}):
        where = None
        if name == FINGERPRINTS.name:
            files = "\n".join(damage.file for damage in lost if damage.table == name)
            prefixes = {int(prefix) for prefix in re.findall(r"/hash_prefix=(\d+)/", files)}
            where = commit.has_prefix(prefixes)
        history.drop_lost_files(spark, warehouse, by_name[name], where=where)
    if not any(damage.table == FINGERPRINTS.name for damage in found):
        return 0
    songs = tables.read(spark, warehouse, SONGS)
    parts = (
        invariants.song_counts(tables.read(spark, warehouse, FINGERPRINTS), songs=songs)
        .filter("n_found < n_expected")
        .select("song_id")
        .localCheckpoint()
    )
    commit.delete_songs(parts, warehouse)
    return parts.count()


def lost_files(spark: SparkSession, warehouse: str) -> DataFrame:
    """Return files recorded as read whose song is gone; the next index run should read them."""
    files = tables.read(spark, warehouse, SONG_FILES).filter("song_id IS NOT NULL")
    return files.join(tables.read(spark, warehouse, SONGS), "song_id", "left_anti").select("path")


def deduplicate(spark: SparkSession, warehouse: str) -> None:
    """Rewrite partitions that contain duplicates, keeping one copy of each row."""
    fingerprints = tables.read(spark, warehouse, FINGERPRINTS)
    doubled = fingerprints.transform(invariants.duplicate_rows).select("hash_prefix").distinct()
    prefixes = [row.hash_prefix for row in doubled.collect()]  # at most 4096
    if prefixes:
        where = commit.has_prefix(prefixes)
        rows = tables.read(spark, warehouse, FINGERPRINTS).filter(where).distinct()
        writes.replace(rows, warehouse, FINGERPRINTS, where=where)


def compact(spark: SparkSession, warehouse: str) -> dict[str, int]:
    """Rewrite partitions with many small or unsorted files, and compact the other tables."""
    for table in (SONGS, SONG_FILES, MATCHES, RUNS):
        if tables.exists(spark, warehouse, table):
            writes.optimize(spark, warehouse, table)
    fingerprints = tables.read(spark, warehouse, FINGERPRINTS)
    partitions = (
        invariants.data_files(fingerprints)
        .groupBy("hash_prefix")
        .agg(
            F.count("*").alias("n_files"),
            F.sum("n_rows").alias("n_rows"),
            F.count_if(~F.col("is_sorted")).alias("n_unsorted"),
        )
        .collect()  # at most 4096
    )
    bits = tables.prefix_bits(spark, warehouse)
    largest = max((p.n_rows for p in partitions), default=0)
    n_rows = largest * 2.0**bits
    n_needed = 2 ** (commit.range_bits(n_rows, prefix_bits=bits) - bits)
    untidy = [p for p in partitions if p.n_unsorted or p.n_files > _TOO_MANY * n_needed]
    for group in _groups(untidy):
        where = commit.has_prefix([p.hash_prefix for p in group])
        rows = tables.read(spark, warehouse, FINGERPRINTS).filter(where)
        tidy = rows.transform(commit.in_few_sorted_files, prefix_bits=bits, n_rows=n_rows)
        writes.replace(tidy, warehouse, FINGERPRINTS, where=where, same_rows=True)
    return {
        "partitions": len(untidy),
        "files_before": sum(p.n_files for p in partitions),
        "files_after": invariants.data_files(tables.read(spark, warehouse, FINGERPRINTS)).count(),
    }


def repartition(spark: SparkSession, warehouse: str, *, prefix_bits: int) -> bool:
    """Rewrite all fingerprints for another prefix size; False if nothing changes."""
    if tables.prefix_bits(spark, warehouse) == prefix_bits:
        return False
    fingerprints = tables.read(spark, warehouse, FINGERPRINTS)
    rows = fingerprints.withColumn("hash_prefix", hash_prefix(bits=prefix_bits)).transform(
        commit.in_few_sorted_files, prefix_bits=prefix_bits, n_rows=fingerprints.count()
    )
    history.change_prefix(rows, warehouse, prefix_bits=prefix_bits)
    return True


def restore(spark: SparkSession, warehouse: str, *, timestamp: str) -> None:
    """Restore songs, files and fingerprints as of a time (UTC).

    Until the last commit, readers see the songs that both states have in common.  If the call dies
    before, repeating it completes the restore.
    """
    order = (FINGERPRINTS, SONGS, SONG_FILES)
    then = {t: history.version_at(spark, warehouse, t, timestamp=timestamp) for t in order}
    for table in order:
        history.check_files(spark, warehouse, table, version=then[table])
    kept = tables.read(spark, warehouse, SONGS, version=then[SONGS])
    dropped = tables.read(spark, warehouse, SONGS).join(kept, "song_id", "left_anti")
    writes.delete_keys(dropped, warehouse, SONGS, key="song_id")
    history.restore(spark, warehouse, FINGERPRINTS, version=then[FINGERPRINTS])
    # A live run may have added fingerprints that are now gone; it must not add their songs.
    for folder in commit.stage_folders(spark, warehouse):
        commit.fence_stage(spark, warehouse, folder)
    for table in (SONGS, SONG_FILES):
        history.restore(spark, warehouse, table, version=then[table])
    # A run may have been between its two commits at that time.
    sweep(spark, warehouse, grace_hours=0.0)


def purge(
    spark: SparkSession, warehouse: str, *, retention_hours: float, grace_hours: float
) -> None:
    """Delete the files of table versions that were replaced more than `retention_hours` ago.

    Raises
    ------
    UsageError
        If the files of a live run might be deleted.
    """
    stages = set(commit.stage_folders(spark, warehouse))
    young = stages - set(old_stages(spark, warehouse, hours=grace_hours))
    if young and retention_hours < grace_hours:
        raise UsageError(
            f"An index run may be active (its stage {min(young)} was written less than "
            f"{grace_hours:g} hours ago), and retention_hours {retention_hours:g} "
            "(--retention-hours) could delete its files. Wait for it, use at least "
            f"{grace_hours:g}, or, if no run is active, grace_hours 0 (--grace-hours 0)."
        )
    for table in TABLES:
        if tables.exists(spark, warehouse, table):
            history.vacuum(spark, warehouse, table, retention_hours=retention_hours)


def old_stages(spark: SparkSession, warehouse: str, *, hours: float) -> list[str]:
    """Return the stages of runs that have staged nothing for some hours.

    A run needs all its stages until it ends, also those of its first batches.
    """
    first, last = (moment.timestamp() for moment in _around_now(hours))
    folders = commit.stage_folders(spark, warehouse)
    live = {_run_of(folder) for folder in folders if first <= last_change_s(spark, folder) <= last}
    return [folder for folder in folders if _run_of(folder) not in live]


def _run_of(stage: str) -> str:
    return stage.rpartition("/")[0]


def _around_now(hours: float) -> tuple[datetime, datetime]:
    """Return the time range of writes by live jobs; later times come from a wrong clock."""
    now = datetime.now(timezone.utc)
    return now - timedelta(hours=hours), now + timedelta(hours=hours)


def _groups(partitions: list[Row]) -> Iterator[list[Row]]:
    """Group partitions that are rewritten in one commit."""
    group: list[Row] = []
    for partition in partitions:
        if group and sum(p.n_rows for p in group) + partition.n_rows > _ROWS_PER_COMMIT:
            yield group
            group = []
        group.append(partition)
    if group:
        yield group
