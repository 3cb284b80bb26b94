"""Commit songs to the tables so that nothing is ever lost or written twice.

An audio file is decoded once.  The result is staged as Parquet below the warehouse and then
committed: fingerprints first, songs last, since a fingerprint only counts when its song is in
`songs`.  A run that dies between the two leaves fingerprints without a song, and its stage, which
names them: the next run that finds one of these songs first deletes them.

A run cannot tell whether another one is dead or slow.  So both its commits use the stage's name as
a token, and a run that sweeps the stage first consumes the token in both tables: later commits of
the slow run are no-ops, and it decodes again whatever is missing by then.  If two live runs found
the same new songs, the second to commit sees that the other run owns the songs, and replaces the
two sets of fingerprints by one.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Collection

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.errors import TableError
from sonic_lib.fingerprint.spark import hash_prefix, hash_rows
from sonic_lib.index.sort_order import SORT_KEYS
from sonic_lib.schemas import FINGERPRINTS, SONG_FILES, SONGS
from sonic_lib.spark.filesystem import entries_in, exists, hadoop_path, literal
from sonic_lib.spark.uris import absolute
from sonic_lib.storage import runs, tables, writes
from sonic_lib.storage.locks import is_on_disk

_STAGING = "_staging"
# A task sorts and writes one file; this many rows are about 100 MB of Parquet.
ROWS_PER_FILE = 20_000_000
MAX_SWEEP_S = 1800.0  # a sweep takes two small commits and one delete


def run_folder(warehouse: str, run_id: str) -> str:
    """Return the folder in which a run stages its batches."""
    return f"{warehouse}/{_STAGING}/{run_id}"


def stage_folder(warehouse: str, run_id: str, batch: int) -> str:
    """Return the folder in which a batch of a run is staged."""
    return f"{run_folder(warehouse, run_id)}/{batch}"


def stage(extracts: DataFrame, folder: str) -> DataFrame:
    """Write extracts to a stage and read them back.

    Raises
    ------
    TableError
        If the folder is behind a link, where no later run could sweep it.
    """
    if _has_link(extracts.sparkSession, folder):
        raise TableError(
            f"{folder} is, or is behind, a symbolic link, where what a dead run leaves could not "
            f"be cleaned up; expected a plain folder. Move {_STAGING} back into the warehouse."
        )
    extracts.write.parquet(folder)
    return extracts.sparkSession.read.parquet(literal(folder))


def summary_rows(staged: DataFrame) -> DataFrame:
    """Return one summary row per file, without its hashes."""
    return staged.filter("hashes IS NULL").drop("hashes", "frames", "descriptors")


def commit_batch(
    staged: DataFrame, warehouse: str, *, summaries: DataFrame, run_id: str, folder: str
) -> bool:
    """Add the fingerprints and then the songs of a staged batch.

    Parameters
    ----------
    staged : DataFrame
        From `stage`.
    summaries : DataFrame
        Its `summary_rows`, cached: they are read here, since another run that finds the same songs
        may remove the stage as soon as they are committed.

    Returns
    -------
    bool
        False if another run swept the stage; none of its rows are in the tables then.
    """
    spark = staged.sparkSession
    try:
        if _commit(staged, summaries, warehouse, run_id=run_id, token=_token(folder)):
            return True
    except (PySparkException, Py4JJavaError):
        if exists(spark, folder):
            raise
    # The other run deletes orphans by song: a repeated commit before that would be deleted, too.
    # It removes the folder last, so wait for that, unless it died.
    deadline_s = time.monotonic() + MAX_SWEEP_S
    while exists(spark, folder):
        if time.monotonic() > deadline_s:
            undo_stage(spark, warehouse, folder)
        else:
            time.sleep(1.0)
    return False


def _commit(
    staged: DataFrame, summaries: DataFrame, warehouse: str, *, run_id: str, token: str
) -> bool:
    """Commit a stage; False if another run consumed its token."""
    spark = staged.sparkSession
    accepted = summaries.filter("error IS NULL").drop("stage", "error", "path")
    n_rows = accepted.agg(F.sum("n_fingerprints")).first()[0]
    if not n_rows:
        return True
    prefix_bits = tables.prefix_bits(spark, warehouse)
    hashes = _staged_rows(staged, accepted, prefix_bits=prefix_bits)
    hashes = hashes.transform(in_few_sorted_files, prefix_bits=prefix_bits, n_rows=n_rows)
    writes.append(hashes, warehouse, FINGERPRINTS, token=token)
    if tables.prefix_bits(spark, warehouse) != prefix_bits:  # changed by `maintain` meanwhile
        _put_once(staged, accepted, warehouse)
    songs = accepted.transform(runs.stamped, run_id=run_id, when="indexed_at")
    writes.insert(songs, warehouse, SONGS, key="song_id", token=token)

    stored = tables.read(spark, warehouse, SONGS).select("song_id", F.col("run_id").alias("owner"))
    is_own = F.col("owner") == run_id
    owned = accepted.select("song_id").join(stored, "song_id", "left")
    n_own, n_foreign, n_missing = owned.agg(
        F.count_if(is_own), F.count_if(~is_own), F.count_if(F.isnull("owner"))
    ).first()
    if n_missing and not n_own:  # if own songs are there, a missing one has been removed since
        return False
    if n_foreign:
        _put_once(staged, owned.filter(~is_own), warehouse)
    return True


def sweep(new_songs: DataFrame, warehouse: str, *, run_id: str) -> None:
    """Undo the uncommitted part of dead runs that staged any of these songs."""
    spark = new_songs.sparkSession
    for folder in stage_folders(spark, warehouse):
        if folder.startswith(run_folder(warehouse, run_id) + "/"):
            continue
        ids = _staged_ids(spark, folder)
        if ids is not None and not ids.join(new_songs, "song_id", "left_semi").isEmpty():
            undo_stage(spark, warehouse, folder)


def undo_stage(spark: SparkSession, warehouse: str, folder: str) -> None:
    """End a stage: its run can no longer commit, and its uncommitted rows are deleted."""
    fence_stage(spark, warehouse, folder)
    ids = _staged_ids(spark, folder)
    if ids is not None:
        committed = tables.read(spark, warehouse, SONGS).select("song_id")
        orphans = ids.join(committed, "song_id", "left_anti")
        delete_fingerprints(orphans, warehouse)
    remove_folder(spark, folder)


def fence_stage(spark: SparkSession, warehouse: str, folder: str) -> None:
    """Prevent further commits of a stage's run.

    Songs first: otherwise a run whose fingerprints come too late could still add its songs.
    """
    for table in (SONGS, FINGERPRINTS):
        writes.fence(spark, warehouse, table, token=_token(folder))


def stage_folders(spark: SparkSession, warehouse: str) -> list[str]:
    """List the stages of all live and dead runs, one per batch."""
    staging = f"{warehouse}/{_STAGING}"
    return [
        f"{staging}/{run}/{batch}"
        for run in _children(spark, staging)
        for batch in _children(spark, f"{staging}/{run}")
    ]


def delete_songs(song_ids: DataFrame, warehouse: str) -> None:
    """Delete songs, fingerprints first: if the run dies in between, a repeat still finds it."""
    delete_fingerprints(song_ids, warehouse)
    writes.delete_keys(song_ids, warehouse, SONGS, key="song_id")


def delete_fingerprints(song_ids: DataFrame, warehouse: str) -> None:
    """Delete the fingerprints of some songs by rewriting the partitions that hold them.

    A MERGE would rewrite the same files, but not keep them sorted.
    """
    spark = song_ids.sparkSession
    gone = song_ids.select("song_id").distinct()
    prefix_bits = tables.prefix_bits(spark, warehouse)
    stored = tables.read(spark, warehouse, FINGERPRINTS)
    found = stored.join(gone, "song_id", "left_semi").select("hash_prefix").distinct()
    prefixes = [row.hash_prefix for row in found.collect()]  # at most 4096
    if prefixes:
        where = has_prefix(prefixes)
        rows = stored.filter(where).join(gone, "song_id", "left_anti")
        rows = rows.transform(in_few_sorted_files, prefix_bits=prefix_bits, n_rows=stored.count())
        writes.replace(rows, warehouse, FINGERPRINTS, where=where)
    if tables.prefix_bits(spark, warehouse) != prefix_bits:  # changed by `maintain` meanwhile
        delete_fingerprints(song_ids, warehouse)


def has_prefix(prefixes: Collection[int]) -> str:
    """Return the SQL condition that selects some partitions of the fingerprints."""
    return f"hash_prefix IN ({', '.join(map(str, sorted(prefixes)))})"


def record_files(rows: DataFrame, gone: DataFrame | None, warehouse: str) -> None:
    """Update `song_files`; written last, so that an unfinished file is read again."""
    writes.upsert(rows, warehouse, SONG_FILES, key="path")
    if gone is not None:
        writes.delete_keys(gone, warehouse, SONG_FILES, key="path")


def remove_folder(spark: SparkSession, folder: str) -> None:
    """Delete a folder of a stage, without following links."""
    filesystem, path = hadoop_path(spark, folder)
    if not _has_link(spark, folder):
        filesystem.delete(path, True)


def _token(folder: str) -> str:
    """Return the token of a stage: its run and batch, however the warehouse's path is written."""
    return "/".join(folder.split("/")[-2:])


def _staged_rows(staged: DataFrame, songs: DataFrame, *, prefix_bits: int) -> DataFrame:
    """The fingerprints of some songs of a stage, as table rows."""
    return (
        staged.filter("hashes IS NOT NULL")
        .select("song_id", "hashes", "frames", "descriptors")
        .join(songs.select("song_id"), "song_id", "left_semi")
        .transform(hash_rows, prefix_bits=prefix_bits)
    )


def _put_once(staged: DataFrame, songs: DataFrame, warehouse: str) -> None:
    """Replace all stored fingerprints of some songs with those of a stage."""
    prefix_bits = tables.prefix_bits(staged.sparkSession, warehouse)
    rows = _staged_rows(staged, songs, prefix_bits=prefix_bits)
    writes.replace_keys(songs, rows, warehouse, FINGERPRINTS, key="song_id")


def range_bits(n_rows: float, *, prefix_bits: int) -> int:
    """Return how many bits of the hash divide a table into files of ROWS_PER_FILE at most."""
    return max(prefix_bits, math.ceil(math.log2(max(n_rows, 1) / ROWS_PER_FILE)))


def in_few_sorted_files(hashes: DataFrame, *, prefix_bits: int, n_rows: float) -> DataFrame:
    """Partition rows so that each writing task gets one range of hashes within one prefix."""
    bits = range_bits(n_rows, prefix_bits=prefix_bits)
    rows = hashes.repartitionById(2**bits, hash_prefix(bits=bits))
    return rows.sortWithinPartitions("hash_prefix", *SORT_KEYS)


def _staged_ids(spark: SparkSession, folder: str) -> DataFrame | None:
    """Return the songs of a stage; None if its run died before it had decoded them."""
    if not exists(spark, f"{folder}/_SUCCESS"):
        return None
    try:
        staged = spark.read.parquet(literal(folder))
    except AnalysisException:  # swept by another run in the meantime
        return None
    # Runs of `sonic features` stage rows without hashes, which belong to no song of the index.
    return summary_rows(staged).select("song_id") if "hashes" in staged.columns else None


def _children(spark: SparkSession, folder: str) -> list[str]:
    names = [s.getPath().getName() for s in entries_in(spark, folder) if s.isDirectory()]
    return [name for name in names if not _has_link(spark, f"{folder}/{name}")]


def _has_link(spark: SparkSession, folder: str) -> bool:
    """Whether a folder of stages in a local warehouse is, or is behind, a link.

    None of our jobs creates links.  One that is there could make a sweep delete another user's
    folders.
    """
    if not is_on_disk(spark, folder):
        return False
    root, _, inside = absolute(folder).rpartition(f"/{_STAGING}")
    parts = [_STAGING, *inside.strip("/").split("/")]
    ways = (os.path.join(root, *parts[:depth]) for depth in range(1, len(parts) + 1))
    return any(map(os.path.islink, ways))
