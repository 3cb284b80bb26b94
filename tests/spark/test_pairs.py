"""Duplicates: candidates, comparison, groups, and the copy to keep, on synthetic hashes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sonic_lib.matching import duplicates
from sonic_lib.matching.budget import affordable_frequency
from sonic_lib.schemas import FINGERPRINTS, OVERLAPS
from sonic_lib.workflows.duplicates import group_labels
from sonic_lib.workflows.evaluation import held_out_copies

FRAMES_PER_S = 31.25
ORIGINAL, COPY, FASTER, STRANGER, SAMPLER = 10, 11, 12, 13, 14


def song(rng, length_s=60.0, per_s=10.0) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of a song at random frames."""
    n = int(length_s * per_s)
    return rng.integers(0, 1 << 40, n), np.sort(rng.integers(0, int(length_s * FRAMES_PER_S), n))


@pytest.fixture
def fingerprints(spark, rng):
    """A song; a copy without its first 5 s and most hashes; a faster one; a 12 s overlap."""
    hashes, frames = song(rng)
    kept = (frames >= 5 * FRAMES_PER_S) & (rng.random(len(frames)) < 0.4)
    few = rng.random(len(frames)) < 0.3
    inside = (frames >= 20 * FRAMES_PER_S) & (frames < 32 * FRAMES_PER_S)
    own, own_frames = song(rng)
    songs = {
        ORIGINAL: (hashes, frames),
        COPY: (hashes[kept], frames[kept] - int(5 * FRAMES_PER_S)),
        FASTER: (hashes[few], np.rint(frames[few] / 1.02).astype(int)),
        STRANGER: song(rng),
        SAMPLER: (
            np.concatenate([own, hashes[inside]]),
            np.concatenate([own_frames, frames[inside] + int(15 * FRAMES_PER_S)]),
        ),
    }
    # A hash that every song has everywhere.
    rows = [(0, 7, i, int(f), 0) for i in songs for f in range(0, 1800, 20)]
    for i, (hs, fs) in songs.items():
        rows += [(int(h >> 38), int(h), i, int(f), 0) for h, f in zip(hs, fs, strict=True)]
    return spark.createDataFrame(rows, FINGERPRINTS.schema).persist()


@pytest.fixture
def songs(spark):
    rows = [(ORIGINAL, 60.0), (COPY, 55.0), (FASTER, 58.8), (STRANGER, 60.0), (SAMPLER, 60.0)]
    return spark.createDataFrame(rows, "song_id long, duration_s double")


def ids(frame) -> set[tuple[int, int]]:
    return {(row.song_id, row.other_song_id) for row in frame.collect()}


def test_candidates_share_rare_hashes_in_one_place(fingerprints):
    found = ids(fingerprints.transform(duplicates.candidate_pairs, max_rows_per_hash=100))
    of_original = {(ORIGINAL, other) for other in (COPY, FASTER, SAMPLER)}
    assert of_original <= found
    assert not any(STRANGER in pair for pair in found)
    assert fingerprints.transform(duplicates.candidate_pairs, max_rows_per_hash=1).isEmpty()


def test_pairs_are_compared_and_classified(spark, fingerprints, songs):
    given = [(ORIGINAL, other) for other in (COPY, FASTER, STRANGER, SAMPLER)]
    found = (
        spark.createDataFrame(given, "song_id long, other_song_id long")
        .transform(duplicates.compare_pairs, fingerprints=fingerprints, n_index_frames=1e4)
        .transform(duplicates.kinds, songs=songs)
    )
    assert set(OVERLAPS.names) < set(found.columns)
    by_other = {row.other_song_id: row for row in found.collect()}
    assert {other: row.kind for other, row in by_other.items()} == {
        COPY: "same recording",
        FASTER: "same recording",
        SAMPLER: "shared passage",
    }
    copy, faster, passage = by_other[COPY], by_other[FASTER], by_other[SAMPLER]
    assert copy.overlap_s == pytest.approx(55, abs=2)
    assert copy.start_s - copy.other_start_s == pytest.approx(5, abs=0.2)
    assert faster.speed == pytest.approx(1 / 1.02, abs=0.002)
    assert passage.overlap_s == pytest.approx(12, abs=1.5)
    assert (passage.start_s, passage.other_start_s) == pytest.approx((20, 35), abs=1)
    assert all(row.p_value < 1e-9 for row in by_other.values())


def test_held_out_songs_with_a_copy_in_the_index_are_found(fingerprints):
    """Ids arrive as they are stored: next to nulls."""
    answers = [
        (ORIGINAL, COPY, 1e-12, False),
        (STRANGER, SAMPLER, 0.01, False),  # an error, not a copy
        (FASTER, ORIGINAL, 0.9, False),  # not accepted at any rate
        (SAMPLER, ORIGINAL, 1e-12, True),  # indexed: not a held-out song
        (STRANGER, None, 1.0, False),
    ]
    judged = pd.DataFrame(answers, columns=["song_id", "found_id", "p_value", "is_known"])
    judged["found_id"] = judged["found_id"].astype("Int64")
    index = SimpleNamespace(fingerprints=fingerprints, files=SimpleNamespace(n_frames=1e4))
    assert held_out_copies(judged, index) == [ORIGINAL]
    assert held_out_copies(judged[judged["is_known"]], index) == []


def test_self_join_size_is_measured_beforehand(spark):
    rows = [(0, h, i, 0, 0) for h, n in ((1, 1), (2, 2), (3, 4), (4, 3)) for i in range(n)]
    fingerprints = spark.createDataFrame(rows, FINGERPRINTS.schema)
    measured = fingerprints.transform(duplicates.pairs_by_frequency).collect()
    n_hits = {row.max_rows: row.n_hits for row in measured}
    assert n_hits == {1: 0.0, 2: 1.0, 4: 9.0}  # 4 rows make 6 pairs, 3 rows 3
    assert affordable_frequency(n_hits, max_hits=5) == 2


def test_groups_are_connected_components(spark):
    edges = [(1, 9), (9, 5), (5, 7), (2, 3), (3, 4), (2, 4)]
    same = spark.createDataFrame(
        [(min(e), max(e)) for e in edges], "song_id long, other_song_id long"
    )
    labels = {row.song_id: row.label for row in group_labels(same).collect()}
    assert labels == {1: 1, 9: 1, 5: 1, 7: 1, 2: 2, 3: 2, 4: 2}


def test_each_pair_names_its_group_and_the_copy_to_keep(spark):
    best_last = "534126"
    copies = spark.createDataFrame(
        [(int(i), i, (30.0 if i in "56" else 60.0, place)) for place, i in enumerate(best_last)],
        "song_id long, song string, quality struct<length_s double, place int>",
    )
    overlaps = [(2, 1, "same recording"), (3, 4, "same recording"), (1, 5, "shared passage")]
    rows = spark.createDataFrame(
        [(a, b, 9.0, 0.0, 0.0, 1.0, 9, 0.0, kind) for a, b, kind in overlaps],
        ", ".join(f"{f.name} {f.dataType.simpleString()}" for f in OVERLAPS) + ", kind string",
    )
    # Song 6 is half of song 1, at higher quality.
    labels = spark.createDataFrame(
        [(1, 1), (2, 1), (6, 1), (3, 3), (4, 3)], "song_id long, label long"
    )
    found = rows.transform(duplicates.report, labels=labels, copies=copies)
    assert found.columns == list(duplicates.COLUMNS)
    assert [(r.group, r.song, r.other_song, r.keep) for r in found.collect()] == [
        (1, "2", "1", "2"),
        (3, "3", "4", "4"),
        (None, "1", "5", None),
    ]
