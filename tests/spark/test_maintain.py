"""Maintenance while other jobs run: check, sweep, compact and repartition."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sonic_lib.index import commit
from sonic_lib.schemas import FINGERPRINTS, SONG_FILES, SONGS
from sonic_lib.storage import retry, tables, writes
from sonic_lib.workflows import maintenance
from tests.spark.rows import BITS, row, rows_of, stage

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


def test_stages_of_a_run_stay_while_it_stages_more(spark, lake):
    """A run of more than a day needs its first batches until it ends."""
    hour_s = 3600
    for stage_name, age_h in (("long/0", 30), ("long/1", 2), ("dead/0", 30), ("dead/1", 25)):
        folder = Path(lake, "_staging", stage_name)
        folder.mkdir(parents=True)
        part = folder / "part-0.parquet"
        part.touch()
        then_s = time.time() - age_h * hour_s
        for path in (part, folder):
            os.utime(path, (then_s, then_s))
    old = maintenance.old_stages(spark, lake, hours=24.0)
    assert sorted(old) == [f"{lake}/_staging/dead/{batch}" for batch in range(2)]


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
        committed = commit.commit_batch(
            staged,
            lake,
            summaries=commit.summary_rows(staged),
            run_id=f"run-{song_id}",
            folder=folder,
        )
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
