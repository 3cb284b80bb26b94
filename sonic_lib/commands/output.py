"""A frame as one file for people: CSV, JSON or Parquet by its suffix; or as a text table.

The rows pass through the driver one partition at a time, so the file may be larger than its
memory.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import to_arrow_schema

from sonic_lib.errors import UsageError

SUFFIXES = ".csv, .json or .parquet"


def check_output(path: str | None) -> None:
    """Refuse a file that `write_output` could not write.

    Raises
    ------
    UsageError
        If the suffix is unknown or the folder does not exist.
    """
    if path is None:
        return
    if Path(path).suffix.lower() not in (".csv", ".json", ".parquet"):
        raise UsageError(f"--output {path!r}: expected a name that ends in {SUFFIXES}.")
    if not Path(path).absolute().parent.is_dir():
        raise UsageError(f"--output {path!r}: its folder does not exist; make it first.")


def write_output(rows: DataFrame, path: str) -> None:
    """Write a frame to one local file; the file appears whole or not at all."""
    unfinished = f"{path}.part"
    suffix = Path(path).suffix.lower()
    if suffix == ".parquet":
        _write_parquet(rows, unfinished)
    else:
        with open(unfinished, "w", newline="", encoding="utf-8") as file:
            (_write_csv if suffix == ".csv" else _write_json)(rows, file)
    os.replace(unfinished, path)


def text_table(rows: DataFrame, *, n_rows: int, max_width: int = 48) -> Iterator[str]:
    """Lines of an aligned table of the first rows."""
    shown = [[_cell(v, max_width) for v in row] for row in rows.take(n_rows)]
    widths = [max(map(len, column)) for column in zip(rows.columns, *shown, strict=True)]
    for line in [rows.columns, ["-" * width for width in widths], *shown]:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _write_csv(rows: DataFrame, file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(rows.columns)
    for row in rows.toLocalIterator():
        writer.writerow([_csv_text(value) for value in row])


def _write_json(rows: DataFrame, file: TextIO) -> None:
    """Write one array, a row a line."""
    before = "[\n"
    for row in rows.toLocalIterator():
        file.write(before + json.dumps(row.asDict(True), ensure_ascii=False, default=str))
        before = ",\n"
    file.write("[]\n" if before == "[\n" else "\n]\n")


def _write_parquet(rows: DataFrame, path: str) -> None:
    schema = to_arrow_schema(rows.schema, timezone="UTC")
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        held = []
        for row in rows.toLocalIterator():
            held.append(row.asDict(recursive=True))
            if len(held) == 10_000:
                writer.write_batch(pa.RecordBatch.from_pylist(held, schema=schema))
                held = []
        if held:
            writer.write_batch(pa.RecordBatch.from_pylist(held, schema=schema))


def _csv_text(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value


def _cell(value: object, max_width: int) -> str:
    text = "" if value is None else str(_csv_text(value))
    text = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return text if len(text) <= max_width else text[: max_width - 1] + "…"
