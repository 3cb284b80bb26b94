"""Maintenance while other jobs run: check, sweep, compact, repartition, restore and purge."""

from __future__ import annotations

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from sonic_lib.cli.main import main
from sonic_lib.config import Config
from sonic_lib.errors import DamageError, TableError, UsageError
from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.index import commit
from sonic_lib.schemas import EXTRACTS, FINGERPRINTS, SONG_FILES, SONGS
from sonic_lib.storage import creation, history, retry, tables, writes
from sonic_lib.workflows import maintenance, upkeep

BITS, HASH_BITS = 2, 40


@pytest.fixture(scope="module")
def new_tables(_spark_session, tmp_path_factory) -> str:
    place = str(tmp_path_factory.mktemp("new"))
    creation.create(_spark_session, place, params=FingerprintParams(), prefix_bits=BITS)
    return place


@pytest.fixture
def lake(spark, new_tables, warehouse) -> str:
    """A warehouse of existing, empty tables, to save time."""
    return shutil.copytree(new_tables, warehouse)


def row(song_id: int, n: int, *, bits: int = BITS) -> tuple:
    """Fingerprint n of a song; consecutive ones are in different partitions."""
    hash_ = (n % 4 << HASH_BITS - 2) + 1000 * n + song_id
    return hash_ >> HASH_BITS - bits, hash_, song_id, n, 7 * n


@pytest.fixture
def put(spark, lake):
    """Write rows to the tables without a stage, as if by a finished run."""

    def rows_into(table, rows: list[tuple], *columns: str) -> None:
        if rows:
            kinds = ", ".join(f"{c} {table.schema[c].dataType.simpleString()}" for c in columns)
            missing = set(table.schema.names) - set(columns)
            # One file, with its rows in the given order.
            frame = spark.createDataFrame(rows, kinds).coalesce(1)
            writes.append(frame.withColumns(dict.fromkeys(missing, F.lit(None))), lake, table)

    def write(fingerprints=(), *, songs: dict[int, int] | None = None, files=()) -> None:
        rows_into(FINGERPRINTS, list(fingerprints), *FINGERPRINTS.schema.names)
        rows_into(SONGS, list((songs or {}).items()), "song_id", "n_fingerprints")
        rows_into(SONG_FILES, [(i, f"/m/{i}") for i in files], "song_id", "path")

    return write


@pytest.fixture
def add(put):
    """Add complete songs."""
    return lambda *ids: put(rows_of(*ids), songs=dict.fromkeys(ids, 8), files=ids)


@pytest.fixture
def broken(spark, lake):
    def find(grace_hours: float = 0.0) -> dict[str, int]:
        found = maintenance.violations(spark, lake, grace_hours=grace_hours)
        return {r.invariant: r.n_broken for r in found if r.n_broken}

    return find


@pytest.fixture
def stored(spark, lake):
    def read(table=FINGERPRINTS, *columns: str) -> list[tuple]:
        frame = tables.read(spark, lake, table)
        return sorted(map(tuple, frame.select(*columns or frame.columns).collect()))

    return read


def rows_of(*song_ids: int, bits: int = BITS) -> list[tuple]:
    return sorted(row(i, n, bits=bits) for i in song_ids for n in range(8))


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")


# ---- findings ----


def test_good_index_satisfies_all_invariants(add, broken):
    assert broken() == {}
    add(1, 2)
    add(3)
    assert broken() == {}


def test_each_violated_invariant_is_found(spark, lake, put, broken):
    put(
        [
            *sorted([*rows_of(1, 2, 3, 4, 5, 6), row(6, 0), row(6, 1), (0, *row(7, 1)[1:])]),
            *[row(8, 5), row(8, 1)],  # unsorted
        ],
        songs={1: 8, 2: 8, 4: 9, 6: 8},
        files=[1, 2, 4, 5, 6],
    )
    found = maintenance.violations(spark, lake, grace_hours=0.0)
    assert {r.invariant: r.n_broken for r in found if r.n_broken} == {
        "every fingerprint's song exists": 4,
        "songs have all their fingerprints": 2,
        "fingerprints are unique": 2,
        "prefixes match the hashes": 1,
        "files are sorted": 1,
        "every file's song exists": 1,
    }
    examples = {r.invariant: r.example for r in found}
    assert examples["songs have all their fingerprints"] == "song 4 should have 9 and has 8"
    assert set(broken(grace_hours=1.0)) == set(examples) - {
        "every fingerprint's song exists",  # a running job may have just written them
        *("songs are unique", "files are unique"),
    }


def test_duplicate_song_is_found(add, broken):
    add(1)
    add(1)
    assert set(broken()) >= {"songs are unique", "files are unique"}


# ---- sweep ----


def stage(spark, lake, run_id: str, *song_ids: int):
    rows = [
        {"song_id": i}
        | {"hashes": [r[1] for r in rows_of(i)], "frames": [r[3] for r in rows_of(i)]}
        | {"descriptors": [r[4] for r in rows_of(i)]}
        for i in song_ids
    ] + [{"song_id": i, "n_fingerprints": 8} for i in song_ids]
    frame = spark.createDataFrame([tuple(r.get(n) for n in EXTRACTS.names) for r in rows], EXTRACTS)
    folder = commit.stage_folder(lake, run_id, 0)
    return commit.stage(frame, folder), folder


def test_sweep_removes_only_what_dead_runs_left(spark, lake, put, stored, broken):
    put(rows_of(1, 2, 3), songs={1: 8}, files=[1, 3])
    _, folder = stage(spark, lake, "dead", 1, 2)
    swept = maintenance.sweep(spark, lake, grace_hours=1.0)
    assert swept == {
        "stages": 0, "orphan_songs": 0, "orphan_fingerprints": 0, "lost_files": 1
    }  # fmt: skip
    swept = maintenance.sweep(spark, lake, grace_hours=0.0)
    assert (swept["stages"], swept["lost_files"]) == (1, 0)
    assert stored() == rows_of(1)
    assert stored(SONG_FILES, "path") == [("/m/1",)]
    assert not Path(folder).exists()
    assert broken() == {}
    before = tables.version(spark, lake, FINGERPRINTS)
    assert set(maintenance.sweep(spark, lake, grace_hours=0.0).values()) == {0}
    assert tables.version(spark, lake, FINGERPRINTS) == before


def test_sweep_spares_a_live_run_and_stops_one_taken_for_dead(
    spark, lake, stored, broken, monkeypatch
):
    """The sweep runs between fingerprints and songs: first with a grace period, then without."""
    insert = writes.insert

    def sweep_before(*arguments, **options):
        monkeypatch.undo()
        maintenance.sweep(spark, lake, grace_hours=grace_hours)
        insert(*arguments, **options)

    for song_id, grace_hours in ((1, 1.0), (2, 0.0)):
        monkeypatch.setattr(writes, "insert", sweep_before)
        staged, folder = stage(spark, lake, f"run-{song_id}", song_id)
        committed = commit.commit_batch(staged, lake, run_id=f"run-{song_id}", folder=folder)
        assert committed == bool(grace_hours)
        assert stored() == rows_of(1)
        assert stored(SONGS, "song_id") == [(1,)]
        assert broken() == {}


# ---- compact ----


def test_compacting_keeps_rows_in_one_sorted_file_per_partition(spark, lake, add, stored):
    for i in (3, 1, 2):
        add(i)
    before = stored()
    done = maintenance.compact(spark, lake)
    assert (done["partitions"], done["files_after"]) == (4, 4)
    assert done["files_before"] >= 12
    assert stored() == before
    for file in tables.read(spark, lake, FINGERPRINTS).inputFiles():
        rows = spark.read.parquet(file).select("hash", "song_id", "offset_frames").collect()
        assert rows == sorted(rows)
    version = tables.version(spark, lake, FINGERPRINTS)
    assert maintenance.compact(spark, lake)["partitions"] == 0
    assert tables.version(spark, lake, FINGERPRINTS) == version


def test_unsorted_file_is_rewritten(spark, lake, put, broken):
    put([row(8, 5), row(8, 1)])
    assert "files are sorted" in broken()
    assert maintenance.compact(spark, lake)["partitions"] == 1
    assert "files are sorted" not in broken()


def test_duplicate_rows_are_removed(spark, lake, put, stored):
    put(rows_of(1, 2))
    put([row(1, 0), row(2, 4), row(2, 5)])
    maintenance.deduplicate(spark, lake)
    assert stored() == rows_of(1, 2)


@pytest.fixture
def disturb(spark, lake, add):
    """What another job may do meanwhile: add song 10, remove song 1."""

    def change() -> None:
        add(10)
        commit.delete_songs(spark.createDataFrame([(1,)], "song_id long"), lake)
        writes.delete_keys(
            spark.createDataFrame([(1,)], "song_id long"), lake, SONG_FILES, key="song_id"
        )

    return change


@pytest.mark.parametrize("change", ["compact", "repartition"])
def test_commits_between_reading_and_writing_are_kept(
    spark, lake, add, stored, disturb, monkeypatch, change
):
    add(1, 2)
    add(3)
    retrying = retry.retrying

    def disturbed(commit, *, what):
        if what == "fingerprints":
            monkeypatch.undo()
            disturb()
        retrying(commit, what=what)

    monkeypatch.setattr(writes, "retrying", disturbed)
    if change == "compact":
        maintenance.compact(spark, lake)
    else:
        maintenance.repartition(spark, lake, prefix_bits=6)
    bits = tables.prefix_bits(spark, lake)
    assert bits == (BITS if change == "compact" else 6)
    assert stored() == rows_of(2, 3, 10, bits=bits)
    assert stored(SONGS, "song_id") == [(2,), (3,), (10,)]


def test_concurrent_jobs_all_succeed(spark, lake, add, stored, disturb):
    add(1, 2)
    add(3)
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(maintenance.compact, spark, lake), pool.submit(disturb)]
    assert [job.exception() for job in jobs] == [None, None]
    assert stored() == rows_of(2, 3, 10)


# ---- prefix ----


def test_repartitioning_moves_all_rows_in_one_commit(spark, lake, add, stored, broken):
    add(1, 2, 3)
    index = maintenance.pinned(spark, lake)
    version = tables.version(spark, lake, FINGERPRINTS)
    assert maintenance.repartition(spark, lake, prefix_bits=6)
    assert tables.version(spark, lake, FINGERPRINTS) == version + 1
    assert tables.prefix_bits(spark, lake) == 6
    assert tables.prefix_bits(spark, lake, version=version) == BITS
    assert stored() == rows_of(1, 2, 3, bits=6)
    # Earlier readers continue with the old prefix and the old rows.
    assert index.prefix_bits == BITS
    assert sorted(map(tuple, index.fingerprints.collect())) == rows_of(1, 2, 3)
    assert not maintenance.repartition(spark, lake, prefix_bits=6)
    assert broken() == {}
    schema = tables.read(spark, lake, FINGERPRINTS).schema
    assert [f.metadata["comment"] for f in schema] == [
        f.metadata["comment"] for f in FINGERPRINTS.schema
    ]


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
    assert not commit.commit_batch(staged, lake, run_id="alive", folder=folder)
    assert stored() == []
    staged, folder = stage(spark, lake, "again", 1)
    assert commit.commit_batch(staged, lake, run_id="again", folder=folder)
    assert stored() == rows_of(1)


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
    assert "1 songs were incomplete" in told
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
