"""`--watch`: new files of folders as they come, by Structured Streaming, on the code of a batch.

Spark's file source finds files that it has not seen before, and its checkpoint, below the
warehouse, remembers which batch they belong to: a batch that was cut off is given again, as it was.
Who takes it makes a repetition harmless: the index knows its files, and answers are appended
under the batch's name.  The source looks at a path once, so a file has to appear whole,
written elsewhere and moved.  Where it did not, the next plain `sonic index` reads it again: it
has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from sonic_lib.errors import SonicError
from sonic_lib.spark.filesystem import literal

if TYPE_CHECKING:  # commands that may do without Spark declare --watch, too
    from pyspark.sql import DataFrame, SparkSession

ONCE = "once"
_SCHEMA = "path string, modificationTime timestamp, length long, content binary"
_FILES_PER_BATCH = 10_000
# Spark passes over files a week older than the newest it has seen, unless it is told otherwise.
# Music is copied with the dates that it had, and one file of the future must not hide the rest.
_ANY_AGE = "36500d"


def watch(
    spark: SparkSession,
    paths: list[str],
    *,
    warehouse: str,
    verb: str,
    when: str,
    take: Callable[[SparkSession, DataFrame, str], None],
) -> int:
    """Give the new files of folders to a function, batch by batch.

    Parameters
    ----------
    paths : list of str
        Folders.
    verb : str
        Whose watch this is; each has its own memory of the same folders.
    when : str
        ``once``, or seconds between two looks.
    take : callable
        Called with a session, the new files (`schemas.FILES`), and the name of the batch, which
        is the same when the batch is given again.

    Returns
    -------
    int
        Batches that were taken.

    Raises
    ------
    SonicError
        If a batch failed.
    """
    from pyspark.errors import StreamingQueryException
    from pyspark.sql import functions as F

    from sonic_lib.audio.listing import canonical_path, list_audio

    roots = sorted(set(map(canonical_path, paths)))
    name = f"{verb}-{hashlib.sha256(chr(0).join(roots).encode()).hexdigest()[:16]}"
    n_taken = 0

    def take_batch(batch: DataFrame, number: int) -> None:
        nonlocal n_taken
        session = batch.sparkSession
        new = batch.select(F.regexp_replace("path", "^file:/+", "/").alias("path"))
        files = list_audio(session, paths).join(new, "path", "left_semi")
        try:
            take(session, files, f"{name}-{number}")
        finally:
            # A service would fill up with it, and each commit plans anew what is cached.
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
    try:
        query.awaitTermination()
    except StreamingQueryException as error:
        raise SonicError(
            f"A batch of {', '.join(roots)} failed: {str(error).strip().splitlines()[0]} It is "
            "given again when the same command is run again."
        ) from error
    finally:
        query.stop()
    return n_taken


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
