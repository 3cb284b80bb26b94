"""Audio files below folders, as a frame.

Local folders are walked by the executors themselves: Spark's own listing would hold every
file on the driver, hide names that begin with `_` or `.` and read `[` and `{` as patterns.
Other filesystems are listed by Spark's `binaryFile` source, without reading any content.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import BooleanType, StructField, StructType

from sonic_lib.errors import UsageError
from sonic_lib.schemas import FILES

# What may hold sound; anything else in a music folder (covers, playlists) is passed over.
_NAMES = (
    "wav wave flac ogg oga opus mp3 mp2 aif aiff aifc au snd caf w64 rf64 "
    "m4a m4b mp4 aac wma asf webm mka mkv mov avi 3gp"
)
SUFFIXES = frozenset(_NAMES.split())
_ENTRIES = StructType([*FILES, StructField("is_folder", BooleanType())])
_ROWS_PER_BATCH = 1_000


def list_audio(spark: SparkSession, paths: list[str]) -> DataFrame:
    """Find the audio files below some folders, recursively.

    Parameters
    ----------
    paths : list of str
        Folders and files: local paths or URIs of any Hadoop filesystem.

    Returns
    -------
    DataFrame [schemas.FILES]
        One row a file.  Its `root` is the folder given; for files given one by one it is
        the deepest folder that holds all of them.

    Raises
    ------
    UsageError
        If a local path does not exist.
    """
    if not paths:
        raise UsageError("No folder was given; expected at least one folder or audio file.")
    local = [_local_path(path) for path in paths if _is_local(path)]
    remote = [path for path in paths if not _is_local(path)]
    found = [_list_local(spark, local)] if local else []
    found += [_list_remote(spark, uri) for uri in remote]
    files = found[0]
    for more in found[1:]:
        files = files.unionByName(more)
    # Folders given may lie one in the other; the outer one names the file.
    return files.groupBy("path").agg(
        F.min("root").alias("root"),
        F.first("size_bytes").alias("size_bytes"),
        F.first("modified_at").alias("modified_at"),
    )


def given_name(path: str) -> str:
    """The full name of a folder or file given, as `list_audio` writes it."""
    return _text(_absolute(path)) if _is_local(path) else path.rstrip("/")


def relative_path(path: str = "path", root: str = "root") -> Column:
    """Column: `path` relative to `root`."""
    return F.expr(f"substring({path}, length(rtrim('/', {root})) + 2)")


def has_audio_suffix(path: str = "path") -> Column:
    """Column: whether the name of a file says that it may hold sound."""
    return F.lower(F.element_at(F.split(path, r"\."), -1)).isin(*sorted(SUFFIXES))


def _is_local(path: str) -> bool:
    return path.startswith("file:") or not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", path)


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(re.sub(r"^file:/*", "/", path)))


def _local_path(path: str) -> str:
    absolute = _absolute(path)
    if not os.path.lexists(absolute):
        raise UsageError(f"{path!r} does not exist; expected a folder or an audio file.")
    return absolute


def _list_local(spark: SparkSession, paths: list[str]) -> DataFrame:
    files = [path for path in paths if not os.path.isdir(path)]
    common = os.path.commonpath([os.path.dirname(path) for path in files]) if files else ""
    given = [_entry(path, common if path in files else path) for path in sorted(set(paths))]
    start = spark.createDataFrame([tuple(entry.values()) for entry in given], _ENTRIES)
    # One level first, so that the folders below share out over the executors.
    level = start.mapInArrow(_scan_level, _ENTRIES)
    n_tasks = 4 * spark.sparkContext.defaultParallelism
    below = level.filter("is_folder").repartition(n_tasks, "path")
    walked = below.mapInArrow(_walk, _ENTRIES)
    return level.filter("not is_folder").unionByName(walked).drop("is_folder")


def _list_remote(spark: SparkSession, uri: str) -> DataFrame:
    listed = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(uri)
    return listed.filter(has_audio_suffix()).select(
        "path",
        F.lit(uri.rstrip("/")).alias("root"),
        F.col("length").alias("size_bytes"),
        F.col("modificationTime").alias("modified_at"),
    )


def _scan_level(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from _in_batches(
        entry
        for row in _rows(batches)
        for entry in (_scan(row["path"], row["root"]) if row["is_folder"] else [row])
    )


def _walk(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from _in_batches(
        entry
        for row in _rows(batches)
        for entry in _below(row["path"], row["root"], frozenset([os.path.realpath(row["root"])]))
    )


def _below(folder: str, root: str, outer: frozenset[str]) -> Iterator[dict]:
    real = os.path.realpath(folder)
    if real in outer:  # a link back to a folder above
        return
    for entry in _scan(folder, root):
        if entry["is_folder"]:
            yield from _below(entry["path"], root, outer | {real})
        else:
            yield entry


def _scan(folder: str, root: str) -> Iterator[dict]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError:
        # Kept as if it were a file: opening it will say why it could not be read.
        yield _entry(folder, root) | {"is_folder": False}
        return
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isdir(path) or Path(name).suffix[1:].lower() in SUFFIXES:
            yield _entry(path, root)


def _entry(path: str, root: str) -> dict:
    try:
        status = os.stat(path)
        size_bytes, modified_s = status.st_size, status.st_mtime
    except OSError:  # a broken link: listed, so that it is rejected aloud
        size_bytes, modified_s = 0, 0.0
    return {
        "path": _text(path),
        "root": _text(root),
        "size_bytes": size_bytes,
        "modified_at": datetime.fromtimestamp(modified_s, timezone.utc),
        "is_folder": os.path.isdir(path),
    }


def _text(path: str) -> str:
    """Give names that are not valid UTF-8 a form that a table can hold."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


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
