"""Write a DataFrame to one CSV, JSON or Parquet file, or as a text table.

The rows pass through the driver one partition at a time, so the file may be larger than its
memory.
"""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from sonic_lib.console import plain
from sonic_lib.errors import SonicError, UsageError
from sonic_lib.spark.messages import one_line
from sonic_lib.storage.whole_file import check_file, whole_file

if TYPE_CHECKING:  # also used by commands that do not need Spark
    import pyarrow as pa
    from pyspark.sql import DataFrame

SUFFIXES = ".csv, .json or .parquet"


def check_output(path: str | None) -> None:
    """Check that `write_output` can write a file.

    Raises
    ------
    UsageError
        If the suffix is unknown, or the folder does not exist or may not be written to.
    """
    if path is None:
        return
    if Path(path).suffix.lower() not in (".csv", ".json", ".parquet"):
        raise UsageError(f"--output {path!r}: expected a name that ends in {SUFFIXES}.")
    check_file("--output", path)


def write_output(rows: DataFrame, path: str, *, all_digits: bool = False) -> None:
    """Write a DataFrame to one local file; the file appears complete or not at all.

    Parameters
    ----------
    path : str
        The suffix determines the format.
    all_digits : bool
        Write numbers to CSV with all digits instead of six.
    """
    from pyspark.sql.pandas.types import to_arrow_schema

    rows = told_apart(rows)
    schema = to_arrow_schema(rows.schema, timezone="UTC")
    dicts = (row.asDict(True) for row in rows.toLocalIterator())
    write_rows(dicts, path, schema=schema, all_digits=all_digits)


def told_apart(rows: DataFrame) -> DataFrame:
    """Number repeated names of columns: a row by name has one value for each."""
    names = rows.columns
    if len(set(names)) == len(names):
        return rows
    found: list[str] = []
    for name in names:
        free, n = name, 1
        while free in found or (n > 1 and free in names):
            n += 1
            free = f"{name}_{n}"
        found.append(free)
    return rows.toDF(*found)


def write_rows(
    rows: Iterable[dict], path: str, *, schema: pa.Schema, all_digits: bool = False
) -> None:
    """Write rows (mappings of columns) to one local file, like `write_output`."""
    suffix = Path(path).suffix.lower()
    try:
        with whole_file(path) as (file, unfinished):
            if suffix == ".parquet":
                _write_parquet(rows, unfinished, schema)
            elif suffix == ".csv":
                _write_csv(rows, file, schema.names, all_digits)
            else:
                _write_json(rows, file)
    except OSError as error:
        # A connection fails where the rows come from, not where they are written.
        if isinstance(error, ConnectionError) or error.strerror is None:
            raise
        raise SonicError(
            f"--output {path!r} cannot be written: {error.strerror}. Give another file."
        ) from error


def text_lines(
    columns: Sequence[str], rows: Iterable[Sequence], *, max_width: int = 48
) -> Iterator[str]:
    """Format rows as lines of an aligned table; numbers are right-aligned."""
    rows = list(rows)
    shown = [[_cell(value, max_width) for value in row] for row in rows]
    columns = list(map(one_line, columns))
    lines = [columns, *shown]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    is_number = [
        any(_is_number(v) for v in column) and all(v is None or _is_number(v) for v in column)
        for column in zip(*rows, strict=True)
    ] or [False] * len(widths)
    for line in [columns, ["-" * width for width in widths], *shown]:
        cells = (
            _padded(cell, width, to_right=right)
            for cell, width, right in zip(line, widths, is_number, strict=True)
        )
        yield "  ".join(cells).rstrip()


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _width(text: str) -> int:
    """Return the width of a text in a terminal; East Asian wide characters take two columns."""
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def _padded(text: str, width: int, *, to_right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if to_right else text + space


def _write_csv(
    rows: Iterable[dict], file: TextIO, columns: Sequence[str], all_digits: bool
) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_csv_text(row[name], all_digits) for name in columns])


def _write_json(rows: Iterable[dict], file: TextIO) -> None:
    """Write one JSON array, one row per line."""
    before = "[\n"
    for row in rows:
        file.write(before + json.dumps(plain(row), ensure_ascii=False))
        before = ",\n"
    file.write("[]\n" if before == "[\n" else "\n]\n")


def _write_parquet(rows: Iterable[dict], path: str, schema: pa.Schema) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        held = []
        for row in rows:
            held.append(row)
            if len(held) == 10_000:
                writer.write_batch(pa.RecordBatch.from_pylist(held, schema=schema))
                held = []
        if held:
            writer.write_batch(pa.RecordBatch.from_pylist(held, schema=schema))


def _csv_text(value: object, all_digits: bool = False) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and all_digits:
        return repr(value).removesuffix(".0")
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return value


def _cell(value: object, max_width: int) -> str:
    text = "" if value is None else str(_csv_text(value))
    text = text.encode("unicode_escape").decode() if not text.isprintable() else text
    if _width(text) <= max_width:
        return text
    while _width(text) >= max_width:
        text = text[:-1]
    return text + "…"
