"""Commits of songs, and the cleanup after dead runs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Thread

import pytest

from sonic_lib.errors import TableError
from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.index import commit
from sonic_lib.schemas import EXTRACTS, FINGERPRINTS, SONGS
from sonic_lib.storage import creation, locks, tables, writes
from sonic_lib.workflows import maintenance

REJECTED = 9


@pytest.fixture
def lake(spark, warehouse) -> str:
    creation.create(spark, warehouse, params=FingerprintParams(), prefix_bits=1)
    return warehouse


@pytest.fixture
def stage(spark, lake):
    """Stage songs, two hashes each, as a run does."""

    def make(run_id: str, *song_ids: int, batch: int = 0):
        rows = []
        for song_id in song_ids:
            closing = {"n_fingerprints": 2, "duration_s": 4.0, "content_sha256": f"{song_id:x}"}
            if song_id == REJECTED:
                closing = {"stage": "decode", "error": "truncated"}
            rows.append({"hashes": [song_id, song_id + (1 << 39)], "frames": [5, 6]})
            rows[-1]["descriptors"] = [7, -8]
            rows.append(closing)
            for row in rows[-2:]:
                row.update(song_id=song_id, path=f"/m/{song_id}")
        frame = spark.createDataFrame(
            [tuple(r.get(n) for n in EXTRACTS.names) for r in rows], EXTRACTS
        )
        folder = commit.stage_folder(lake, run_id, batch)
        return commit.stage(frame, folder), folder

    return make


@pytest.fixture
def state(spark, lake):
    """Song ids in fingerprints and in songs, and the runs that have left a stage."""

    def read():
        fingerprints = tables.read(spark, lake, FINGERPRINTS).select("song_id").collect()
        songs = tables.read(spark, lake, SONGS).select("song_id").collect()
        staged = sorted(
            path.name for path in Path(lake, "_staging").iterdir() if any(path.iterdir())
        )
        return sorted(r[0] for r in fingerprints), sorted(r[0] for r in songs), staged

    return read


def commit_one(lake, run_id, staged, folder) -> bool:
    return commit.commit_batch(
        staged, lake, summaries=commit.summary_rows(staged), run_id=run_id, folder=folder
    )


def new(spark, *song_ids):
    return spark.createDataFrame([(i,) for i in song_ids], "song_id long")


def test_batch_becomes_fingerprints_and_songs(spark, lake, stage, state):
    assert commit_one(lake, "run-1", *stage("run-1", 1, 2, REJECTED))
    assert state() == ([1, 1, 2, 2], [1, 2], ["run-1"])
    fingerprints = tables.read(spark, lake, FINGERPRINTS).filter("song_id = 2").collect()
    assert sorted(map(tuple, fingerprints)) == [(0, 2, 2, 5, 7), (1, 2 + (1 << 39), 2, 6, -8)]
    song = tables.read(spark, lake, SONGS).filter("song_id = 2").first()
    assert (song.run_id, song.n_fingerprints, song.content_sha256) == ("run-1", 2, "2")
    assert song.indexed_at is not None


def test_stage_behind_a_link_is_refused(lake, stage, tmp_path):
    """No run could sweep it, so fingerprints would be doubled."""
    (tmp_path / "scratch").mkdir()
    Path(lake, "_staging").symlink_to(tmp_path / "scratch")
    with pytest.raises(TableError, match="symbolic link"):
        stage("run-1", 1)
    assert not any((tmp_path / "scratch").iterdir())


def test_batch_of_rejects_writes_nothing(lake, stage, state):
    commit_one(lake, "run-1", *stage("run-1", REJECTED))
    assert state() == ([], [], ["run-1"])
    assert len(list(Path(lake, "fingerprints", "_delta_log").glob("*.json"))) == 1


def test_sweep_undoes_what_a_dead_run_left_of_these_songs(spark, lake, stage, state, monkeypatch):
    commit_one(lake, "done", *stage("done", 1))
    staged, folder = stage("dead", 2, 3)
    monkeypatch.setattr(writes, "insert", _die)
    with pytest.raises(KeyboardInterrupt):
        commit_one(lake, "dead", staged, folder)
    monkeypatch.undo()
    assert state() == ([1, 1, 2, 2, 3, 3], [1], ["dead", "done"])

    commit.sweep(new(spark, 7), lake, run_id="run-2")  # not its songs
    assert state() == ([1, 1, 2, 2, 3, 3], [1], ["dead", "done"])
    commit.sweep(new(spark, 3, 7), lake, run_id="run-2")
    assert state() == ([1, 1], [1], ["done"])
    commit_one(lake, "run-2", *stage("run-2", 3))
    assert state() == ([1, 1, 3, 3], [1, 3], ["done", "run-2"])


def _die(*_, **__):
    raise KeyboardInterrupt


def test_sweep_keeps_committed_songs(spark, lake, stage, state):
    commit_one(lake, "run-1", *stage("run-1", 1, 2))
    commit.sweep(new(spark, 1), lake, run_id="run-2")
    assert state()[:2] == ([1, 1, 2, 2], [1, 2])


def test_sweep_leaves_its_own_and_unfinished_stages(spark, lake, stage, state):
    stage("own", 1)
    _, folder = stage("decoding", 1)
    Path(folder, "_SUCCESS").unlink()
    commit.sweep(new(spark, 1), lake, run_id="own")
    assert state() == ([], [], ["decoding", "own"])


def test_run_whose_stage_was_swept_does_not_commit_its_songs(
    spark, lake, stage, state, monkeypatch
):
    staged, folder = stage("slow", 1)
    appended = writes.append

    def append_while_another_run_sweeps(*arguments, **options):
        appended(*arguments, **options)
        monkeypatch.undo()
        commit.sweep(new(spark, 1), lake, run_id="fast")

    monkeypatch.setattr(writes, "append", append_while_another_run_sweeps)
    assert not commit_one(lake, "slow", staged, folder)
    assert state() == ([], [], [])


def test_run_waits_for_a_sweep_and_finishes_one_of_a_dead_run(
    spark, lake, stage, state, monkeypatch
):
    staged, folder = stage("slow", 1)
    commit.fence_stage(spark, lake, folder)  # the other run died there
    monkeypatch.setattr(commit, "MAX_SWEEP_S", 1.5)
    assert not commit_one(lake, "slow", staged, folder)
    assert state() == ([], [], [])
    assert commit_one(lake, "slow", *stage("slow", 1, batch=1))
    assert state() == ([1, 1], [1], ["slow"])


def test_run_whose_stage_is_fenced_meanwhile_commits_all_or_nothing(
    spark, lake, stage, state, monkeypatch
):
    staged, folder = stage("slow", 1)
    fence = writes.fence
    monkeypatch.setattr(commit, "MAX_SWEEP_S", 1.5)

    def fence_while_the_run_commits(*arguments, **options):
        monkeypatch.setattr(writes, "fence", fence)
        fence(*arguments, **options)
        assert not commit_one(lake, "slow", staged, folder)

    monkeypatch.setattr(writes, "fence", fence_while_the_run_commits)
    commit.undo_stage(spark, lake, folder)
    assert state() == ([], [], [])


def test_song_removed_immediately_is_not_mistaken_for_a_sweep(
    spark, lake, stage, state, monkeypatch
):
    staged, folder = stage("run-1", 1, 2)
    insert = writes.insert

    def insert_before_a_removal(*arguments, **options):
        insert(*arguments, **options)
        commit.delete_songs(new(spark, 1), lake)

    monkeypatch.setattr(writes, "insert", insert_before_a_removal)
    assert commit_one(lake, "run-1", staged, folder)
    assert state() == ([2, 2], [2], ["run-1"])


def test_commit_of_another_thread_does_not_consume_a_token(spark, lake, stage, state, monkeypatch):
    monkeypatch.setattr(commit, "MAX_SWEEP_S", 1.0)
    staged, folder = stage("run-1", 1)
    nothing = spark.createDataFrame([], SONGS.schema)
    other = Thread(target=writes.append, args=(nothing, lake, SONGS))
    merge = writes._merge

    def merge_during_another_commit(*arguments):
        if other.ident is None:
            other.start()
            other.join(2)
        merge(*arguments)

    monkeypatch.setattr(writes, "_merge", merge_during_another_commit)
    assert commit_one(lake, "run-1", staged, folder)
    other.join()
    assert state() == ([1, 1], [1], ["run-1"])


def test_run_swept_before_its_first_commit_commits_nothing(spark, lake, stage, state):
    staged, folder = stage("slow", 1)
    commit.sweep(new(spark, 1), lake, run_id="fast")
    staged = spark.createDataFrame(
        [
            tuple(
                {"song_id": 1, "hashes": [5], "frames": [5], "descriptors": [5]}.get(n)
                for n in EXTRACTS.names
            ),
            tuple({"song_id": 1, "n_fingerprints": 1}.get(n) for n in EXTRACTS.names),
        ],
        EXTRACTS,
    )
    assert not commit_one(lake, "slow", staged, folder)
    assert state() == ([], [], [])


def test_two_live_runs_with_one_song_leave_one_set_of_fingerprints(spark, lake, stage, state):
    first, second = stage("first", 1, 2), stage("second", 2, 3)
    commit_one(lake, "first", *first)
    commit_one(lake, "second", *second)
    assert state()[:2] == ([1, 1, 2, 2, 3, 3], [1, 2, 3])
    owner = tables.read(spark, lake, SONGS).filter("song_id = 2").first()
    assert owner.run_id == "first"


def test_prefix_changed_during_a_run_is_applied_to_its_rows(spark, lake, stage, state, monkeypatch):
    staged, folder = stage("slow", 1, 2)
    read = tables.prefix_bits

    def read_and_then_change(*arguments, **options):
        bits = read(*arguments, **options)
        monkeypatch.undo()
        assert maintenance.repartition(spark, lake, prefix_bits=3)
        return bits

    monkeypatch.setattr(tables, "prefix_bits", read_and_then_change)
    commit_one(lake, "slow", staged, folder)
    assert state()[:2] == ([1, 1, 2, 2], [1, 2])
    stored = tables.read(spark, lake, FINGERPRINTS)
    assert sorted(r.hash_prefix for r in stored.collect()) == [0, 0, 4, 4]


def test_deleting_songs_deletes_from_both_tables(spark, lake, stage, state):
    commit_one(lake, "run-1", *stage("run-1", 1, 2))
    commit.delete_songs(new(spark, 2, 5), lake)
    assert state()[:2] == ([1, 1], [1])


def check_sorted(spark, lake, *, n_rows: int) -> None:
    """Check that each prefix is one sorted file."""
    for prefix in (0, 1):
        stored = tables.read(spark, lake, FINGERPRINTS).filter(f"hash_prefix = {prefix}")
        (file,) = stored.inputFiles()
        rows = spark.read.parquet(file).select("hash", "song_id", "offset_frames").collect()
        assert len(rows) == n_rows
        assert rows == sorted(rows)


def test_each_prefix_is_one_sorted_file(spark, lake, stage):
    commit_one(lake, "run-1", *stage("run-1", *range(1, 9)))
    check_sorted(spark, lake, n_rows=8)


def test_files_stay_sorted_when_songs_are_deleted(spark, lake, stage):
    commit_one(lake, "run-1", *stage("run-1", *range(1, 9)))
    commit.delete_songs(new(spark, 2, 5), lake)
    check_sorted(spark, lake, n_rows=6)


def test_prefix_changed_during_a_deletion_leaves_no_fingerprints(
    spark, lake, stage, state, monkeypatch
):
    commit_one(lake, "run-1", *stage("run-1", 1, 2))
    replace = writes.replace

    def repartition_and_replace(*arguments, **options):
        monkeypatch.undo()
        assert maintenance.repartition(spark, lake, prefix_bits=3)
        replace(*arguments, **options)

    monkeypatch.setattr(writes, "replace", repartition_and_replace)
    commit.delete_songs(new(spark, 2), lake)
    assert state()[:2] == ([1, 1], [1])


def test_lock_of_an_interrupted_commit_is_kept_until_java_has_finished(
    spark, tmp_path, monkeypatch
):
    """As after Ctrl-C in a notebook, which lives on while other processes want to write."""
    monkeypatch.setattr(locks, "_LOOK_EVERY_S", 0.1)
    file = str(tmp_path / locks.FOLDER / "songs.lock")

    def is_free() -> bool:
        descriptor = locks._try_python(file)
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is not None

    commit_in_java = Thread(target=spark._jvm.java.lang.Thread.sleep, args=(1_500,))

    def interrupted() -> None:
        with locks.writing_by_spark(spark, str(tmp_path), "songs"):
            commit_in_java.start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    time.sleep(0.5)
    assert not is_free()
    commit_in_java.join()
    until_s = time.monotonic() + 10
    while not is_free() and time.monotonic() < until_s:
        time.sleep(0.05)
    assert is_free()
