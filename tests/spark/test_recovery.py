"""An index recovers: earlier versions, removed songs, clocks that jump, damaged files."""

from __future__ import annotations

import os
import re
import shutil
from datetime import datetime, timezone
from pathlib import Path

import pytest

from sonic_lib.cli.main import main
from sonic_lib.config import Config
from sonic_lib.errors import DamageError, TableError, UsageError
from sonic_lib.index import commit
from sonic_lib.schemas import FINGERPRINTS, SONG_FILES, SONGS
from sonic_lib.storage import history, tables
from sonic_lib.workflows import maintenance, upkeep
from tests.spark.rows import BITS, rows_of, stage


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")


# ---- restore and purge ----


def test_earlier_version_is_restored_completely(spark, lake, add, stored, broken):
    add(1, 2)
    then = now()
    commit.delete_songs(spark.createDataFrame([(1,)], "song_id long"), lake)
    add(3)
    maintenance.repartition(spark, lake, prefix_bits=4)
    for _ in range(2):
        maintenance.restore(spark, lake, timestamp=then)
        assert stored() == rows_of(1, 2)
        assert stored(SONGS, "song_id") == [(1,), (2,)]
        assert stored(SONG_FILES, "path") == [("/m/1",), ("/m/2",)]
        assert tables.prefix_bits(spark, lake) == BITS
        assert broken() == {}


def test_readers_see_complete_songs_during_a_restore(spark, lake, add, stored, monkeypatch):
    add(1, 2)
    then = now()
    commit.delete_songs(spark.createDataFrame([(1,)], "song_id long"), lake)
    add(3)
    seen = []
    restore = history.restore

    def restore_and_look(*arguments, **options):
        restore(*arguments, **options)
        found = {song for (song,) in stored(SONGS, "song_id")}
        full = {song for _, _, song, *_ in stored()}
        seen.append((found, full))

    monkeypatch.setattr(history, "restore", restore_and_look)
    maintenance.restore(spark, lake, timestamp=then)
    assert seen == [({2}, {1, 2}), ({1, 2}, {1, 2}), ({1, 2}, {1, 2})]


def test_restore_to_before_the_index_is_refused_and_changes_nothing(spark, lake, add, stored):
    add(1)
    for when in ("2001-01-01", "yesterday"):
        with pytest.raises(TableError, match="its log begins at"):
            maintenance.restore(spark, lake, timestamp=when)
    assert stored() == rows_of(1)


def test_purge_deletes_removed_songs_for_good(spark, lake, add, stored):
    add(1, 2)
    then = now()
    commit.delete_songs(spark.createDataFrame([(1,)], "song_id long"), lake)
    held = list(Path(lake, "fingerprints").rglob("*.parquet"))
    maintenance.purge(spark, lake, retention_hours=168.0, grace_hours=0.0)
    assert list(Path(lake, "fingerprints").rglob("*.parquet")) == held
    add(3)
    maintenance.purge(spark, lake, retention_hours=0.0, grace_hours=0.0)
    left = list(Path(lake, "fingerprints").rglob("*.parquet"))
    songs = {r.song_id for r in spark.read.parquet(*map(str, left)).select("song_id").collect()}
    assert songs == {2, 3}
    assert stored() == rows_of(2, 3)
    with pytest.raises(TableError, match=r"cannot go back to version.*purged"):
        maintenance.restore(spark, lake, timestamp=then)
    assert stored() == rows_of(2, 3)
    assert stored(SONGS, "song_id") == [(2,), (3,)]


def test_purge_during_a_running_job_is_refused(spark, lake):
    stage(spark, lake, "running", 1)
    with pytest.raises(UsageError, match="--grace-hours 0"):
        maintenance.purge(spark, lake, retention_hours=1.0, grace_hours=24.0)
    maintenance.purge(spark, lake, retention_hours=168.0, grace_hours=24.0)


# ---- clocks that jump ----


def dated(lake: str, *, hours: float) -> str:
    """Copy a warehouse as if it had been written with a wrong clock."""
    copy = shutil.copytree(lake, f"{lake} dated").rstrip("/")
    for path in Path(copy).glob("*/_delta_log/*.json"):

        def moved(match: re.Match) -> str:
            return f'"modificationTime":{int(match[1]) + int(3_600_000 * hours)}'

        path.write_text(re.sub(r'"modificationTime":(\d+)', moved, path.read_text()))
        path.with_name(f".{path.name}.crc").unlink(missing_ok=True)
    for path in [*Path(copy).rglob("*"), Path(copy)]:
        moved_s = path.stat().st_mtime + 3600 * hours
        os.utime(path, (moved_s, moved_s))
    return copy


@pytest.mark.parametrize("hours", [-10_000, 10_000])
def test_files_with_wrong_dates_are_swept(spark, lake, put, hours):
    """Files dated in the future, too, which would otherwise stay young for years."""
    put(rows_of(1, 2), songs={1: 8}, files=[1])
    stage(spark, lake, "dead", 3)
    assert maintenance.sweep(spark, lake, grace_hours=24.0)["stages"] == 0
    copy = dated(lake, hours=hours)
    found = maintenance.violations(spark, copy, grace_hours=24.0)
    assert {r.invariant for r in found if r.n_broken} == {"every fingerprint's song exists"}
    swept = maintenance.sweep(spark, copy, grace_hours=24.0)
    assert (swept["stages"], swept["orphan_songs"]) == (1, 1)
    assert sorted(map(tuple, tables.read(spark, copy, FINGERPRINTS).collect())) == rows_of(1)
    assert not commit.stage_folders(spark, copy)


def test_run_that_looks_dead_after_a_clock_jump_can_stage_again(spark, lake, stored):
    staged, folder = stage(spark, lake, "alive", 1)
    for path in [*Path(folder).iterdir(), Path(folder)]:
        os.utime(path, (0, 0))
    maintenance.sweep(spark, lake, grace_hours=24.0)
    assert not commit.commit_batch(
        staged, lake, summaries=commit.summary_rows(staged), run_id="alive", folder=folder
    )
    assert stored() == []
    staged, folder = stage(spark, lake, "again", 1)
    assert commit.commit_batch(
        staged, lake, summaries=commit.summary_rows(staged), run_id="again", folder=folder
    )
    assert stored() == rows_of(1)


# ---- damaged files ----


def files_of(lake: str, pattern: str) -> list[Path]:
    return sorted(Path(lake).glob(pattern))


def test_check_names_damaged_files_and_maintain_repairs_them(spark, lake, add, stored, capsys):
    for song_id in (1, 2):
        add(song_id)
    lost, *_ = files_of(lake, "fingerprints/hash_prefix=1/*.parquet")
    lost.unlink()
    cut = files_of(lake, "song_files/_delta_log/*.json")[-1]
    cut.write_bytes(cut.read_bytes()[:50])
    other = files_of(lake, "songs/_delta_log/.*.json.crc")[-1]
    other.write_bytes(b"crc\0\0\0\2\0" + bytes(4))
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()

    assert main(["maintain", "--check", "--warehouse", lake]) == 1
    told = capsys.readouterr().out
    for words in ("3 files", str(lost), f"version 2: {cut}", str(other), "--restore-to"):
        assert words in told
    assert main(["maintain", "--grace-hours", "0", "--warehouse", lake]) == 0
    told = capsys.readouterr().out
    assert told.count("repaired ") == 3
    assert "1 song was incomplete" in told
    assert main(["maintain", "--check", "--warehouse", lake]) == 0
    assert len({row[2] for row in stored(FINGERPRINTS)}) == len(stored(SONGS)) == 1


def test_irreparable_damage_stops_with_the_file_name(spark, lake, add, capsys):
    add(1)
    first = files_of(lake, "songs/_delta_log/*.json")[0]
    first.unlink()
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
    assert main(["maintain", "--warehouse", lake]) == 1
    told = capsys.readouterr().out
    assert f"songs, version 0: {first}" in told
    for act in (upkeep.maintain, upkeep.check):
        with pytest.raises(DamageError, match=re.escape(str(first))):
            act(spark, Config(warehouse=lake))
    assert "index the folders again" in told
