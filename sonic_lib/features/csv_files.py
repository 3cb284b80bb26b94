"""Read the beginning of a CSV file: its encoding, and the names in its first line."""

from __future__ import annotations

import codecs
import csv
import io
import re
import zlib
from collections.abc import Sequence

from pyspark.sql import SparkSession

from sonic_lib.errors import UsageError
from sonic_lib.spark.filesystem import hadoop_path

_HEAD_BYTES = 65_536
MAX_COLUMNS = 2_000  # Spark takes forever to plan a query over many thousands
_GZIP = b"\x1f\x8b"


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
        raise UsageError(f"--csv {file!r} is empty; expected a CSV file with a header line.")
    if encoding is None and b"\0" in head:
        raise UsageError(f"--csv {file!r} is not text; expected a CSV file with a header line.")
    names = [re.sub(r"[.`]", "_", name).strip() for name in names_of(head, encoding or "UTF-8")]
    given = (id_column or "").removesuffix("_given")  # added to reserved names on import
    if id_column is not None and not {id_column, given} & set(names) and head.isascii():
        raise UsageError(
            f"--id {id_column!r}: there is no such column; there are {', '.join(names)}."
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
            f"--csv {file!r}: it contains zero bytes, so it is not text. Expected a CSV file, in "
            "UTF-8 or as saved by Excel."
        )
    if len(head) >= _HEAD_BYTES and "\n" not in text and "\r" not in text:
        raise UsageError(
            f"--csv {file!r}: its first line does not end within {_HEAD_BYTES:,} bytes. Expected "
            "a first line with the names of the columns."
        )
    n_names = len(names_of(head, encoding))
    if n_names > MAX_COLUMNS:
        raise UsageError(
            f"--csv {file!r}: it has {n_names:,} columns, expected {MAX_COLUMNS:,} at most. "
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
