"""`sonic features` over several runs: the tables are right after any history."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from sonic_lib.cli.main import main
from sonic_lib.schemas import FEATURE_FILES, FEATURE_REJECTS, FEATURES, RUNS
from sonic_lib.storage import creation, tables, writes

TABLE = "id,tempo,name\nx,120,a\ny,90,b\n,1,c\n"


def describe(*arguments: object, code: int = 0) -> None:
    assert main(["features", *map(str, arguments)]) == code


def stored(spark, warehouse: str) -> list[list[tuple]]:
    """All rows, without values that differ between runs."""
    stamps = ("run_id", "computed_at", "seen_at", "rejected_at")
    frames = [
        tables.read(spark, warehouse, table).drop(*stamps)
        for table in (FEATURES, FEATURE_FILES, FEATURE_REJECTS)
    ]
    return [sorted(map(tuple, frame.collect()), key=repr) for frame in frames]


def commits(warehouse: str) -> dict[str, int]:
    return {
        log.parent.name: len(list(log.glob("*.json")))
        for log in Path(warehouse).glob("*/_delta_log")
        if log.parent.name.startswith("feature")
    }


@pytest.fixture(scope="module")
def new_tables(_spark_session, tmp_path_factory) -> str:
    """A warehouse of empty tables; copying it is faster than creating one."""
    warehouse = str(tmp_path_factory.mktemp("new"))
    creation.create_for_models(_spark_session, warehouse)
    return warehouse


@pytest.fixture(scope="module")
def described(collection, run_job, new_tables, tmp_path_factory) -> tuple[str, str]:
    """A warehouse that the job filled from the collection, and the output of the job."""
    place = tmp_path_factory.mktemp("lake") / "ware house"
    warehouse = shutil.copytree(new_tables, place).as_posix()
    done = run_job("extract_features.py", collection.folder, "--warehouse", warehouse)
    assert done.returncode == 0, done.stderr
    return warehouse, done.stdout


@pytest.fixture
def lake(described, tmp_path) -> str:
    """A copy of it that a test may change."""
    return shutil.copytree(described[0], tmp_path / "lake").as_posix()


def test_every_good_song_is_described_once(spark, collection, described):
    warehouse, printed = described
    rows = tables.read(spark, warehouse, FEATURES).collect()
    files = {row.path: row for row in tables.read(spark, warehouse, FEATURE_FILES).collect()}
    assert {Path(r.source_key).name for r in rows} == {Path(p).name for p in collection.samples}
    assert {r.song_id for r in rows} == {f.song_id for f in files.values()} - {None}
    bad = {str(collection.folder / path): stage for path, stage in collection.rejected.items()}
    assert {path: f.stage for path, f in files.items() if f.status == "rejected"} == bad
    assert sum(f.status == "duplicate" for f in files.values()) == 1
    assert f"1 duplicate, {len(bad)} rejected" in printed
    assert f"added   {len(collection.samples)} songs" in printed


def test_second_run_reads_no_audio_and_writes_nothing(spark, collection, described, capsys):
    warehouse, _ = described
    before = commits(warehouse)
    describe(collection.folder, "--warehouse", warehouse)
    assert commits(warehouse) == before
    assert "0 read" in capsys.readouterr().out
    assert {r.job for r in tables.read(spark, warehouse, RUNS).collect()} == {"features"}


def test_changed_files_replace_their_songs(spark, collection, new_tables, warehouse, tmp_path):
    shutil.copytree(new_tables, warehouse)
    music = tmp_path / "music"
    music.mkdir()
    first, second, other = (collection.folder / path for path in list(collection.samples)[:3])
    shutil.copy(first, music / "stays.mp3")
    shutil.copy(second, music / "changes.mp3")
    describe(music, "--warehouse", warehouse)
    shutil.copy(other, music / "changes.mp3")
    os.utime(music / "changes.mp3", (1e9, 1e9))
    describe(music, "--warehouse", warehouse)

    rows, files, _ = stored(spark, warehouse)
    sha256 = {hashlib.sha256(song.read_bytes()).hexdigest() for song in (first, other)}
    expected = {int(digest[:16], 16) >> 1 for digest in sha256}
    assert {row[1] for row in rows} == {file[2] for file in files} == expected
    assert len(rows) == len(files) == 2


@pytest.mark.parametrize("moment", ["no files", "half of the features"])
def test_interrupted_run_resumes(moment, spark, collection, described, lake):
    """Start from the tables that a run killed between its commits leaves."""
    files = tables.read(spark, lake, FEATURE_FILES)
    writes.delete_keys(files, lake, FEATURE_FILES, key="path")
    if moment == "half of the features":
        lost = tables.read(spark, lake, FEATURES).orderBy("song_id").limit(3)
        writes.delete_keys(lost, lake, FEATURES, key="song_id")
    describe(collection.folder, "--warehouse", lake)
    assert stored(spark, lake) == stored(spark, described[0])


def test_new_version_describes_every_song_again(spark, collection, described, lake, capsys):
    rows = tables.read(spark, lake, FEATURES)
    old = rows.drop("numbers", "feature_version")
    old = old.selectExpr("*", "map() AS numbers", "-1 AS feature_version")
    writes.upsert(old, lake, FEATURES, key="song_id")
    describe(collection.folder, "--warehouse", lake, "--set", "index.batch_gb=0.002")
    assert f"added   {len(collection.samples)} songs" in capsys.readouterr().out
    assert stored(spark, lake) == stored(spark, described[0])


def test_reimported_table_replaces_its_source_only(spark, tmp_path, lake, capsys):
    csv = tmp_path / "my songs.csv"
    audio = stored(spark, lake)[0]
    csv.write_text(TABLE)
    describe("--csv", csv, "--id", "id", "--warehouse", lake)
    describe("--csv", csv, "--id", "id", "--source", "other", "--warehouse", lake)
    printed = capsys.readouterr().out
    assert "my songs: 2 rows, 1 rejected; the key is the column id" in printed
    assert "numbers tempo" in printed
    once = stored(spark, lake)
    describe("--csv", csv, "--id", "id", "--warehouse", lake, "--strict", code=1)
    assert stored(spark, lake) == once

    csv.write_text(TABLE.replace("120", "121").replace("\n,1,c", ""))
    describe("--csv", csv, "--id", "id", "--warehouse", lake, "--strict")
    rows, _, rejects = stored(spark, lake)
    assert [row for row in rows if row[0] == "audio"] == audio
    tempi = {(row[0], row[2]): row[3]["tempo"] for row in rows if row[0] != "audio"}
    assert tempi == {
        ("my songs", "x"): 121.0,
        ("my songs", "y"): 90.0,
        ("other", "x"): 120.0,
        ("other", "y"): 90.0,
    }
    assert rejects == [("other", ",1,c", "id: the row has no id")]


def test_table_without_numbers_is_refused_and_changes_nothing(tmp_path, described, capsys):
    warehouse, _ = described
    csv = tmp_path / "texts.csv"
    csv.write_text("artist,name\nx,a\ny,b\n")
    before = commits(warehouse)
    describe("--csv", csv, "--warehouse", warehouse, code=2)
    assert "has no numeric column" in capsys.readouterr().err
    assert commits(warehouse) == before
