"""List audio files below folders, as a DataFrame.

Local folders are walked by the executors themselves: Spark's own listing would hold every
file on the driver, skip names that begin with `_` or `.` and take `[` and `{` for patterns.
Other filesystems are listed by Spark's `binaryFile` source, without reading any content.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial

import pyarrow as pa
from pyspark.accumulators import Accumulator, AccumulatorParam
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import BooleanType, StringType, StructField, StructType

from sonic_lib.audio.local_files import SUFFIXES, below, entries, scan, storable
from sonic_lib.errors import UsageError
from sonic_lib.schemas import FILES
from sonic_lib.spark.filesystem import literal, qualified
from sonic_lib.spark.uris import absolute, is_local

_ENTRIES = StructType(
    [*FILES, StructField("is_folder", BooleanType()), StructField("real", StringType())]
)
_ROWS_PER_BATCH = 1_000


class _Counters(AccumulatorParam):
    """Adds up the counters of several tasks."""

    def zero(self, value: Counter[str]) -> Counter[str]:
        return Counter()

    def addInPlace(self, value1: Counter[str], value2: Counter[str]) -> Counter[str]:
        value1.update(value2)
        return value1


def endings_counter(spark: SparkSession) -> Accumulator:
    """Return an accumulator for `list_audio` that counts skipped files by extension."""
    return spark.sparkContext.accumulator(Counter(), _Counters())


def list_audio(
    spark: SparkSession,
    paths: list[str],
    *,
    follow_links: bool = True,
    passed_over: Accumulator | None = None,
) -> DataFrame:
    """Find the audio files below some folders, recursively.

    Parameters
    ----------
    paths : list of str
        Folders and files: local paths or URIs of any Hadoop filesystem.
    follow_links : bool
        Whether to follow links below local folders, both to folders and to files.
    passed_over : Accumulator, optional
        From `endings_counter`; counts the other files in local folders, each time that the frame is
        computed.

    Returns
    -------
    DataFrame [schemas.FILES]
        One row per file.  `root` is the given folder; for files given one by one, the deepest
        folder that contains all of them.

    Raises
    ------
    UsageError
        If a local path does not exist.
    """
    if not paths:
        raise UsageError("No folder was given; expected at least one folder or audio file.")
    local = [path for path in paths if is_local(path)]
    remote = [path for path in paths if not is_local(path)]
    options = {"follow_links": follow_links, "passed_over": passed_over}
    found = [_list_local(spark, local, **options)] if local else []
    found += [_list_remote(spark, uri) for uri in remote]
    files = found[0]
    for more in found[1:]:
        files = files.unionByName(more)
    # Given folders may be nested; the outermost is the root.  A file that several tasks find
    # through links is one file, under its own name if that was found.
    name = F.min(F.struct(F.col("path") != F.col("real"), "path", "root"))
    return (
        files.groupBy("real")
        .agg(
            name.alias("name"),
            F.first("size_bytes").alias("size_bytes"),
            F.first("modified_at").alias("modified_at"),
        )
        .select("name.path", "name.root", "size_bytes", "modified_at")
    )


def canonical_path(spark: SparkSession, path: str) -> str:
    """Return the full path of a given folder or file, as in the rows of `list_audio`."""
    return storable(absolute(path)) if is_local(path) else qualified(spark, path)


def relative_path() -> Column:
    """Column: `path` relative to `root`."""
    return F.expr("substring(path, length(rtrim('/', root)) + 2)")


def has_audio_suffix() -> Column:
    """Column: whether `path` has an audio suffix."""
    return F.lower(F.element_at(F.split("path", r"\."), -1)).isin(*sorted(SUFFIXES))


def _list_local(spark: SparkSession, paths: list[str], **options) -> DataFrame:
    given = [tuple(entry.values()) for entry in entries(paths)]
    start = spark.createDataFrame(given, _ENTRIES)
    # One level first, so that its folders can be distributed over the executors.
    # It is computed once for its files and again for its folders; extensions are counted once.
    level = start.mapInArrow(partial(_scan_level, **options), _ENTRIES)
    again = start.mapInArrow(partial(_scan_level, **{**options, "passed_over": None}), _ENTRIES)
    n_tasks = 4 * spark.sparkContext.defaultParallelism
    folders = again.filter("is_folder").repartition(n_tasks, "path")
    walked = folders.mapInArrow(partial(_walk, **options), _ENTRIES)
    return level.filter("not is_folder").unionByName(walked).drop("is_folder")


def _list_remote(spark: SparkSession, uri: str) -> DataFrame:
    listed = (
        spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(literal(uri))
    )
    return listed.filter(has_audio_suffix()).select(
        "path",
        F.lit(qualified(spark, uri)).alias("root"),
        F.col("length").alias("size_bytes"),
        F.col("modificationTime").alias("modified_at"),
        F.col("path").alias("real"),
    )


def _scan_level(
    batches: Iterable[pa.RecordBatch], *, follow_links: bool, passed_over: Accumulator | None
) -> Iterator[pa.RecordBatch]:
    counter: Counter[str] = Counter()

    def level(row: dict) -> Iterable[dict]:
        if not row["is_folder"]:
            return [row]
        return scan(row["path"], row["root"], follow_links=follow_links, passed_over=counter)

    yield from _in_batches(entry for row in _rows(batches) for entry in level(row))
    if passed_over is not None:
        passed_over.add(counter)


def _walk(
    batches: Iterable[pa.RecordBatch], *, follow_links: bool, passed_over: Accumulator | None
) -> Iterator[pa.RecordBatch]:
    counter: Counter[str] = Counter()
    yield from _in_batches(
        entry
        for row in _rows(batches)
        for entry in below(row["path"], row["root"], follow_links=follow_links, passed_over=counter)
    )
    if passed_over is not None:
        passed_over.add(counter)


def _rows(batches: Iterable[pa.RecordBatch]) -> Iterator[dict]:
    for batch in batches:
        yield from batch.to_pylist()


def _in_batches(rows: Iterable[dict]) -> Iterator[pa.RecordBatch]:
    schema = to_arrow_schema(_ENTRIES, timezone="UTC")
    held = []
    for row in rows:
        held.append(row)
        if len(held) == _ROWS_PER_BATCH:
            yield pa.RecordBatch.from_pylist(held, schema=schema)
            held = []
    if held:
        yield pa.RecordBatch.from_pylist(held, schema=schema)
