"""Read the beginning of a CSV file: its encoding, and the names of its columns."""

from __future__ import annotations

import codecs
import csv
import io
import re
import zlib
from collections.abc import Sequence

from pyspark.sql import SparkSession

from sonic_lib.errors import UsageError
from sonic_lib.features.spark import KEYS
from sonic_lib.spark.filesystem import hadoop_path

_HEAD_BYTES = 65_536
MAX_COLUMNS = 2_000  # Spark takes forever to plan a query over many thousands
_GZIP = b"\x1f\x8b"
# Columns that `csv_reading` and `csv_import` add.
CORRUPT, PLACE = "_corrupt_record", "_place"
KEY, TURN, REASON, DIGEST = "_key", "_turn", "_reason", "_digest"
_RESERVED = (*KEYS, CORRUPT, PLACE, KEY, TURN, REASON, DIGEST)


def head_of(spark: SparkSession, file: str) -> bytes:
    """Read the first bytes of a file on any filesystem."""
    filesystem, path = hadoop_path(spark, file)
    stream = filesystem.open(path)
    try:
        head = bytes(stream.readNBytes(_HEAD_BYTES))
    finally:
        stream.close()
    return _plain(head)


def check_local(file: str, *, id_column: str | None = None) -> None:
    """Check the beginning of a local file, without Spark.

    Raises
    ------
    UsageError
        If the file is empty, is not text, or lacks the id column.
    """
    with open(file, "rb") as opened:
        head = _plain(opened.read(_HEAD_BYTES))
    encoding = marked_encoding(head)
    if not head.strip():
        raise UsageError(f"csv {file!r} (--csv): is empty; expected a CSV file with a header line.")
    if encoding is None and b"\0" in head:
        raise UsageError(
            f"csv {file!r} (--csv): is not text; expected a CSV file with a header line."
        )
    if id_column is not None and head.isascii():
        check_id(id_column, column_names(names_of(head, encoding or "UTF-8")))


def check_id(id_column: str, columns: Sequence[str]) -> None:
    """Check that there is a column.

    Raises
    ------
    UsageError
        If not.
    """
    if id_column not in columns:
        raise UsageError(
            f"id_column {id_column!r} (--id): no such column; there are {', '.join(columns)}."
        )


def _plain(head: bytes) -> bytes:
    if head.startswith(_GZIP):
        return zlib.decompressobj(wbits=31).decompress(head, _HEAD_BYTES)
    return head


def marked_encoding(head: bytes) -> str | None:
    """Detect the encoding from the first bytes, such as Excel's UTF-16."""
    if head.startswith(codecs.BOM_UTF8):
        return "UTF-8"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    # In UTF-16, every other byte of Latin text is 0.
    if head[1:200:2] and not any(head[1:200:2]):
        return "UTF-16LE"
    if head[0:200:2] and not any(head[0:200:2]):
        return "UTF-16BE"
    return None


def check_head(head: bytes, encoding: str, *, file: str) -> None:
    """Check the beginning of a file before Spark reads its first line, which may be huge.

    Raises
    ------
    UsageError
        If it is not a table.
    """
    text = head.decode(encoding, errors="replace")
    if "\0" in text:
        raise UsageError(
            f"csv {file!r} (--csv): contains zero bytes, so it is not text; expected a CSV file, "
            "in UTF-8 or as saved by Excel."
        )
    if len(head) >= _HEAD_BYTES and "\n" not in text and "\r" not in text:
        raise UsageError(
            f"csv {file!r} (--csv): its first line does not end within {_HEAD_BYTES:,} bytes; "
            "expected a first line with the names of the columns."
        )
    n_names = len(names_of(head, encoding))
    if n_names > MAX_COLUMNS:
        raise UsageError(
            f"csv {file!r} (--csv): has {n_names:,} columns; expected {MAX_COLUMNS:,} at most. "
            "Remove those that no model needs."
        )


def first_line(head: bytes, encoding: str) -> str:
    """Return the first line, or as much of it as was read."""
    text = head.decode(encoding, errors="replace").removeprefix("\ufeff")
    return text.splitlines()[0] if text else ""


def names_of(head: bytes, encoding: str) -> Sequence[str]:
    """Return the cells of the first row."""
    text = head.decode(encoding, errors="replace").removeprefix("\ufeff")
    return next(csv.reader(io.StringIO(text, newline="")), [])


def column_names(names: Sequence[str]) -> list[str]:
    """Return the names on import; cells of the first row without a name get numbers."""
    return [column_name(name) or f"_c{place}" for place, name in enumerate(names)]


def column_name(name: str) -> str:
    """Replace characters of a name that Spark interprets; reserved names get a suffix."""
    plain = re.sub(r"[.`]", "_", name).strip()
    return f"{plain}_given" if plain.lower() in _RESERVED else plain
