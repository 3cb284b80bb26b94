"""How songs get into the tables so that nothing is ever lost or written twice.

An audio file is decoded once.  The result is staged as Parquet below the warehouse, and then
committed: fingerprints first, the songs last, since a fingerprint counts only when its song
is in `songs`.  A run that dies between the two leaves fingerprints without a song, and its
stage, which names them: the next run that meets one of these songs deletes them first.
"""

from __future__ import annotations

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib import tables
from sonic_lib.errors import TableError
from sonic_lib.fingerprint.frame import hash_rows
from sonic_lib.fingerprint.hashes import HASH_BITS
from sonic_lib.schemas import FINGERPRINTS, SONG_FILES, SONGS

_STAGING = "_staging"
# A task sorts and writes one file; this many rows are some 100 MB of Parquet.
_ROWS_PER_FILE = 20_000_000


def run_folder(warehouse: str, run_id: str) -> str:
    """Where a run stages its batches."""
    return f"{warehouse}/{_STAGING}/{run_id}"


def stage_folder(warehouse: str, run_id: str, batch: int) -> str:
    """Where a batch of a run is staged."""
    return f"{run_folder(warehouse, run_id)}/{batch}"


def stage(extracts: DataFrame, folder: str) -> DataFrame:
    """Write extracts to a stage and read them back."""
    extracts.write.parquet(folder)
    return extracts.sparkSession.read.parquet(folder)


def closing_rows(staged: DataFrame) -> DataFrame:
    """One row a file, without its hashes."""
    return staged.filter("hashes IS NULL").drop("hashes", "frames")


def commit_batch(staged: DataFrame, warehouse: str, *, run_id: str, folder: str) -> None:
    """Add the fingerprints and then the songs of a staged batch."""
    spark = staged.sparkSession
    accepted = closing_rows(staged).filter("error IS NULL").drop("stage", "error", "path")
    n_rows = accepted.agg(F.sum("n_fingerprints")).first()[0]
    if not n_rows:
        return
    prefix_bits = tables.prefix_bits(spark, warehouse)
    hashes = (
        staged.filter("hashes IS NOT NULL")
        .select("song_id", "hashes", "frames")
        .join(accepted.select("song_id"), "song_id", "left_semi")
        .transform(hash_rows, prefix_bits=prefix_bits)
        .transform(_in_few_sorted_files, prefix_bits=prefix_bits, n_rows=n_rows)
    )
    tables.append(hashes, warehouse, FINGERPRINTS)
    if not _exists(spark, folder):
        raise TableError(
            f"The stage {folder} of this run was swept by another index run that met the same "
            "songs. They are that run's now; run this one again for the rest."
        )
    songs = accepted.withColumns({"run_id": F.lit(run_id), "indexed_at": F.current_timestamp()})
    tables.upsert(songs, warehouse, SONGS, key="song_id")


def sweep(new_songs: DataFrame, warehouse: str, *, run_id: str) -> None:
    """Undo the uncommitted part of runs that died with any of these songs in their hands."""
    spark = new_songs.sparkSession
    staging = f"{warehouse}/{_STAGING}"
    for left_by in _children(spark, staging):
        if left_by == run_id:
            continue
        for batch in _children(spark, f"{staging}/{left_by}"):
            folder = f"{staging}/{left_by}/{batch}"
            ids = _staged_ids(spark, folder)
            if ids is None or ids.join(new_songs, "song_id", "left_semi").isEmpty():
                continue
            committed = tables.read(spark, warehouse, SONGS).select("song_id")
            orphans = ids.join(committed, "song_id", "left_anti")
            tables.delete_keys(orphans, warehouse, FINGERPRINTS, key="song_id")
            remove_folder(spark, folder)


def delete_songs(song_ids: DataFrame, warehouse: str) -> None:
    """Delete songs, fingerprints first: a run that dies between finds the song again."""
    for table in (FINGERPRINTS, SONGS):
        tables.delete_keys(song_ids, warehouse, table, key="song_id")


def record_files(rows: DataFrame, gone: DataFrame | None, warehouse: str, *, run_id: str) -> None:
    """Bring `song_files` up to date; written last, so that an unfinished file is read again."""
    stamped = rows.withColumns({"run_id": F.lit(run_id), "seen_at": F.current_timestamp()})
    tables.upsert(stamped, warehouse, SONG_FILES, key="path")
    if gone is not None:
        tables.delete_keys(gone, warehouse, SONG_FILES, key="path")


def remove_folder(spark: SparkSession, folder: str) -> None:
    """Delete a folder of a stage."""
    filesystem, path = _hadoop(spark, folder)
    filesystem.delete(path, True)


def _in_few_sorted_files(hashes: DataFrame, *, prefix_bits: int, n_rows: float) -> DataFrame:
    """Give each writing task one range of hashes inside one prefix."""
    range_bits = prefix_bits
    while n_rows / 2**range_bits > _ROWS_PER_FILE:
        range_bits += 1
    task = F.shiftright("hash", HASH_BITS - range_bits).cast("int")
    return hashes.repartitionById(2**range_bits, task).sortWithinPartitions(
        "hash_prefix", "hash", "song_id", "offset_frames"
    )


def _staged_ids(spark: SparkSession, folder: str) -> DataFrame | None:
    """Songs of a stage; None when it died before its decoding was done."""
    if not _exists(spark, f"{folder}/_SUCCESS"):
        return None
    try:
        return closing_rows(spark.read.parquet(folder)).select("song_id")
    except AnalysisException:  # swept by somebody else in the meantime
        return None


def _hadoop(spark: SparkSession, uri: str):
    path = spark._jvm.org.apache.hadoop.fs.Path(uri)
    return path.getFileSystem(spark._jsparkSession.sessionState().newHadoopConf()), path


def _exists(spark: SparkSession, uri: str) -> bool:
    filesystem, path = _hadoop(spark, uri)
    return filesystem.exists(path)


def _children(spark: SparkSession, folder: str) -> list[str]:
    filesystem, path = _hadoop(spark, folder)
    if not filesystem.exists(path):
        return []
    return [s.getPath().getName() for s in filesystem.listStatus(path) if s.isDirectory()]
