"""The join of clips and table, against a matcher in plain Python on random little tables."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from sonic_lib.fingerprint.params import FRAME_S
from sonic_lib.matching.candidates import (
    MAX_BROADCAST_ROWS,
    choose_plan,
    find_hits,
    hits_by_frequency,
    rare_fingerprints,
)
from sonic_lib.matching.frame import _windows, match_windows, segments
from sonic_lib.matching.limits import MAX_ROWS_PER_HASH, affordable_frequency
from sonic_lib.matching.lines import Hits
from sonic_lib.schemas import LINES, SEGMENTS


@dataclass(frozen=True)
class World:
    """A little index and some clips."""

    fingerprints: list[tuple[int, int, int, int]]  # hash_prefix, hash, song_id, offset_frames
    songs: list[int]
    clip_hashes: list[tuple[int, int, int, int]]  # clip_id, hash_prefix, hash, clip_frame
    max_rows_per_hash: int
    n_index_frames: float


def random_world(seed: int) -> World:
    rng = np.random.default_rng(seed)
    n_hashes = int(rng.integers(5, 60))
    rows = zip(
        rng.integers(0, n_hashes, 400),
        rng.integers(0, 9, 400),
        rng.integers(0, 50, 400),
        strict=True,
    )
    clips = zip(
        rng.integers(0, 5, 150),
        rng.integers(0, n_hashes + 5, 150),
        rng.integers(0, 8, 150),
        strict=True,
    )
    return World(
        fingerprints=sorted({(int(h) % 4, int(h), int(s), int(t)) for h, s, t in rows}),
        songs=[0, 1, 2, 4, 5, 7, 8],  # those of 3 and 6 were never committed
        clip_hashes=sorted({(int(c), int(h) % 4, int(h), int(t)) for c, h, t in clips}),
        max_rows_per_hash=int(rng.integers(4, 40)),
        n_index_frames=float(rng.integers(5, 3000)),
    )


def hits_by_brute_force(world: World) -> list[tuple]:
    """clip_id, frame, song_id, offset_frames and weight of every hit, in order."""
    stored = [row for row in world.fingerprints if row[2] in world.songs]
    n_rows = Counter(row[1] for row in stored)
    hits = []
    for clip_id, _, clip_hash, clip_frame in world.clip_hashes:
        for _, song_hash, song_id, frame in stored:
            if song_hash == clip_hash and n_rows[song_hash] <= world.max_rows_per_hash:
                weight = math.log(world.n_index_frames / n_rows[song_hash])
                if weight > 0:
                    hits.append((clip_id, clip_frame, song_id, frame, round(weight, 3)))
    return sorted(hits)


@pytest.fixture
def frames(spark):
    """The tables of a world: fingerprints, songs, clip_hashes."""

    def make(world: World):
        return (
            spark.createDataFrame(
                world.fingerprints,
                "hash_prefix int, hash long, song_id long, offset_frames int",
            ),
            spark.createDataFrame([(s,) for s in world.songs], "song_id long"),
            spark.createDataFrame(
                world.clip_hashes, "clip_id long, hash_prefix int, hash long, frame int"
            ),
        )

    return make


@pytest.fixture
def hits_in(frames):
    def hits(world: World, broadcast: str = "clips"):
        fingerprints, songs, clip_hashes = frames(world)
        rare = fingerprints.transform(
            rare_fingerprints,
            clip_hashes=clip_hashes,
            songs=songs,
            max_rows_per_hash=world.max_rows_per_hash,
            broadcast=broadcast,
        )
        return rare.transform(
            find_hits,
            clip_hashes=clip_hashes,
            n_index_frames=world.n_index_frames,
            broadcast=broadcast,
        )

    return hits


@pytest.mark.parametrize("broadcast", ["clips", "index", "none"])
@pytest.mark.parametrize("seed", range(3))
def test_hits_are_those_of_brute_force(hits_in, seed, broadcast):
    world = random_world(seed)
    hits = hits_in(world, broadcast)
    assert [(f.name, f.dataType.simpleString()) for f in hits.schema] == [
        ("clip_id", "bigint"),
        ("frame", "int"),
        ("song_id", "bigint"),
        ("offset_frames", "int"),
        ("weight", "float"),
    ]
    expected = hits_by_brute_force(world)
    assert len(expected) > 100
    found = sorted((*hit[:4], round(hit.weight, 3)) for hit in hits.collect())
    assert found == expected


def test_a_hash_as_common_as_chance_says_nothing_and_stops_nothing(hits_in):
    everywhere = [(0, 5, 1, frame) for frame in range(8)]
    rare = [(1, 6, 1, 3)]
    world = World(everywhere + rare, [1], [(9, 0, 5, 0), (9, 1, 6, 1)], 100, n_index_frames=8.0)
    (hit,) = hits_in(world).collect()
    assert hit.weight == pytest.approx(math.log(8))
    only_common = World(everywhere, [1], [(9, 0, 5, 0)], 100, n_index_frames=8.0)
    assert hits_in(only_common).isEmpty()


def test_the_cap_counts_rows_of_stored_songs_only(hits_in):
    rows = [(0, 5, song, frame) for song in (1, 2) for frame in range(3)]
    clip = [(9, 0, 5, 0)]
    assert hits_in(World(rows, [1], clip, 3, 1e6)).count() == 3
    assert hits_in(World(rows, [1, 2], clip, 6, 1e6)).count() == 6
    assert hits_in(World(rows, [1, 2], clip, 5, 1e6)).count() == 0


def test_hits_are_foretold_by_frequency(frames):
    world = random_world(1)
    fingerprints, songs, clip_hashes = frames(world)
    foretold = fingerprints.transform(hits_by_frequency, clip_hashes=clip_hashes, songs=songs)
    n_rows = Counter(row[1] for row in world.fingerprints if row[2] in world.songs)
    expected = Counter()
    for _, _, clip_hash, _ in world.clip_hashes:
        if n_rows[clip_hash]:
            expected[2 ** math.ceil(math.log2(n_rows[clip_hash]))] += n_rows[clip_hash]
    assert dict(foretold.collect()) == expected


@pytest.mark.parametrize(
    ("max_hits", "expected"), [(5, 1), (10, 2), (39, 4), (10_000, MAX_ROWS_PER_HASH)]
)
def test_frequent_hashes_are_given_up_first(max_hits, expected):
    n_hits = {4: 20, 1: 6, 2: 4, 64: 500}
    assert affordable_frequency(n_hits, max_hits=max_hits) == expected


def test_plan_depends_on_what_fits_into_an_executor():
    few, many = MAX_BROADCAST_ROWS, MAX_BROADCAST_ROWS + 1
    assert choose_plan(n_clip_hashes=few, n_fingerprints=many) == "clips"
    assert choose_plan(n_clip_hashes=few, n_fingerprints=few) == "clips"
    assert choose_plan(n_clip_hashes=many, n_fingerprints=few) == "index"
    assert choose_plan(n_clip_hashes=many, n_fingerprints=many) == "none"


def test_windows_are_identified_by_their_hashes(frames):
    rng = np.random.default_rng(3)
    songs = {
        s: [(int(h) >> 36, int(h), s, t) for t, h in enumerate(rng.integers(0, 2**40, 200))]
        for s in range(1, 6)
    }
    clip = [(77, prefix, h, t - 120) for prefix, h, _, t in songs[4][120:160]]
    noise = [(88, int(h) >> 36, int(h), t) for t, h in enumerate(rng.integers(0, 2**40, 50))]
    world = World(
        [row for rows in songs.values() for row in rows], list(songs), clip + noise, 9, 1e3
    )
    fingerprints, stored, clip_hashes = frames(world)
    clip_hashes = clip_hashes.withColumnsRenamed({"clip_id": "window_id"}).withColumns(
        {"variant": F.lit(0), "detune": F.lit(0.0).cast("float")}
    )
    lines = clip_hashes.transform(
        match_windows,
        fingerprints=fingerprints,
        songs=stored,
        n_index_frames=world.n_index_frames,
        max_rows_per_hash=world.max_rows_per_hash,
        broadcast="clips",
        n_listed=3,
    )
    assert lines.schema.names == LINES.names
    (line,) = lines.collect()  # the noise shares nothing with the index: no row
    assert (line.window_id, line["rank"], line.song_id, line.n_votes) == (77, 1, 4, 40)
    assert line.offset_s == pytest.approx(120 * FRAME_S)

    windows = stored.sparkSession.createDataFrame(
        [(77, "/clip", 2.56, 0, 0.0, 2.56)],
        "window_id long, path string, duration_s double, window int, start_s double, end_s double",
    )
    found = lines.transform(segments, windows=windows, false_accept_rate=0.01, n_listed=3)
    assert found.schema.names == SEGMENTS.names
    (row,) = found.collect()
    assert (row.path, row.song_id, row.accepted, row.speed) == ("/clip", 4, True, 1.0)
    assert row.offset_s == pytest.approx((120 - 40) * FRAME_S)


@pytest.mark.parametrize("batch_rows", [1, 3, 1000])
def test_hits_of_a_window_are_judged_together_however_they_come(batch_rows):
    ids = [5] * 4 + [-1] * 1 + [2] * 7 + [3] * 2
    columns = {name: range(len(ids)) for name in Hits._fields}
    table = pa.table({"window_id": ids, **columns})
    batches = [table.schema.empty_table().to_batches(), table.to_batches(batch_rows)]
    windows = list(_windows(itertools.chain(*batches)))
    assert [(window, hits.frame.tolist()) for window, hits in windows] == [
        (5, [0, 1, 2, 3]),
        (-1, [4]),
        (2, list(range(5, 12))),
        (3, [12, 13]),
    ]
