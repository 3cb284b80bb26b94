"""How a CSV file begins: its encoding, and the names in its first line."""

from __future__ import annotations

import codecs
import csv
import io
import zlib
from collections.abc import Sequence

from pyspark.sql import SparkSession

from sonic_lib.spark.filesystem import hadoop_path

_HEAD_BYTES = 65_536
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
    """Give the encoding that a file tells by its first bytes, as Excel writes UTF-16."""
    if head.startswith(codecs.BOM_UTF8):
        return "UTF-8"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    # Of Latin letters every other byte is 0.
    if head[1:200:2] and not any(head[1:200:2]):
        return "UTF-16LE"
    if head[0:200:2] and not any(head[0:200:2]):
        return "UTF-16BE"
    return None


def first_line(head: bytes, encoding: str) -> str:
    """Give the first line; as much of it as there is."""
    text = head.decode(encoding, errors="replace").removeprefix("\ufeff")
    return text.splitlines()[0] if text else ""


def names_of(head: bytes, encoding: str) -> Sequence[str]:
    """Give the cells of the first row."""
    text = head.decode(encoding, errors="replace").removeprefix("\ufeff")
    return next(csv.reader(io.StringIO(text, newline="")), [])
