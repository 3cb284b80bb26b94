"""Watch folders (`--watch`): process new files in batches, with Structured Streaming.

Spark's file source finds new files, and its checkpoint below the warehouse records which batch
they belong to, so an interrupted batch is replayed unchanged.  That is harmless: the index knows
its files, and answers are written once per batch name.  The source reads a path only once, so files
must appear complete: write them elsewhere, then move them.  A file that did not is read again, as a
changed file, by the next plain `sonic index`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from threading import Event
from typing import TYPE_CHECKING

from sonic_lib.errors import SonicError
from sonic_lib.spark.filesystem import literal

if TYPE_CHECKING:  # commands that may not need Spark import this module for --watch
    from pyspark.sql import DataFrame, SparkSession

ONCE = "once"
_SCHEMA = "path string, modificationTime timestamp, length long, content binary"
_FILES_PER_BATCH = 10_000
# By default, Spark skips files that are a week older than the newest.  But copied music keeps its
# dates, and a file dated in the future must not hide the rest.
_ANY_AGE = "36500d"


def watch(
    spark: SparkSession,
    paths: list[str],
    *,
    warehouse: str,
    verb: str,
    when: str,
    follow_links: bool,
    take: Callable[[SparkSession, DataFrame, str], None],
) -> int:
    """Pass the new files of folders to a function, batch by batch.

    Parameters
    ----------
    paths : list of str
        Folders.
    verb : str
        The command; each has its own checkpoint for the same folders.
    when : str
        ``once``, or seconds between two checks.
    follow_links : bool
        As in `list_audio`.
    take : callable
        Called with a session, the new files (`schemas.FILES`), and the name of the batch, which
        is the same when the batch is replayed and no other batch has.

    Returns
    -------
    int
        Number of batches.

    Raises
    ------
    SonicError
        If a batch failed.
    """
    from pyspark.errors import StreamingQueryException

    from sonic_lib.audio.listing import canonical_path

    roots = sorted({canonical_path(spark, path) for path in paths})
    name = f"{verb}-{hashlib.sha256(chr(0).join(roots).encode()).hexdigest()[:16]}"
    n_taken = 0
    is_started = Event()

    def take_batch(batch: DataFrame, number: int) -> None:
        nonlocal n_taken
        session = batch.sparkSession
        files = _listed(batch, paths, follow_links=follow_links)
        is_started.wait()
        try:
            # Without a checkpoint, numbers start again; the query then has another id.
            take(session, files, f"{name}-{query.id}-{number}")
        finally:
            # Caches would pile up in a long-running service, and each commit replans them.
            session.catalog.clearCache()
        n_taken += 1

    stream = _files(spark, roots[0])
    for root in roots[1:]:
        stream = stream.union(_files(spark, root))
    every = {"availableNow": True} if when == ONCE else {"processingTime": f"{when} seconds"}
    query = (
        stream.writeStream.foreachBatch(take_batch)
        .option("checkpointLocation", f"{warehouse}/_watch/{name}")
        .queryName(name)
        .trigger(**every)
        .start()
    )
    is_started.set()
    try:
        query.awaitTermination()
    except StreamingQueryException as error:
        raise SonicError(
            f"A batch of {', '.join(roots)} failed: {str(error).strip().splitlines()[0]} It is "
            "replayed when the same command runs again."
        ) from error
    finally:
        query.stop()
    return n_taken


def _listed(batch: DataFrame, paths: list[str], *, follow_links: bool) -> DataFrame:
    """List the files of a batch that are still there."""
    from pyspark.sql import functions as F

    from sonic_lib.audio.listing import list_audio

    new = batch.select(F.regexp_replace("path", "^file:/+", "/").alias("path"))
    listed = list_audio(batch.sparkSession, paths, follow_links=follow_links)
    return listed.join(new, "path", "left_semi")


def _files(spark: SparkSession, root: str) -> DataFrame:
    from sonic_lib.audio.listing import has_audio_suffix

    return (
        spark.readStream.format("binaryFile")
        .schema(_SCHEMA)
        .option("recursiveFileLookup", "true")
        .option("maxFilesPerTrigger", _FILES_PER_BATCH)
        .option("maxFileAge", _ANY_AGE)
        .load(literal(root))
        .select("path")
        .filter(has_audio_suffix())
    )
