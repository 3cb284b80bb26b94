"""Delta I/O: tables are created, replaced, deleted from, refused and registered."""

from __future__ import annotations

import json
import os
import shutil
from datetime import datetime
from pathlib import Path

import pytest

from sonic_lib.config import Config
from sonic_lib.errors import TableError
from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.index import commit
from sonic_lib.schemas import (
    FEATURE_REJECTS,
    FEATURES,
    FINGERPRINTS,
    INDEX_TABLES,
    MATCHES,
    RUNS,
    SONG_FILES,
    SONGS,
)
from sonic_lib.storage import creation, history, runs, tables, writes
from sonic_lib.storage.table_files import find_damage
from sonic_lib.workflows import maintenance

PARAMS = FingerprintParams()
OTHER_PARAMS = FingerprintParams(densities_per_s=(10,))


@pytest.fixture(scope="module")
def _made(_spark_session, tmp_path_factory) -> str:
    warehouse = str(tmp_path_factory.mktemp("lake") / "ware house's [1]")
    creation.create(_spark_session, warehouse, params=PARAMS, prefix_bits=4)
    return warehouse


@pytest.fixture
def made(spark, _made) -> str:
    """A warehouse whose tables are emptied after each test."""
    yield _made
    for table in INDEX_TABLES:
        if not tables.read(spark, _made, table).isEmpty():
            spark.sql(f"DELETE FROM delta.`{tables.location(_made, table)}`")


@pytest.fixture
def rows_of(spark):
    def make(table, *rows: dict):
        columns = [name for name in table.schema.names if name in rows[0]]
        schema = ", ".join(f"`{c}` {table.schema[c].dataType.simpleString()}" for c in columns)
        return spark.createDataFrame([tuple(row[c] for c in columns) for row in rows], schema)

    return make


def full(table, **given) -> dict:
    return dict.fromkeys(table.schema.names) | given


def contents(spark, warehouse, table, *columns):
    return sorted(map(tuple, tables.read(spark, warehouse, table).select(*columns).collect()))


def log(warehouse, table) -> list[Path]:
    return sorted(Path(tables.location(warehouse, table), "_delta_log").glob("*.json"))


# ---- create ----


@pytest.mark.parametrize("table", INDEX_TABLES, ids=lambda table: table.name)
def test_tables_match_their_declaration(spark, made, table):
    stored = tables.read(spark, made, table)
    assert [(f.name, f.dataType) for f in stored.schema] == [
        (f.name, f.dataType) for f in table.schema
    ]
    assert {f.name: f.metadata["comment"] for f in stored.schema} == {
        f.name: f.metadata["comment"] for f in table.schema
    }
    place = tables.location(made, table)
    detail = spark.sql(f"DESCRIBE DETAIL delta.`{place}`").first()
    assert detail.partitionColumns == list(table.partitioned_by)
    assert detail.description == table.comment
    # Features that delta-rs, Polars and DuckDB read without extras.
    assert detail.minReaderVersion == 1


@pytest.mark.parametrize("table", INDEX_TABLES, ids=lambda table: table.name)
def test_tables_are_the_same_without_spark(spark, made, tmp_path, table):
    """Spark has made those of `made`: delta-rs cannot write below brackets."""
    pytest.importorskip("deltalake")
    remains = Path(tables.location(str(tmp_path), table), "_delta_log")
    remains.mkdir(parents=True)  # of a run that was killed while it created the table
    creation.create(spark, str(tmp_path), params=PARAMS, prefix_bits=4)
    entries = []
    for warehouse, engine in ((made, "Apache-Spark"), (str(tmp_path), "delta-rs")):
        actions = [json.loads(line) for line in log(warehouse, table)[0].read_text().splitlines()]
        entry = {kind: action[kind] for action in actions for kind in action}
        assert entry["commitInfo"]["engineInfo"].startswith(engine)
        about = entry["metaData"]
        entries.append(
            (
                entry["protocol"],
                json.loads(about["schemaString"]),
                {
                    name: about[name]
                    for name in ("description", "partitionColumns", "configuration")
                },
            )
        )
    assert entries[0] == entries[1]


def test_creating_tables_again_changes_nothing(spark, made):
    before = [log(made, table) for table in INDEX_TABLES]
    creation.create(spark, made, params=PARAMS, prefix_bits=6)
    assert [log(made, table) for table in INDEX_TABLES] == before
    assert tables.prefix_bits(spark, made) == 4


def test_missing_table_is_created(spark, warehouse):
    place = tables.location(warehouse, SONGS)
    spark.range(3).write.format("delta").save(place)
    spark.sql(f"ALTER TABLE delta.`{place}` SET TBLPROPERTIES ('sonic.layout' = '2')")
    creation.create(spark, warehouse, params=PARAMS, prefix_bits=2)
    assert all(tables.exists(spark, warehouse, table) for table in INDEX_TABLES)
    assert tables.read(spark, warehouse, SONGS).count() == 3
    assert tables.prefix_bits(spark, warehouse) == 2


def test_run_killed_while_creating_a_table_does_no_harm(spark, warehouse):
    for table in (SONGS, FINGERPRINTS):
        Path(tables.location(warehouse, table), "_delta_log", "_staged_commits").mkdir(parents=True)
    creation.create(spark, warehouse, params=PARAMS, prefix_bits=4)
    assert all(tables.read(spark, warehouse, table).isEmpty() for table in INDEX_TABLES)
    tables.check_params(spark, warehouse, params=PARAMS)


def test_different_parameters_are_refused_naming_both(spark, made):
    for check in (tables.check_params, lambda *a, **k: creation.create(*a, prefix_bits=4, **k)):
        with pytest.raises(TableError) as caught:
            check(spark, made, params=OTHER_PARAMS)
        assert PARAMS.to_json() in str(caught.value)
        assert OTHER_PARAMS.to_json() in str(caught.value)
    tables.check_params(spark, made, params=PARAMS)


def test_folder_that_is_not_a_warehouse_says_what_to_do(spark, warehouse):
    for ask in (
        lambda: tables.check_params(spark, warehouse, params=PARAMS),
        lambda: tables.prefix_bits(spark, warehouse),
        lambda: tables.read(spark, warehouse, SONGS),
    ):
        with pytest.raises(TableError, match=f"{warehouse}.*sonic index FOLDER"):
            ask()
    assert not Path(warehouse).exists()


def test_foreign_fingerprint_table_is_refused(spark, warehouse):
    spark.range(3).write.format("delta").save(tables.location(warehouse, FINGERPRINTS))
    with pytest.raises(TableError, match=r"lacks the property sonic\.fingerprint\.params"):
        tables.check_params(spark, warehouse, params=PARAMS)


# ---- rows ----


def test_rows_are_appended_by_column_name(spark, made, rows_of):
    rows = rows_of(
        FINGERPRINTS,
        {"hash_prefix": 1, "hash": 2, "song_id": 3, "offset_frames": 4, "descriptor": 5},
    )
    writes.append(
        rows.select("song_id", "hash", "offset_frames", "hash_prefix", "descriptor"),
        made,
        FINGERPRINTS,
    )
    assert contents(spark, made, FINGERPRINTS, *FINGERPRINTS.schema.names) == [(1, 2, 3, 4, 5)]


def test_table_of_an_earlier_version_gains_its_new_columns(spark, warehouse, rows_of):
    old = rows_of(MATCHES, full(MATCHES, clip_path="old", pitch=1.0)).drop("pitch")
    old.write.format("delta").save(tables.location(warehouse, MATCHES))
    writes.append(rows_of(MATCHES, full(MATCHES, clip_path="new", pitch=1.1)), warehouse, MATCHES)
    rows = tables.read(spark, warehouse, MATCHES).select("clip_path", "pitch").collect()
    assert sorted(map(tuple, rows)) == [("new", 1.1), ("old", None)]


def test_rows_without_a_column_are_refused_before_the_write(spark, made, rows_of):
    before = log(made, FINGERPRINTS)
    rows = rows_of(FINGERPRINTS, {"hash_prefix": 1, "song_id": 3})
    with pytest.raises(
        TableError, match=r"Rows for fingerprints lack descriptor, hash, offset_frames\."
    ):
        writes.append(rows, made, FINGERPRINTS)
    assert log(made, FINGERPRINTS) == before


def test_undeclared_columns_are_dropped(spark, made, rows_of):
    rows = rows_of(SONGS, full(SONGS, song_id=1)).selectExpr("*", "'x' AS extra")
    writes.append(rows, made, SONGS)
    assert tables.read(spark, made, SONGS).columns == SONGS.schema.names


def test_upsert_replaces_and_adds_by_key(spark, made, rows_of):
    writes.append(
        rows_of(SONGS, *(full(SONGS, song_id=i, title="old") for i in (1, 2))), made, SONGS
    )
    new = rows_of(SONGS, *(full(SONGS, song_id=i, title="new") for i in (2, 3)))
    for _ in range(2):
        writes.upsert(new, made, SONGS, key="song_id")
        assert contents(spark, made, SONGS, "song_id", "title") == [
            (1, "old"),
            (2, "new"),
            (3, "new"),
        ]


def test_delete_keys_deletes_all_rows_of_the_keys(spark, made, rows_of):
    fingerprints = [
        {"hash_prefix": h % 2, "hash": h, "song_id": song, "offset_frames": 0, "descriptor": 0}
        for h in range(4)
        for song in (1, 2, 3)
    ]
    writes.append(rows_of(FINGERPRINTS, *fingerprints), made, FINGERPRINTS)
    keys = spark.createDataFrame([(1,), (3,), (3,), (9,)], "song_id long")
    for _ in range(2):
        writes.delete_keys(keys, made, FINGERPRINTS, key="song_id")
        assert contents(spark, made, FINGERPRINTS, "hash", "song_id") == [(h, 2) for h in range(4)]


@pytest.mark.parametrize("on_disk", [True, False])
def test_sources_and_versions_are_the_same_without_spark(
    spark, warehouse, rows_of, monkeypatch, on_disk
):
    creation.create_for_models(spark, warehouse)
    for source in ("a b", "c=d"):
        row = full(FEATURES, source=source, song_id=1)
        writes.append(rows_of(FEATURES, row), warehouse, FEATURES)
    if not on_disk:
        monkeypatch.setattr(tables, "is_on_disk", lambda *_: False)
    assert tables.version(spark, warehouse, FEATURES) == 2
    assert tables.sources(spark, warehouse, FEATURES) == ["a b", "c=d"]
    assert tables.sources(spark, warehouse, FEATURES, version=1) == ["a b"]
    assert tables.sources(spark, warehouse, FEATURE_REJECTS) == []


def test_unusual_paths_work_as_keys(spark, made, rows_of):
    paths = ["/a'b\"c\\d.mp3", "/two\nlines 夜 %20.mp3"]
    rows = rows_of(SONG_FILES, *(full(SONG_FILES, path=p, status="indexed") for p in paths))
    for _ in range(2):
        writes.upsert(rows, made, SONG_FILES, key="path")
    assert contents(spark, made, SONG_FILES, "path") == sorted((p,) for p in paths)


def test_compacting_keeps_rows_and_leaves_few_files(spark, made, rows_of):
    for i in range(3):
        writes.append(rows_of(SONGS, full(SONGS, song_id=i)), made, SONGS)
    writes.optimize(spark, made, SONGS)
    (file,) = tables.read(spark, made, SONGS).inputFiles()
    assert contents(spark, made, SONGS, "song_id") == [(0,), (1,), (2,)]
    size_bytes = Path(tables.location(made, SONGS), Path(file).name).stat().st_size
    assert tables.live_bytes(spark, made, SONGS) == size_bytes


# ---- register ----


def test_registering_again_and_in_another_database(spark, made, rows_of, warehouse):
    writes.append(rows_of(SONGS, full(SONGS, song_id=1, title="here")), made, SONGS)
    for _ in range(2):
        assert tables.register(spark, made) == [f"sonic.{table.name}" for table in INDEX_TABLES]
        assert spark.sql("SELECT title FROM sonic.songs").collect() == [("here",)]
    creation.create(spark, warehouse, params=PARAMS, prefix_bits=4)
    tables.register(spark, warehouse)
    assert spark.sql("SELECT title FROM sonic.songs").collect() == []
    tables.register(spark, made)  # and nothing was lost in the first
    assert spark.sql("SELECT title FROM sonic.songs").collect() == [("here",)]


def test_only_existing_tables_are_registered(spark, warehouse):
    assert tables.register(spark, warehouse) == []
    spark.range(3).write.format("delta").save(tables.location(warehouse, MATCHES))
    assert tables.register(spark, warehouse) == ["sonic.matches"]


# ---- runs ----


def stored_runs(spark, warehouse):
    return tables.read(spark, warehouse, RUNS).collect()


def test_run_is_recorded_when_it_starts_and_ends(spark, made):
    with runs.recorded(spark, made, job="index", config=Config()) as run:
        (row,) = stored_runs(spark, made)
        assert (row.run_id, row.job, row.status, row.ended_at) == (
            run.run_id,
            "index",
            "running",
            None,
        )
        run.counts["songs"] = 3
    (row,) = stored_runs(spark, made)
    assert (row.status, row.counts) == ("done", {"songs": 3.0})
    assert isinstance(row.ended_at, datetime)
    assert row.ended_at >= row.started_at
    assert json.loads(row.config) == json.loads(Config().model_dump_json())


@pytest.mark.parametrize("error", [TableError("no"), KeyboardInterrupt()])
def test_failed_run_is_recorded_and_raises(spark, made, error):
    def fail():
        with runs.recorded(spark, made, job="index", config=Config()) as run:
            run.counts["files"] = 1
            raise error

    with pytest.raises(type(error)):
        fail()
    (row,) = stored_runs(spark, made)
    assert (row.status, row.counts) == ("failed", {"files": 1.0})


# ---- files of others ----


@pytest.fixture
def home(tmp_path) -> Path:
    """A folder of the user who runs the commands: an old file, and a table's data file."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "old letter").write_text("dear")
    os.utime(folder / "old letter", (0, 0))
    return folder


def test_purge_does_not_follow_links(spark, made, home):
    Path(made, RUNS.name, "deep").mkdir()
    link = Path(made, RUNS.name, "deep", "part=1")
    link.symlink_to(home)
    with pytest.raises(TableError, match="part=1"):
        history.vacuum(spark, made, RUNS, retention_hours=0)
    assert (home / "old letter").exists()
    link.unlink()


@pytest.mark.parametrize("depth", [0, 1, 2], ids=["all stages", "a run", "a batch"])
def test_sweep_does_not_follow_links(spark, made, home, depth):
    (home / "run" / "batch").mkdir(parents=True)
    place = Path(made, "_staging")
    link = place.joinpath(*("run", "batch")[:depth])
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(home.joinpath(*("run", "batch")[:depth]) if depth else home)
    try:
        assert commit.stage_folders(spark, made) == []
        maintenance.sweep(spark, made, grace_hours=0.0)
        commit.remove_folder(spark, f"{place}/run/batch")
        assert (home / "run" / "batch").is_dir()
    finally:
        link.unlink()


def test_table_that_names_files_elsewhere_is_not_read(spark, made, rows_of, home):
    made = shutil.copytree(made, home.parent / "copy").as_posix()
    writes.append(rows_of(SONGS, full(SONGS, song_id=1)), made, SONGS)
    log = Path(made, SONGS.name, "_delta_log")
    entry = max(log.glob("*.json"))
    # Not the newest file: Spark may also write an empty one, which the entry does not name.
    actions = map(json.loads, entry.read_text().splitlines())
    (name,) = (action["add"]["path"] for action in actions if "add" in action)
    Path(made, SONGS.name, name).rename(home / name)
    entry.write_text(entry.read_text().replace(name, f"file:{home}/{name}"))
    (log / f".{entry.name}.crc").unlink(missing_ok=True)
    with pytest.raises(TableError, match="refers to a file outside of its folder"):
        tables.read(spark, made, SONGS)
    assert not find_damage(made, [SONGS.name])[0].is_data
