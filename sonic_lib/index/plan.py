"""Plan an index run: DataFrame -> DataFrame, no actions.

Conventions
-----------
``files`` has the columns of `schemas.FILES`, ``known`` is the table song_files, ``digests``
has the columns of `schemas.DIGESTS`.
"""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from sonic_lib.audio.digest import MAX_FILE_BYTES
from sonic_lib.audio.tags import file_title

# For 40 TB of files, a task gets 2 GB; the driver plans this many tasks within seconds.
_MAX_TASKS = 20_000
_IDENTITY = ["path", "size_bytes", "modified_at"]


def work_bytes() -> Column:
    """Column: bytes of files that will be read; larger ones are rejected."""
    readable = F.when(F.col("size_bytes") <= MAX_FILE_BYTES, F.col("size_bytes"))
    return F.coalesce(F.sum(readable), F.lit(0))


def n_tasks(n_files: int, n_bytes: float, *, n_slots: int, task_mb: float) -> int:
    """Return how many tasks read the files: short tasks, and several per slot.

    Parameters
    ----------
    n_files : int
        At most this many tasks, but never fewer than four per slot.
    n_bytes : float
    n_slots : int
        Concurrent tasks on this cluster.
    """
    by_size = min(int(n_bytes / (task_mb * 1e6)), n_files, _MAX_TASKS)
    return max(4 * n_slots, by_size)


def batch_sizes(
    n_files: int, n_bytes: float, *, n_slots: int, task_mb: float, batch_gb: float
) -> tuple[int, int]:
    """Return the number of batches, each of which is one commit, and of the tasks of each."""
    n = min(1 + int(n_bytes // (batch_gb * 1e9)), max(1, n_files))
    return n, n_tasks(n_files // n + 1, n_bytes / n, n_slots=n_slots, task_mb=task_mb)


def changed_files(files: DataFrame, *, known: DataFrame, retry_rejected: bool) -> DataFrame:
    """Return files that are new or changed since they were last read, with a column is_new."""
    settled = known.filter("status <> 'rejected'") if retry_rejected else known
    return (
        files.join(settled.select(*_IDENTITY), _IDENTITY, "left_anti")
        .join(known.select("path", F.lit(False).alias("is_new")), "path", "left")
        .fillna(True, ["is_new"])
    )


def reject_collisions(digests: DataFrame, *, songs: DataFrame) -> DataFrame:
    """Reject files whose song_id belongs to other content; such a collision is deliberate.

    Parameters
    ----------
    digests : DataFrame
        Cached: it is read twice.
    songs : DataFrame with song_id, content_sha256
        Songs of the index.  Among new files, the one with the smallest digest is accepted.

    Returns
    -------
    DataFrame [schemas.DIGESTS]
        Rejected files have an error and no song_id.
    """
    owners = (
        songs.select("song_id", F.col("content_sha256").alias("owner"))
        .join(digests.select("song_id"), "song_id", "left_semi")
        .dropDuplicates(["song_id"])
    )
    first = F.min("content_sha256").over(Window.partitionBy("song_id"))
    is_other = F.col("content_sha256") != F.coalesce("owner", first)
    reason = F.concat(
        F.lit("its bytes differ from those of song "),
        F.col("song_id").cast("string"),
        F.lit(", but 63 bits of their digests are equal: one of the two was forged. "),
        F.lit("To index it, change a tag and save it again"),
    )
    marked = digests.join(owners, "song_id", "left").withColumn(
        "is_other", F.coalesce(is_other, F.lit(False))
    )
    columns = {
        "error": F.when(F.col("is_other"), reason).otherwise(F.col("error")),
        "song_id": F.when(~F.col("is_other"), F.col("song_id")),
    }
    return marked.withColumns(columns).select(*digests.columns)


def new_songs(digests: DataFrame, *, songs: DataFrame) -> DataFrame:
    """Return one file for each content that is not in the index yet."""
    return (
        digests.filter("error IS NULL")
        .groupBy("song_id", "content_sha256")
        .agg(F.min_by(F.struct("path", "size_bytes"), "path").alias("file"))
        .select("song_id", "content_sha256", "file.*")
        .join(songs.select("song_id"), "song_id", "left_anti")
    )


def song_files(
    digests: DataFrame, *, songs: DataFrame, known: DataFrame, read: DataFrame
) -> DataFrame:
    """Return the rows of `song_files` for all files that were read.

    Parameters
    ----------
    songs : DataFrame with song_id
        All songs of the index, including those of this run.
    read : DataFrame with song_id, stage, error, note
        Decoded contents, with the reason if they, or parts of them, could not be used.

    Returns
    -------
    DataFrame
        The columns of schemas.SONG_FILES without run_id and seen_at.
    """
    taken = (
        known.filter("status = 'indexed'")
        .join(digests.select("path"), "path", "left_anti")
        .select("song_id", F.lit(True).alias("has_file"))
        .distinct()
    )
    # Files without a song each count alone, or one task would sort them all.
    song = F.coalesce("song_id", F.xxhash64("path"))
    turn = F.row_number().over(Window.partitionBy(song).orderBy("path"))
    stored = songs.select("song_id", F.lit(True).alias("stored"))
    joined = (
        digests.withColumnRenamed("error", "open_error")
        .join(read.select("song_id", "stage", "error", "note"), "song_id", "left")
        .join(stored, "song_id", "left")
        .join(taken, "song_id", "left")
        .withColumn("turn", turn)
    )
    status = (
        F.when(F.col("stored").isNull(), "rejected")
        .when((F.col("turn") == 1) & F.col("has_file").isNull(), "indexed")
        .otherwise("duplicate")
    )
    return joined.select(
        "path",
        "root",
        F.when(F.col("stored"), F.col("song_id")).alias("song_id"),
        "size_bytes",
        "modified_at",
        status.alias("status"),
        F.when(F.col("open_error").isNotNull(), "open").otherwise(F.col("stage")).alias("stage"),
        F.coalesce("open_error", "error").alias("error"),
        "note",
    )


def promoted_files(
    known: DataFrame, *, gone: DataFrame, missing: DataFrame, files: DataFrame
) -> DataFrame:
    """Return a duplicate of each song that lost its indexed file, as the indexed one.

    Parameters
    ----------
    gone : DataFrame with path
        Files that were deleted, or whose content changed.
    missing : DataFrame with path
        From `pruned_files`: no duplicates to choose, whether they are pruned or not.
    files : DataFrame [schemas.SONG_FILES]
        Files that were read in this run.

    Returns
    -------
    DataFrame [schemas.SONG_FILES]
    """
    left = known.join(gone.select("path"), "path", "left_anti")
    lost = known.filter("status = 'indexed'").join(gone.select("path"), "path", "left_semi")
    indexed = left.unionByName(files).filter("status = 'indexed'")
    return (
        left.filter("status = 'duplicate'")
        .join(missing.select("path"), "path", "left_anti")
        .join(lost.select("song_id"), "song_id", "left_semi")
        .join(indexed.select("song_id"), "song_id", "left_anti")
        .groupBy("song_id")
        .agg(F.min_by(F.struct(*known.columns), "path").alias("file"))
        .select("file.*")
        .withColumn("status", F.lit("indexed"))
    )


def moved_files(missing: DataFrame, *, digests: DataFrame) -> DataFrame:
    """Return known files that are missing but whose content was found elsewhere.

    Parameters
    ----------
    missing : DataFrame with path, song_id
        From `pruned_files`.
    """
    found = digests.filter("error IS NULL").select("song_id").distinct()
    return missing.join(found, "song_id", "left_semi").select("path", "song_id")


def renamed_songs(songs: DataFrame, *, gone: DataFrame, files: DataFrame) -> DataFrame:
    """Return untagged songs whose title was their file's name, with the new name as title.

    Parameters
    ----------
    gone : DataFrame with path, song_id
        Files that moved, were deleted, or changed.
    files : DataFrame [schemas.SONG_FILES]
        Files that were read in this run, and those from `promoted_files`.
    """
    # A title tag may equal the file's name, but then there usually are other tags, too.
    is_untagged = "coalesce(artist, album, genre, string(release_year)) IS NULL"
    left = gone.join(files, ["path", "song_id"], "left_anti")  # files that were touched stay
    before = left.select("song_id", _file_title().alias("title")).distinct()
    now = files.filter("status = 'indexed'").select("song_id", _file_title().alias("new_title"))
    return (
        songs.filter(is_untagged)
        .join(before, ["song_id", "title"], "left_semi")
        .join(now, "song_id")
        .filter("title <> new_title")
        .withColumn("title", F.col("new_title"))
        .drop("new_title")
    )


def _file_title() -> Column:
    """Column: the title that `tags.read_tags` returns for a file without tags."""

    def titles(paths: pa.Array) -> pa.Array:
        return pa.array(map(file_title, paths.to_pylist()), pa.string())

    return F.arrow_udf(titles, "string")("path")


def abandoned_songs(known: DataFrame, *, gone: DataFrame, digests: DataFrame) -> DataFrame:
    """Return songs that are no longer in any file: song_id.

    Parameters
    ----------
    gone : DataFrame with path
        Files that were deleted, or whose content changed.
    digests : DataFrame with song_id
        Contents of the files that were read.
    """
    held = known.filter("song_id IS NOT NULL")
    before = held.join(gone.select("path"), "path", "left_semi").select("song_id").distinct()
    elsewhere = held.join(gone.select("path"), "path", "left_anti").select("song_id")
    still_held = elsewhere.unionByName(digests.filter("error IS NULL").select("song_id"))
    return before.join(still_held, "song_id", "left_anti")


def pruned_files(known: DataFrame, *, files: DataFrame, roots: list[str]) -> DataFrame:
    """Return known files below the given folders that no longer exist."""
    missing = known.filter(is_below(roots)).join(files.select("path"), "path", "left_anti")
    # A folder that could not be listed is among the files; what it contains may still exist.
    parts = F.split("path", "/")
    folders = F.transform(
        F.sequence(F.lit(1), F.size(parts)), lambda n: F.array_join(F.slice(parts, 1, n), "/")
    )
    closed = files.select(F.col("path").alias("folder"))
    hidden = missing.select("path", F.explode(folders).alias("folder"))
    return missing.join(hidden.join(closed, "folder", "left_semi"), "path", "left_anti")


def is_below(roots: list[str]) -> Column:
    """Column: whether `path` is one of these files, or lies in one of these folders."""
    below = F.lit(False)
    for root in roots:
        below |= (F.col("path") == root) | F.startswith("path", F.lit(root.rstrip("/") + "/"))
    return below
