"""Rows as files and text, without Spark."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure
from pyspark.sql import Row
from pyspark.sql.types import StructType

from sonic_lib.cli.writers import check_output, text_lines, write_output, write_rows
from sonic_lib.errors import SonicError, UsageError
from sonic_lib.report.figures.style import save
from sonic_lib.storage.whole_file import write_csv


def schema_of(columns: str) -> StructType:
    """`StructType.fromDDL` without a JVM."""
    schema = StructType()
    for column in columns.split(", "):
        schema.add(*column.split())
    return schema


SCHEMA = schema_of(
    "clip string, rank integer, song_id long, offset_s double, accepted boolean, at timestamp"
)
WHEN = datetime(2026, 5, 4, 3, 2, 1, tzinfo=timezone.utc)
ROWS = [
    ('Ärzte, "live"\n夜.mp3', 1, 2**62, 1.25, True, WHEN),
    ("b.mp3", 2, None, None, False, None),
]


@dataclass
class Frame:
    """The part of a DataFrame that `output` uses."""

    rows: list[tuple]
    schema: StructType = SCHEMA

    @property
    def columns(self):
        return self.schema.names

    def take(self, n):
        return [Row(**dict(zip(self.columns, row, strict=True))) for row in self.rows[:n]]

    def toLocalIterator(self):
        return iter(self.take(len(self.rows)))


def table(*rows, columns="a string, b string", **options):
    frame = Frame(list(rows), schema_of(columns))
    return list(text_lines(frame.columns, frame.take(100), **options))


# ---- files ----


def test_csv_round_trip(tmp_path):
    path = tmp_path / "out.csv"
    write_output(Frame(ROWS), str(path))
    with path.open(newline="", encoding="utf-8") as file:
        header, first, second = csv.reader(file)
    assert header == SCHEMA.names
    assert first[:5] == ['Ärzte, "live"\n夜.mp3', "1", str(2**62), "1.25", "true"]
    assert second == ["b.mp3", "2", "", "", "false", ""]


def test_json_is_one_array_of_objects(tmp_path):
    path = tmp_path / "out.JSON"
    write_output(Frame(ROWS), str(path))
    text = path.read_text(encoding="utf-8")
    assert "夜" in text
    first, second = json.loads(text)
    assert first["clip"] == ROWS[0][0]
    assert (first["song_id"], first["accepted"], first["offset_s"]) == (2**62, True, 1.25)
    assert first["at"].startswith("2026-05-04 03:02:01")
    assert second == dict(zip(SCHEMA.names, ROWS[1], strict=True))


def test_parquet_keeps_types(tmp_path):
    path = tmp_path / "out.parquet"
    write_output(Frame(ROWS), str(path))
    stored = pq.read_table(path)
    assert stored.schema.names == SCHEMA.names
    assert [tuple(row.values()) for row in stored.to_pylist()] == ROWS
    assert str(stored.schema.field("rank").type) == "int32"


@pytest.mark.parametrize("n_rows", [10_000, 10_001, 20_003])
def test_parquet_of_any_length_is_complete(tmp_path, n_rows):
    path = tmp_path / "out.parquet"
    schema = schema_of("n long")
    write_output(Frame([(n,) for n in range(n_rows)], schema), str(path))
    assert pq.read_table(path)["n"].to_pylist() == list(range(n_rows))


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_no_rows_still_make_a_file(tmp_path, suffix):
    path = tmp_path / f"out.{suffix}"
    write_output(Frame([]), str(path))
    if suffix == "csv":
        assert path.read_text() == ",".join(SCHEMA.names) + "\n"
    elif suffix == "json":
        assert json.loads(path.read_text()) == []
    else:
        assert (pq.read_table(path).num_rows, pq.read_schema(path).names) == (0, SCHEMA.names)


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_failure_leaves_the_existing_file_unchanged(tmp_path, suffix):
    class Failing(Frame):
        def toLocalIterator(self):
            yield from super().toLocalIterator()
            raise OSError("the cluster is gone")

    path = tmp_path / f"out.{suffix}"
    path.write_text("older")
    with pytest.raises(OSError, match="gone"):
        write_output(Failing(ROWS), str(path))
    assert path.read_text() == "older"


@pytest.mark.parametrize("name", ["out.txt", "out", "csv", "out.csv.gz", "out.jsonl"])
def test_other_suffixes_are_refused(tmp_path, name):
    with pytest.raises(UsageError, match=r"\.csv, \.json or \.parquet"):
        check_output(str(tmp_path / name))


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match="folder does not exist"):
        check_output(str(tmp_path / "absent" / "out.csv"))


def test_folder_is_no_output(tmp_path):
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        check_output(str(tmp_path / "x.csv"))


def test_folder_without_leave_to_write_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(UsageError, match="cannot be written to"):
        check_output(str(tmp_path / "x.csv"))


def test_failing_disk_is_named_with_the_file():
    with pytest.raises(SonicError, match=r"--output '/proc/x\.csv' cannot be written"):
        write_rows([], "/proc/x.csv", schema=pa.schema([("a", pa.int64())]))


def test_json_has_null_for_what_json_cannot_express(tmp_path):
    path = str(tmp_path / "x.json")
    write_rows([{"a": float("nan"), "b": [float("inf"), 1.5]}], path, schema=pa.schema([]))
    assert json.loads(Path(path).read_text()) == [{"a": None, "b": [None, 1.5]}]


@pytest.mark.parametrize("name", ["out.csv", "OUT.CSV", "a b.json", "x.y.parquet"])
def test_known_suffixes_are_accepted(tmp_path, monkeypatch, name):
    check_output(str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    check_output(name)


def test_no_file_is_accepted():
    check_output(None)


# ---- text tables ----


def test_columns_are_aligned():
    assert table(("x", "long value"), ("longer", None)) == [
        "a       b",
        "------  ----------",
        "x       long value",
        "longer",
    ]


def test_values_are_written_as_in_csv():
    rows = table((True, 0.1 + 0.2, 3), columns="a boolean, b double, c integer")
    assert rows[2].split() == ["true", "0.3", "3"]


def test_control_characters_are_escaped():
    bell, escape = table(("ring\a\n", "\x1b[31mred"))[2].split()
    assert bell == r"ring\x07\n"
    assert escape == r"\x1b[31mred"


def test_names_of_columns_stay_in_their_line():
    lines = list(text_lines(["a\nsonic: b\x1b"], [[1]]))
    assert lines[0] == r"a\nsonic: b\x1b"
    assert len(lines) == 3


def test_printable_text_of_any_script_is_shown_unchanged():
    assert table(("Ärzte", "夜明け"))[2].split() == ["Ärzte", "夜明け"]


def test_long_values_are_cut():
    cells = table(("a" * 49, "b" * 48))[2].split()
    assert cells == ["a" * 47 + "…", "b" * 48]


def test_wide_characters_take_two_columns():
    lines = table(("夜明け", "x"), ("cafe\u0301", "y"))  # a combining accent takes none
    assert lines == ["a       b", "------  -", "夜明け  x", "cafe\u0301    y"]
    cut = table(("夜" * 30, "x"))[2].split()[0]
    assert cut == "夜" * 23 + "…"


def test_numbers_are_right_aligned():
    assert table((5, "x"), (None, "y"), (12, "z"), columns="n long, b string")[2:] == [
        " 5  x",
        "    y",
        "12  z",
    ]


def test_table_without_rows_has_its_header():
    assert table() == ["a  b", "-  -"]


def test_link_at_the_temporary_name_is_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for name in ("out.csv.part", "out.csv"):
        (tmp_path / name).symlink_to(precious)
    write_rows([{"a": 1}], str(tmp_path / "out.csv"), schema=pa.schema({"a": pa.int64()}))
    assert precious.read_text() == "mine"
    assert (tmp_path / "out.csv").read_text() == "a\n1\n"
    assert not (tmp_path / "out.csv").is_symlink()
    assert oct((tmp_path / "out.csv").stat().st_mode & 0o700) == oct(0o600)


def test_tables_and_plots_of_reports_replace_links(tmp_path):
    (tmp_path / "precious").write_text("mine")
    names = ("out.csv", "out.png", "out.SVG")
    for name in names:
        (tmp_path / name).symlink_to("precious")
    write_csv(pd.DataFrame({"a": [1.25]}), tmp_path / "out.csv", float_format="%.1f")
    for name in names[1:]:
        save(Figure(), tmp_path / name)
    assert (tmp_path / "out.csv").read_text() == "a\n1.2\n"
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out.SVG").read_text().startswith("<?xml")
    assert (tmp_path / "precious").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"precious", *names}


def test_disk_that_refuses_to_set_a_mode_gets_the_file(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    write_csv(pd.DataFrame({"a": [1]}), tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "a\n1\n"


def test_failed_plot_leaves_the_older_one(tmp_path, monkeypatch):
    (tmp_path / "out.png").write_text("older")
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write(b"half") / 0)
    with pytest.raises(ZeroDivisionError):
        save(Figure(), tmp_path / "out.png")
    assert (tmp_path / "out.png").read_text() == "older"
    assert len(list(tmp_path.iterdir())) == 1
