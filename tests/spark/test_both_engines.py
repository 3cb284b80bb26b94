"""The Spark and local engines give the same rows on random indexes, windows and hit budgets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sonic_lib.config import load_config
from sonic_lib.fingerprint.params import FRAME_S, HASH_BITS, FingerprintParams
from sonic_lib.fingerprint.query import WindowHashes, window_row
from sonic_lib.fingerprint.variants import FIRST_PASS, FIRST_PASS_ONLY, VARIANTS
from sonic_lib.index import copies
from sonic_lib.matching.scan import IndexFiles
from sonic_lib.schemas import CLIP_EXTRACTS, SEGMENTS, SONG_FILES
from sonic_lib.storage import creation, delta_rs, writes
from sonic_lib.storage.local_index import LocalIndex
from sonic_lib.workflows import identification, local_engine

KINDS = {"hash": np.int64, "song_id": np.int64, "offset_frames": np.int32, "descriptor": np.int32}
SONG_S, N_HASHES, N_FREQUENT = 40.0, 400, 6
TIMEOUT = "took more than 60 s"
MISSING_SONG = 2  # has fingerprints and no row in `songs`


@dataclass(frozen=True)
class World:
    """An index, and what clips look up in each pass, all drawn from a seed."""

    seed: int
    prefix_bits: int
    n_songs: int
    has_copy: bool
    kept: float  # share of a song's hashes that survive in a clip
    fails: bool  # the first pass of one clip, and the second of others

    def songs(self) -> dict[int, dict[str, np.ndarray]]:
        rng = np.random.default_rng(self.seed)
        frequent = rng.integers(0, 1 << HASH_BITS, N_FREQUENT)
        songs = {}
        for song_id in range(self.n_songs):
            hashes = rng.integers(0, 1 << HASH_BITS, N_HASHES)
            hashes[: N_HASHES // 4] = rng.choice(frequent, N_HASHES // 4)
            songs[song_id] = {
                "hash": hashes,
                "song_id": np.full(N_HASHES, song_id),
                "offset_frames": rng.integers(0, int(SONG_S / FRAME_S), N_HASHES),
                "descriptor": rng.integers(-(2**31), 2**31, N_HASHES),
            }
        if self.has_copy:
            songs[self.n_songs] = songs[0] | {"song_id": np.full(N_HASHES, self.n_songs)}
        return songs

    def index(self, folder) -> IndexFiles:
        """The table as files sorted by hash, two per prefix."""
        songs = [song.values() for song in self.songs().values()]
        columns = [np.concatenate(c) for c in zip(*songs, strict=True)]
        order = np.argsort(columns[0], kind="stable")
        kinds = zip(KINDS.items(), columns, strict=True)
        rows = {name: column[order].astype(kind) for (name, kind), column in kinds}
        prefixes = rows["hash"] >> (HASH_BITS - self.prefix_bits)
        files: dict[int, list[str]] = {}
        for prefix in np.unique(prefixes).tolist():
            for half in range(2):
                path = f"{folder}/{prefix}-{half}.parquet"
                chosen = (prefixes == prefix) & (rows["song_id"] % 2 == half)
                pq.write_table(pa.table({n: c[chosen] for n, c in rows.items()}), path)
                files.setdefault(prefix, []).append(path)
        missing = np.array([MISSING_SONG] if self.n_songs > MISSING_SONG else [], np.int64)
        n_frames = SONG_S / FRAME_S * self.n_songs
        return IndexFiles(files, self.prefix_bits, len(order), n_frames, missing)

    def clips(self) -> dict[str, tuple[int | None, float]]:
        """Song (or None) and length in seconds of each clip, by path."""
        lengths_s = (5.0, 8.0, 25.0, 30.0)
        known = {f"/song {i}": (i % self.n_songs, s) for i, s in enumerate(lengths_s)}
        return known | {"/noise": (None, 6.0), "/long noise": (None, 17.0)}

    def extract(self, path: str, probes, windows=None) -> list[dict]:
        """Rows of `schemas.CLIP_EXTRACTS`; the second pass has more hashes, of other variants."""
        song_id, length_s = self.clips()[path]
        starts_s = np.arange(0.0, length_s - 5.0, 5.0) if length_s > 15 else [0.0]
        rows = []
        for window, start_s in enumerate(starts_s):
            if windows is None or window in windows:
                end_s = min(start_s + 10.0, length_s)
                looked_up = self._look_up(song_id, window, start_s, end_s, probes)
                rows.append({"path": path} | window_row(looked_up))
        return rows

    def end(self, path: str, probes) -> dict:
        """The summary row; a quiet passage in the second pass is no failure, a timeout is."""
        end = {"path": path, "duration_s": self.clips()[path][1]}
        if self.fails and path == "/song 2":
            end |= {"stage": "decode", "error": TIMEOUT}
        elif self.fails and probes != FIRST_PASS:
            if path in ("/song 0", "/song 3"):
                end |= {"stage": "decode", "error": TIMEOUT}
            elif path == "/noise":
                end |= {"stage": "content", "error": "no landmarks"}
        return end

    def _look_up(self, song_id, window, start_s, end_s, probes) -> WindowHashes:
        is_first = probes == FIRST_PASS
        rng = np.random.default_rng([self.seed, window, int(end_s * 10), is_first])
        songs = self.songs()
        middle = int((start_s + end_s) / 2 / FRAME_S)
        n_noise = 60
        hashes = rng.integers(0, 1 << HASH_BITS, n_noise)
        hashes[:20] = rng.choice(songs[0]["hash"][: N_HASHES // 4], 20)
        frames = rng.integers(-150, 150, n_noise)
        descriptors = rng.integers(-(2**31), 2**31, n_noise)
        if song_id is not None:
            song = songs[song_id]
            places = song["offset_frames"] - int(4.0 / FRAME_S)
            is_here = (places >= start_s / FRAME_S) & (places < end_s / FRAME_S)
            is_here &= rng.random(N_HASHES) < (self.kept / 3 if is_first else self.kept)
            hashes = np.concatenate([hashes, song["hash"][is_here]])
            frames = np.concatenate([frames, places[is_here] - middle])
            descriptors = np.concatenate([descriptors, song["descriptor"][is_here] ^ 5])
        variants = np.zeros(len(hashes), np.int8)
        if not is_first:
            variants[:n_noise] = rng.integers(0, len(VARIANTS), n_noise)
        order = np.lexsort((frames, variants, hashes))
        columns = (variants, frames.astype(np.int32), np.zeros(len(hashes), np.float32))
        return WindowHashes(
            *(window, float(start_s), float(end_s)),
            *(column[order] for column in (hashes, *columns, descriptors.astype(np.int32))),
        )


WORLDS = st.builds(
    World,
    seed=st.integers(0, 10_000),
    prefix_bits=st.integers(0, 3),
    n_songs=st.integers(1, 5),
    has_copy=st.booleans(),
    kept=st.sampled_from([0.03, 0.1, 0.3, 0.9]),
    fails=st.booleans(),
)


@example(
    world=World(seed=1, prefix_bits=1, n_songs=3, has_copy=False, kept=0.1, fails=True),
    max_hits=100_000,
    n_listed=1,
)
@given(world=WORLDS, max_hits=st.sampled_from([1000, 100_000]), n_listed=st.integers(1, 5))
@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_both_engines_give_the_same_rows(spark, tmp_path_factory, world, max_hits, n_listed):
    config = load_config(None, [f"identify.max_hits_per_window={max_hits}"])
    index = world.index(tmp_path_factory.mktemp("index"))
    with_spark = _on_spark(spark, world, index, config, n_listed)
    without = _without_spark(world, index, config, n_listed)
    texts = [(row[0], *row[-2:]) for row in with_spark]
    assert texts == [(row[0], *row[-2:]) for row in without]
    note = f"{FIRST_PASS_ONLY}: {TIMEOUT}"
    assert {row[-2] for row in without} <= ({note, None} if world.fails else {None})
    if world.fails:
        assert [row[-2:] for row in without if row[0] == "/song 2"] == [(None, TIMEOUT)]
    for found, expected in zip(with_spark, without, strict=True):
        assert _numbers(found) == pytest.approx(_numbers(expected), nan_ok=True, rel=1e-6)


def test_both_engines_name_a_song_after_the_same_file(spark, warehouse):
    creation.create(spark, warehouse, params=FingerprintParams(), prefix_bits=1)
    files = [
        *((1, "indexed", "/m/b.mp3"), (1, "duplicate", "/m/a.mp3"), (1, "indexed", "/m/c.mp3")),
        *((2, "duplicate", "/n/z/2.mp3"), (2, "duplicate", "/n/y.mp3"), (None, "rejected", "/m/x")),
    ]
    rows = spark.createDataFrame(
        [
            tuple(
                {"song_id": i, "status": s, "path": p, "root": p[:2]}.get(n)
                for n in SONG_FILES.schema.names
            )
            for i, s, p in files
        ],
        SONG_FILES.schema,
    )
    writes.append(rows, warehouse, SONG_FILES)
    expected = {1: "/m/b.mp3", 2: "/n/y.mp3"}
    assert dict(rows.transform(copies.first_files).select("song_id", "path").collect()) == expected
    found = delta_rs.first_files(warehouse)
    assert dict(zip(*found.select(["song_id", "path"]).to_pydict().values(), strict=True)) == (
        expected
    )


COLUMNS = (
    "path",
    "rank",
    *(n for n in SEGMENTS.names if n not in ("path", "rank")),
    "note",
    "error",
)


def _ordered(rows: list[dict]) -> list[tuple]:
    found = [tuple(row.get(name) for name in COLUMNS) for row in rows]
    return sorted(found, key=lambda row: tuple((x is None, x) for x in row[:4]))


def _numbers(row: tuple) -> list[float]:
    return [np.nan if value is None else float(value) for value in row[1:-2]]


def _on_spark(spark, world, index, config, n_listed) -> list[tuple]:
    def fingerprint(clips, *, probes, **_):
        rows = []
        for clip in clips.collect():
            windows = clip.windows if "windows" in clips.columns else None
            rows += world.extract(clip.path, probes, windows)
            rows.append(world.end(clip.path, probes))
        values = [tuple(row.get(name) for name in CLIP_EXTRACTS.names) for row in rows]
        return spark.createDataFrame(values, CLIP_EXTRACTS)

    clips = [(path, 1000) for path in world.clips()]
    found = identification.search(
        spark.createDataFrame(clips, "path string, size_bytes long"),
        identification.Index(None, None, index),
        config,
        n_listed=n_listed,
        fingerprint=fingerprint,
    )
    return _ordered([row.asDict() for row in found.collect()])


def _without_spark(world, index, config, n_listed) -> list[tuple]:
    def extracted(jobs, ends, config, *, probes, chunk_bytes):
        ends |= {path: world.end(path, probes) for path, _ in jobs}
        yield [
            (path, row) for path, windows in jobs for row in world.extract(path, probes, windows)
        ]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_engine, "_extracted", extracted)
        local = LocalIndex("", None, index)
        found = local_engine.identify_clips([*world.clips()], local, config, n_listed=n_listed)
    return _ordered(found)
