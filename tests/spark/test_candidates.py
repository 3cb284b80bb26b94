"""The join of clips with the table, in SQL and in slices, against a matcher in plain Python."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sonic_lib.fingerprint.descriptor import LOG_LIKELIHOOD_RATIO
from sonic_lib.fingerprint.params import FRAME_S, HASH_BITS
from sonic_lib.fingerprint.query import WindowHashes, window_row
from sonic_lib.matching.all_hits import find_all_hits, looked_up
from sonic_lib.matching.budget import CHUNK_BYTES, MIN_FREQUENCY_LIMIT, affordable_frequency
from sonic_lib.matching.join import unpack_hits
from sonic_lib.matching.scan import IndexFiles
from sonic_lib.matching.spark import cut_windows, join_parts, match_windows, segments
from sonic_lib.schemas import CLIP_EXTRACTS, HIT_PARTS, LINES, QUERY_PARTS, SEGMENTS

PREFIX_BITS = 2
EVERYTHING = 1 << 20


@dataclass(frozen=True)
class World:
    """A small index and some clips."""

    rows: list[tuple[int, int, int, int]]  # hash, song_id, offset_frames, descriptor
    songs: list[int]
    clips: dict[str, list[tuple[int, int, int]]]  # path -> hash, frame, descriptor
    n_frames: float


def random_world(seed: int) -> World:
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 1 << HASH_BITS, int(rng.integers(5, 60)))
    bits = rng.integers(-(2**31), 2**31, 3)
    rows = zip(
        rng.choice(hashes, 400),
        rng.integers(0, 9, 400),
        rng.integers(0, 50, 400),
        rng.choice(bits, 400),
        strict=True,
    )
    clips = {
        f"/clip {k}": sorted(
            zip(
                rng.choice([*hashes, 1, 2], 40).tolist(),
                rng.integers(-8, 8, 40).tolist(),
                rng.choice(bits, 40).tolist(),
                strict=True,
            )
        )
        for k in range(4)
    }
    return World(
        sorted({tuple(map(int, row)) for row in rows}),
        [0, 1, 2, 4, 5, 7, 8],  # songs 3 and 6 were never committed
        clips,
        float(rng.integers(500, 90_000)),
    )


def hits_by_brute_force(world: World) -> list[tuple]:
    """Clip, frame, song, offset and weight of every hit with a non-zero weight, in order."""
    stored = [row for row in world.rows if row[1] in world.songs]
    n_rows = Counter(row[0] for row in stored)
    hits = []
    for path, clip in world.clips.items():
        for wanted, frame, asked in clip:
            for hash_, song_id, offset, descriptor in stored:
                distance = ((asked ^ descriptor) & 0xFFFFFFFF).bit_count()
                if hash_ == wanted:
                    weight = math.log(world.n_frames / n_rows[hash_])
                    weight += float(LOG_LIKELIHOOD_RATIO[distance])
                    if weight >= 1 / 16:
                        hits.append((path, frame, song_id, offset, round(weight, 3)))
    return sorted(hits)


@pytest.fixture
def frames(spark, tmp_path):
    """The tables of a world, its files, and what its clips look up."""

    def make(world: World):
        files = defaultdict(list)
        for prefix in range(1 << PREFIX_BITS):
            rows = [row for row in world.rows if row[0] >> (HASH_BITS - PREFIX_BITS) == prefix]
            columns = np.array(rows, np.int64).reshape(-1, 4).T
            kinds = (np.int64, np.int64, np.int32, np.int32)
            names = ("hash", "song_id", "offset_frames", "descriptor")
            table = {n: c.astype(k) for n, c, k in zip(names, columns, kinds, strict=True)}
            files[prefix].append(str(tmp_path / f"{prefix}.parquet"))
            pq.write_table(pa.table(table), files[prefix][-1])
        lost = {row[1] for row in world.rows} - set(world.songs)
        n_rows = len(world.rows)
        excluded = np.array(sorted(lost), np.int64)
        index = IndexFiles(dict(files), PREFIX_BITS, n_rows, world.n_frames, excluded)
        fingerprints = spark.createDataFrame(
            [(row[0] >> (HASH_BITS - PREFIX_BITS), *row) for row in world.rows],
            "hash_prefix int, hash long, song_id long, offset_frames int, descriptor int",
        )
        songs = spark.createDataFrame([(s,) for s in world.songs], "song_id long")
        extracts = [extract(path, clip) for path, clip in world.clips.items()]
        closing = [{"path": path, "duration_s": 5.0} for path in world.clips]
        rows = [tuple(r.get(n) for n in CLIP_EXTRACTS.names) for r in [*extracts, *closing]]
        return fingerprints, songs, spark.createDataFrame(rows, CLIP_EXTRACTS), index

    return make


def extract(path: str, clip: list[tuple[int, int, int]], **window) -> dict:
    hashes, places, descriptors = np.array(sorted(clip), np.int64).T
    n = len(hashes)
    columns = (np.zeros(n, np.int8), places.astype(np.int32), np.zeros(n, np.float32))
    looked_up = WindowHashes(0, 0.0, 5.0, hashes, *columns, descriptors.astype(np.int32))
    return {"path": path} | window_row(looked_up) | window


@pytest.mark.parametrize("seed", range(2))
def test_hits_in_sql_match_brute_force(frames, seed):
    world = random_world(seed)
    fingerprints, songs, extracts, index = frames(world)
    hits = fingerprints.transform(
        find_all_hits,
        hashes=extracts.transform(looked_up, prefix_bits=PREFIX_BITS),
        songs=songs,
        n_index_frames=index.n_frames,
    )
    paths = window_paths(extracts)
    found = sorted(
        (paths[h.window_id], h.frame, h.song_id, h.offset_frames, round(h.weight, 3))
        for h in hits.filter("weight >= 1/16").collect()
    )
    expected = hits_by_brute_force(world)
    assert len(expected) > 100
    assert found == [pytest.approx(hit, abs=0.002) for hit in expected]


@pytest.mark.parametrize(
    ("parts_bits", "chunk_bytes"), [(0, 1), (0, 1_000), (2, CHUNK_BYTES), (4, CHUNK_BYTES)]
)
@pytest.mark.parametrize("seed", range(2))
def test_hits_of_all_parts_match_brute_force(frames, seed, parts_bits, chunk_bytes, monkeypatch):
    monkeypatch.setattr("sonic_lib.matching.spark.CHUNK_BYTES", chunk_bytes)
    world = random_world(seed)
    _, _, extracts, index = frames(world)
    parts = extracts.transform(cut_windows, parts_bits=parts_bits)
    assert parts.schema.names == QUERY_PARTS.names
    hits = parts.transform(join_parts, index=index, parts_bits=parts_bits, max_hits=EVERYTHING)
    assert hits.schema.names == HIT_PARTS.names
    paths = window_paths(extracts)
    found = []
    for row in hits.collect():
        part = unpack_hits([row.hits])
        columns = (part.frame, part.song_id, part.offset_frames, part.weight)
        for frame, song_id, offset, weight in zip(*(c.tolist() for c in columns), strict=True):
            found.append((paths[row.window_id], frame, song_id, offset, round(weight, 3)))
    expected = hits_by_brute_force(world)
    assert sorted(found) == [pytest.approx(hit, abs=0.002) for hit in expected]


def window_paths(extracts) -> dict[int, str]:
    from sonic_lib.matching.spark import window_id

    windows = extracts.filter("window IS NOT NULL")
    return {row.window_id: row.path for row in windows.select("path", window_id()).collect()}


@pytest.mark.parametrize("max_hits", [16 * 3, EVERYTHING])
def test_clip_gets_the_same_lines_alone_and_in_a_batch(frames, max_hits):
    world = random_world(3)
    _, _, extracts, index = frames(world)
    options = {"index": index, "max_hits": max_hits, "n_listed": 5}
    together = extracts.transform(match_windows, parts_bits=3, **options).collect()
    assert {row.window_id for row in together} == set(window_paths(extracts))
    for path in world.clips:
        alone = extracts.filter(extracts.path == path)
        for bits in (0, 2):
            rows = alone.transform(match_windows, parts_bits=bits, **options).collect()
            ids = {row.window_id for row in rows}
            assert sorted(rows) == sorted(row for row in together if row.window_id in ids)


@pytest.mark.parametrize(
    ("max_hits", "expected"), [(5, 1), (10, 2), (39, 4), (10_000, MIN_FREQUENCY_LIMIT)]
)
def test_frequent_hashes_are_dropped_first(max_hits, expected):
    n_hits = {4: 20, 1: 6, 2: 4, 64: 500}
    assert affordable_frequency(n_hits, max_hits=max_hits) == expected


def test_windows_are_identified_by_their_hashes(frames):
    rng = np.random.default_rng(3)
    songs = {
        s: [(int(h), s, t, 9) for t, h in enumerate(rng.integers(0, 2**40, 200))]
        for s in range(1, 6)
    }
    clips = {
        "/clip": [(h, t - 140, 9) for h, _, t, _ in songs[4][120:160]],
        "/noise": [(int(h), t, 9) for t, h in enumerate(rng.integers(0, 2**40, 50))],
    }
    world = World(sorted(row for rows in songs.values() for row in rows), list(songs), clips, 1e3)
    _, _, extracts, index = frames(world)
    lines = extracts.transform(
        match_windows, index=index, parts_bits=2, max_hits=EVERYTHING, n_listed=3
    )
    assert lines.schema.names == LINES.names
    (line,) = lines.collect()  # the noise shares nothing with the index: no row
    assert window_paths(extracts)[line.window_id] == "/clip"
    assert (line["rank"], line.song_id, line.n_votes) == (1, 4, 40)
    assert line.offset_s == pytest.approx(140 * FRAME_S)

    windows = lines.sparkSession.createDataFrame(
        [(line.window_id, "/clip", 2.56, 0, 0.0, 2.56)],
        "window_id long, path string, duration_s double, window int, start_s double, end_s double",
    )
    found = lines.transform(segments, windows=windows, false_accept_rate=0.01, n_listed=3)
    assert found.schema.names == SEGMENTS.names
    (row,) = found.collect()
    assert (row.path, row.song_id, row.accepted, row.speed) == ("/clip", 4, True, 1.0)
    assert row.offset_s == pytest.approx((140 - 40) * FRAME_S)
