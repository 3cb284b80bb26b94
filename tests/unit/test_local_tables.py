"""Delta tables without Spark: commits, refusals and reads."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pyarrow as pa
import pytest
from deltalake import DeltaTable, Field, Schema, write_deltalake
from deltalake.schema import PrimitiveType

from sonic_lib.errors import SetupError, TableError
from sonic_lib.spark import filesystem
from sonic_lib.spark.filesystem import is_small
from sonic_lib.storage.delta_rs import append, open_table, write_run
from sonic_lib.storage.local_index import _orphans, _prefix_bits


@pytest.fixture
def lake(tmp_path):
    table = pa.table({"n": pa.array([1], pa.int64()), "name": ["夜"]})
    write_deltalake(tmp_path / "ware house" / "runs", table)
    return str(tmp_path / "ware house")


def test_rows_are_added_in_one_commit(lake):
    append([{"n": 2**62 + 1}, {"name": "b"}], lake, "runs")
    table = open_table(lake, "runs")
    assert table.version() == 1
    rows = table.to_pyarrow_table().to_pylist()
    assert {(row["n"], row["name"]) for row in rows} == {
        *((1, "夜"), (2**62 + 1, None), (None, "b"))
    }


def test_columns_missing_in_the_table_are_not_dropped_silently(lake):
    with pytest.raises(TableError, match=r"lacks speed.*--engine spark"):
        append([{"n": 1, "speed": 2.0}], lake, "runs")
    assert DeltaTable(f"{lake}/runs").version() == 0


def test_missing_table_is_named(lake):
    with pytest.raises(TableError, match=r"no table songs in .*sonic index"):
        open_table(lake, "songs")


def test_tables_of_a_later_protocol_are_left_to_spark(lake):
    newer = {"delta.enableDeletionVectors": "true"}
    try:
        write_deltalake(f"{lake}/songs", pa.table({"n": [1]}), configuration=newer)
    except Exception as error:  # delta-rs 1.0 does not create such a table
        pytest.skip(str(error))
    with pytest.raises(SetupError, match=r"songs .*protocol is \(3, 7\).*--engine spark"):
        open_table(lake, "songs")


@pytest.mark.parametrize(("width", "n_bits"), [(None, 4), (6, 6)])
def test_prefix_width_is_that_of_the_last_rewrite(width, n_bits):
    name = "sonic.fingerprint.prefix_bits"
    metadata = {} if width is None else {name: width}
    schema = Schema([Field("hash_prefix", PrimitiveType("integer"), metadata=metadata)])
    made_with = SimpleNamespace(configuration={name: "4"})
    table = SimpleNamespace(metadata=lambda: made_with, schema=lambda: schema)
    assert _prefix_bits(table, warehouse="w") == n_bits


@pytest.mark.parametrize("width", [None, "x", "-1", "13", "1e3", "9" * 5_000])
def test_invalid_width_is_refused(width):
    schema = Schema([Field("hash_prefix", PrimitiveType("integer"))])
    made_with = SimpleNamespace(configuration={"sonic.fingerprint.prefix_bits": width})
    table = SimpleNamespace(metadata=lambda: made_with, schema=lambda: schema)
    with pytest.raises(TableError, match="expected a whole number from 0 to 12"):
        _prefix_bits(table, warehouse="w")


def test_without_delta_rs_the_extra_is_named(lake, monkeypatch):
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(SetupError, match=r"-m pip install '?deltalake"):
        open_table(lake, "runs")


def test_rows_that_violate_a_constraint_are_refused_and_others_added(lake):
    DeltaTable(f"{lake}/runs").alter.add_constraint({"counted": "n >= 0"})
    append([{"n": 2}], lake, "runs")
    with pytest.raises(TableError, match="cannot be written"):
        append([{"n": -1}], lake, "runs")
    stored = open_table(lake, "runs").to_pyarrow_table(columns=["n"])["n"].to_pylist()
    assert sorted(stored) == [1, 2]


@pytest.mark.parametrize("name", ["a [1]", "100%20", "a\\b"])
def test_folders_that_delta_rs_would_mistake_for_others_are_left_to_spark(tmp_path, name):
    (tmp_path / name / "songs" / "_delta_log").mkdir(parents=True)
    with pytest.raises(SetupError, match=r"misreads .* --engine spark"):
        open_table(str(tmp_path / name), "songs")


def test_other_names_are_no_obstacle(tmp_path):
    warehouse = str(tmp_path / "w {a,b} *? 100% #x &;$HOME 'é' 夜明け")
    write_deltalake(f"{warehouse}/runs", pa.table({"n": [1]}))
    append([{"n": 2}], warehouse, "runs")
    append([{"n": 1}], warehouse, "runs", replacing="n = 1")
    assert sorted(open_table(warehouse, "runs").to_pyarrow_table()["n"].to_pylist()) == [1, 2]


def test_row_of_a_run_is_replaced_and_others_stay(tmp_path):
    pairs = pa.map_(pa.string(), pa.float64())
    schema = pa.schema({"run_id": pa.string(), "status": pa.string(), "counts": pairs})
    write_deltalake(tmp_path / "runs", schema.empty_table())
    for run_id in ("a", "b"):
        row = {"run_id": run_id, "status": "running", "counts": {}}
        write_run(row, str(tmp_path), is_new=True)
    done = {"run_id": "a", "status": "done", "counts": {"songs": 3.0}}
    write_run(done, str(tmp_path), is_new=False)
    rows = open_table(str(tmp_path), "runs").to_pyarrow_table().sort_by("run_id").to_pylist()
    assert [(row["run_id"], row["status"], row["counts"]) for row in rows] == [
        ("a", "done", [("songs", 3.0)]),
        ("b", "running", []),
    ]


def test_songs_without_any_fingerprint_are_no_error(tmp_path):
    """As while the last songs are being removed: their fingerprints go first."""
    rows = pa.schema({"song_id": pa.int64()}).empty_table()
    write_deltalake(tmp_path / "fingerprints", rows)
    songs = pa.table({"song_id": pa.array([7], pa.int64())})
    assert _orphans(DeltaTable(tmp_path / "fingerprints"), songs).tolist() == []


def test_small_warehouses_are_local_and_hold_few_bytes(tmp_path):
    assert is_small(str(tmp_path / "nowhere"))
    (tmp_path / "songs").mkdir()
    (tmp_path / "songs" / "rows").touch()
    (tmp_path / "songs" / "link").symlink_to("nowhere")
    assert is_small(str(tmp_path))
    assert not is_small("s3a://lake/sonic")
    os.truncate(tmp_path / "songs" / "rows", 65 << 20)
    assert not is_small(str(tmp_path))
    assert not is_small(f"file:{tmp_path}")
    assert is_small(str(tmp_path), max_bytes=66 << 20)
    assert not is_small(str(tmp_path / "songs" / "rows"))
    assert is_small(str(tmp_path / "songs" / "rows"), max_bytes=66 << 20)


def test_thousands_of_files_are_not_small(tmp_path, monkeypatch):
    monkeypatch.setattr(filesystem, "_FEW_FILES", 20)
    for number in range(20):
        (tmp_path / str(number)).touch()
    assert is_small(str(tmp_path))
    (tmp_path / "one more").mkdir()
    assert not is_small(str(tmp_path))


def test_deep_folders_are_walked(deep):
    bottom = deep.joinpath(*["d"] * 1_050)
    (bottom / "rows").write_bytes(bytes(100))
    assert is_small(str(deep))
    assert not is_small(str(deep), max_bytes=99)
