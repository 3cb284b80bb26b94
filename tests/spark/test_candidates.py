"""Votes and best songs, against a matcher in plain Python on random little tables."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
import pytest

from sonic_lib.fingerprint.params import FRAME_S
from sonic_lib.matching.candidates import (
    MAX_BROADCAST_ROWS,
    best_songs,
    choose_plan,
    count_votes,
    rare_fingerprints,
)
from sonic_lib.matching.frame import identify

N_SONGS = 3  # best songs that are kept


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


def votes_by_brute_force(world: World) -> dict[tuple[int, int, int], tuple[float, int]]:
    stored = [row for row in world.fingerprints if row[2] in world.songs]
    n_rows = Counter(row[1] for row in stored)
    votes = defaultdict(list)
    for clip_id, _, clip_hash, clip_frame in world.clip_hashes:
        for _, song_hash, song_id, frame in stored:
            if song_hash == clip_hash and n_rows[song_hash] <= world.max_rows_per_hash:
                weight = math.log(world.n_index_frames / n_rows[song_hash])
                if weight > 0:
                    votes[clip_id, song_id, frame - clip_frame].append(weight)
    return {key: (sum(weights), len(weights)) for key, weights in votes.items()}


def scored_by_brute_force(votes) -> dict[tuple[int, int], list[tuple]]:
    """For each clip and song (evidence, n_votes, offset_s) of every offset, the best first."""
    scored = defaultdict(list)
    for (clip_id, song_id, offset), (weight, _) in votes.items():
        near = [
            (o, votes.get((clip_id, song_id, o), (0, 0))) for o in range(offset - 1, offset + 2)
        ]
        total = sum(w for _, (w, _) in near)
        place = sum(w * o for o, (w, _) in near) / total
        n_votes = sum(n for _, (_, n) in near)
        scored[clip_id, song_id].append((weight / 2 + total / 2, n_votes, place * FRAME_S))
    return {key: sorted(found, reverse=True) for key, found in scored.items()}


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
                world.clip_hashes, "clip_id long, hash_prefix int, hash long, clip_frame int"
            ),
        )

    return make


@pytest.fixture
def votes_of(frames):
    def votes(world: World, broadcast: str = "clips"):
        fingerprints, songs, clip_hashes = frames(world)
        rare = fingerprints.transform(
            rare_fingerprints,
            clip_hashes=clip_hashes,
            songs=songs,
            max_rows_per_hash=world.max_rows_per_hash,
            broadcast=broadcast,
        )
        return rare.transform(
            count_votes,
            clip_hashes=clip_hashes,
            n_index_frames=world.n_index_frames,
            broadcast=broadcast,
        )

    return votes


@pytest.mark.parametrize("broadcast", ["clips", "index", "none"])
@pytest.mark.parametrize("seed", range(3))
def test_votes_and_best_songs_are_those_of_brute_force(votes_of, seed, broadcast):
    world = random_world(seed)
    votes = votes_of(world, broadcast).persist()
    expected = votes_by_brute_force(world)
    assert len(expected) > 100
    found = {(r.clip_id, r.song_id, r.offset): (r.weight, r.n_votes) for r in votes.collect()}
    assert found.keys() == expected.keys()
    for key, (weight, n_votes) in expected.items():
        assert found[key] == (pytest.approx(weight), n_votes)

    scored = scored_by_brute_force(expected)
    best = votes.transform(best_songs, n_songs=N_SONGS).collect()
    for row in best:
        offsets = scored[row.clip_id, row.song_id]
        assert row.evidence == pytest.approx(offsets[0][0])
        # Of offsets with the same evidence, sums that differ in their last bit choose one.
        equals = [tuple(found) for found in offsets if found[0] == pytest.approx(row.evidence)]
        assert any((row.evidence, row.n_votes, row.offset_s) == pytest.approx(e) for e in equals)
    for clip_id in {clip_id for clip_id, _ in scored}:
        evidence = sorted((offsets[0][0] for (c, _), offsets in scored.items() if c == clip_id))
        found = sorted(row.evidence for row in best if row.clip_id == clip_id)
        assert found == pytest.approx(evidence[-N_SONGS:])


def test_schemas_are_those_that_are_documented(votes_of):
    votes = votes_of(random_world(0))
    types = [(f.name, f.dataType.simpleString()) for f in votes.schema]
    assert types == [
        ("clip_id", "bigint"),
        ("song_id", "bigint"),
        ("offset", "int"),
        ("weight", "double"),
        ("n_votes", "bigint"),
    ]
    best = votes.transform(best_songs, n_songs=1)
    assert [(f.name, f.dataType.simpleString()) for f in best.schema] == [
        ("clip_id", "bigint"),
        ("song_id", "bigint"),
        ("evidence", "double"),
        ("n_votes", "bigint"),
        ("offset_s", "double"),
    ]


def test_offset_is_interpolated_between_three_frames(spark):
    votes = spark.createDataFrame(
        [(1, 7, 99, 1.0, 1), (1, 7, 100, 4.0, 3), (1, 7, 101, 3.0, 2), (1, 7, 103, 3.0, 2)],
        "clip_id long, song_id long, offset int, weight double, n_votes long",
    )
    (row,) = votes.transform(best_songs, n_songs=5).collect()
    assert (row.song_id, row.n_votes) == (7, 6)
    assert row.evidence == pytest.approx(4 + 0.5 * (1 + 3))
    assert row.offset_s == pytest.approx((99 + 4 * 100 + 3 * 101) / 8 * FRAME_S)


def test_a_hash_as_common_as_chance_says_nothing_and_stops_nothing(frames, votes_of):
    everywhere = [(0, 5, 1, frame) for frame in range(8)]
    rare = [(1, 6, 1, 3)]
    world = World(everywhere + rare, [1], [(9, 0, 5, 0), (9, 1, 6, 1)], 100, n_index_frames=8.0)
    (best,) = votes_of(world).transform(best_songs, n_songs=5).collect()
    assert best.evidence == pytest.approx(math.log(8))
    assert best.offset_s == pytest.approx(2 * FRAME_S)
    only_common = World(everywhere, [1], [(9, 0, 5, 0)], 100, n_index_frames=8.0)
    assert votes_of(only_common).transform(best_songs, n_songs=5).collect() == []


def test_the_cap_counts_rows_of_stored_songs_only(votes_of):
    rows = [(0, 5, song, frame) for song in (1, 2) for frame in range(3)]
    clip = [(9, 0, 5, 0)]
    assert votes_of(World(rows, [1], clip, 3, 1e6)).count() == 3
    assert votes_of(World(rows, [1, 2], clip, 6, 1e6)).count() == 6
    assert votes_of(World(rows, [1, 2], clip, 5, 1e6)).count() == 0


def test_plan_depends_on_what_fits_into_an_executor():
    few, many = MAX_BROADCAST_ROWS, MAX_BROADCAST_ROWS + 1
    assert choose_plan(n_clip_hashes=few, n_fingerprints=many) == "clips"
    assert choose_plan(n_clip_hashes=few, n_fingerprints=few) == "clips"
    assert choose_plan(n_clip_hashes=many, n_fingerprints=few) == "index"
    assert choose_plan(n_clip_hashes=many, n_fingerprints=many) == "none"


def test_clips_are_identified_by_their_hashes(frames):
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
    answers = clip_hashes.transform(
        identify,
        fingerprints=fingerprints,
        songs=stored,
        n_index_frames=world.n_index_frames,
        max_rows_per_hash=world.max_rows_per_hash,
        broadcast="clips",
        false_accept_rate=0.01,
        n_listed=3,
    )
    (row,) = answers.collect()  # the noise shares nothing with the index: no row
    assert (row.clip_id, row["rank"], row.song_id, row.n_votes) == (77, 1, 4, 40)
    assert row.offset_s == pytest.approx(120 * FRAME_S)
    assert row.accepted
