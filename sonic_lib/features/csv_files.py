"""Read the beginning of a CSV file: its encoding, and the names in its first line."""

from __future__ import annotations

import codecs
import csv
import io
import zlib
from collections.abc import Sequence

from pyspark.sql import SparkSession

from sonic_lib.errors import UsageError
from sonic_lib.spark.filesystem import hadoop_path

_HEAD_BYTES = 65_536
MAX_COLUMNS = 2_000  # each is a term of every plan; a plan of many thousands is never done
_GZIP = b"\x1f\x8b"


def head_of(spark: SparkSession, file: str) -> bytes:
    """Read the first bytes of a file of any filesystem."""
    filesystem, path = hadoop_path(spark, file)
    stream = filesystem.open(path)
    try:
        head = bytes(stream.readNBytes(_HEAD_BYTES))
    finally:
        stream.close()
    if head.startswith(_GZIP):
        return zlib.decompressobj(wbits=31).decompress(head, _HEAD_BYTES)
    return head


def marked_encoding(head: bytes) -> str | None:
    """Detect the encoding from the first bytes, such as Excel's UTF-16."""
    if head.startswith(codecs.BOM_UTF8):
        return "UTF-8"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    # In UTF-16, every other byte of Latin letters is 0.
    if head[1:200:2] and not any(head[1:200:2]):
        return "UTF-16LE"
    if head[0:200:2] and not any(head[0:200:2]):
        return "UTF-16BE"
    return None


def check_head(head: bytes, encoding: str, *, file: str) -> None:
    """Refuse what is no table before Spark reads its first line, however long that is.

    Raises
    ------
    UsageError
    """
    text = head.decode(encoding, errors="replace")
    if "\0" in text:
        raise UsageError(
            f"--csv {file!r}: it holds bytes of 0, as no text does. Expected a CSV file, in UTF-8 "
            "or as Excel writes it."
        )
    if len(head) >= _HEAD_BYTES and "\n" not in text and "\r" not in text:
        raise UsageError(
            f"--csv {file!r}: its first line does not end within {_HEAD_BYTES:,} bytes. Expected "
            "the names of the columns there."
        )
    n_names = len(names_of(head, encoding))
    if n_names > MAX_COLUMNS:
        raise UsageError(
            f"--csv {file!r}: it has {n_names:,} columns, expected {MAX_COLUMNS:,} at most. Leave "
            "out those that no model needs."
        )


def first_line(head: bytes, encoding: str) -> str:
    """Return the first line, as far as it was read."""
    text = head.decode(encoding, errors="replace").removeprefix("\ufeff")
    return text.splitlines()[0] if text else ""


def names_of(head: bytes, encoding: str) -> Sequence[str]:
    """Return the cells of the first row."""
    text = head.decode(encoding, errors="replace").removeprefix("\ufeff")
    return next(csv.reader(io.StringIO(text, newline="")), [])
