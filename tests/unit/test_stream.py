"""Long recordings: the hashes do not depend on how the samples arrive."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonic_lib.fingerprint.hashes import reference_hashes
from sonic_lib.fingerprint.landmarks import analyse
from sonic_lib.fingerprint.params import HOP_SAMPLES, FingerprintParams
from sonic_lib.fingerprint.query import n_windows
from sonic_lib.fingerprint.stream import (
    CONTEXT_FRAMES,
    MAX_SINGLE_S,
    WINDOW_HOP_S,
    WINDOW_S,
    stream_hashes,
    stream_windows,
)
from sonic_lib.fingerprint.variants import VARIANTS, Probe, sparing
from sonic_lib.synth.composer import synth_song
from sonic_lib.synth.styles import STYLES

PARAMS = FingerprintParams()
ONE_GRID = (Probe(n_grids=1),)


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    """50 s of loud and soft styles, with a silence between two of them."""
    songs = [
        synth_song(5, style=style, duration_s=9, sample_rate_hz=12_000).mean(axis=1)
        for style in list(STYLES)[:5]
    ]
    songs.insert(2, np.zeros(60_000, np.float32))
    return np.concatenate(songs)


def in_order(stretches):
    hashes, frames, bits = (np.concatenate(part) for part in zip(*stretches, strict=True))
    order = np.lexsort((frames, hashes))
    return np.stack([hashes[order], frames[order], bits[order]])


def places_of(in_one_piece) -> set[tuple[int, int]]:
    """Hashes and frames of a song as stored in the table."""
    return set(map(tuple, in_one_piece[:2].T.tolist()))


@pytest.fixture(scope="module")
def in_one_piece(recording) -> np.ndarray:
    return in_order(stream_hashes([recording], params=PARAMS))


@settings(deadline=None, max_examples=15)
@given(
    cuts=st.lists(st.integers(0, 600_000), max_size=12),
    core_cells=st.integers(8, 500),
)
def test_hashes_depend_neither_on_blocks_nor_on_chunks(recording, in_one_piece, cuts, core_cells):
    blocks = np.split(recording, sorted(cut for cut in cuts if cut <= recording.size))
    stretches = list(stream_hashes(blocks, params=PARAMS, core_frames=4 * core_cells))
    np.testing.assert_array_equal(in_order(stretches), in_one_piece)
    n_frames = recording.size // HOP_SAMPLES
    assert len(stretches) >= (n_frames - 2 * CONTEXT_FRAMES) // (4 * core_cells)


def test_one_sample_at_a_time_gives_the_same(recording):
    short = recording[:30_000]
    single = (short[i : i + 1] for i in range(short.size))
    expected = in_order(stream_hashes([short], params=PARAMS))
    assert expected.shape[1] > 50
    np.testing.assert_array_equal(in_order(stream_hashes(single, params=PARAMS)), expected)


def test_chunk_holds_the_hashes_of_its_samples(recording, in_one_piece):
    found = reference_hashes(*analyse(recording, params=PARAMS), params=PARAMS)
    np.testing.assert_array_equal(np.stack(found), in_one_piece)


def test_chunks_do_not_overlap(recording):
    stretches = list(stream_hashes([recording], params=PARAMS, core_frames=400))
    last = -1
    for _, frames, _ in stretches:
        assert frames.min() >= last
        last = frames.max()


def test_memory_does_not_grow_with_the_recording(recording):
    held = []

    def blocks():
        for _ in range(6):
            for start in range(0, recording.size, 12_000):
                held.append(start)
                yield recording[start : start + 12_000]

    at_each_stretch = []
    for _ in stream_hashes(blocks(), params=PARAMS, core_frames=800):
        at_each_stretch.append(len(held))
    # A chunk is returned as soon as its samples are available, not at the end.
    steps = np.diff(at_each_stretch)
    assert len(steps) > 8
    assert steps.max() <= 1 + 800 * HOP_SAMPLES / 12_000


@pytest.mark.parametrize("n_samples", [1, 767, 2_000])
def test_too_short_a_sound_gives_no_hash(rng, n_samples):
    noise = rng.normal(0, 0.1, n_samples).astype(np.float32)
    assert in_order(stream_hashes([noise], params=PARAMS)).size == 0
    (window,) = stream_windows([noise], params=PARAMS)
    assert window.hashes.size == window.frames.size == window.detunes.size == 0


def test_no_blocks_give_no_chunks_and_no_windows():
    assert list(stream_hashes([], params=PARAMS)) == []
    assert list(stream_windows([], params=PARAMS)) == []


@pytest.mark.parametrize("duration_s", [0.5, 14.9, 15.1, 19.9, 20.0, 34.0, 49.0])
@pytest.mark.parametrize("core_hops", [16, 48])
def test_windows_cover_the_recording(recording, duration_s, core_hops):
    samples = recording[: round(duration_s * 12_000)]
    core_frames = core_hops * 625 // 4
    windows = list(
        stream_windows([samples], params=PARAMS, probes=ONE_GRID, core_frames=core_frames)
    )
    assert [w.window for w in windows] == list(range(len(windows)))
    assert windows[0].start_s == 0
    assert windows[-1].end_s == pytest.approx(duration_s, abs=0.01)
    for last, window in pairwise(windows):
        assert window.start_s == last.start_s + WINDOW_HOP_S
        assert last.end_s == last.start_s + WINDOW_S
        assert window.end_s - window.start_s < WINDOW_S + WINDOW_HOP_S
    assert len(windows) == 1 or duration_s > MAX_SINGLE_S
    # Where a chunk ends, there may be a shorter one.
    assert 0 <= len(windows) - n_windows(duration_s) <= (core_hops == 16)


def test_windows_do_not_depend_on_chunks(recording):
    long = np.tile(recording, 3)
    whole = list(stream_windows([long], params=PARAMS, probes=ONE_GRID))
    cut = list(stream_windows([long], params=PARAMS, probes=ONE_GRID, core_frames=2500))
    assert len(whole) == len(cut) == 29
    for one, other in zip(whole[:-1], cut, strict=False):
        for column, same in zip(one[3:], other[3:], strict=True):
            np.testing.assert_array_equal(column, same)


def test_wanted_windows_equal_those_of_a_full_read_and_the_rest_is_not_read(recording):
    n_read = 0

    def blocks():
        nonlocal n_read
        for first in range(0, 6 * recording.size, 12_000):
            n_read += 1
            yield np.take(recording, range(first, first + 12_000), mode="wrap")

    whole = list(stream_windows(blocks(), params=PARAMS, probes=ONE_GRID, core_frames=2500))
    n_blocks, n_read = n_read, 0
    options = {"params": PARAMS, "probes": ONE_GRID, "core_frames": 2500}
    wanted = list(stream_windows(blocks(), windows=[17, 2], **options))
    assert [w.window for w in wanted] == [2, 17]
    for window in wanted:
        assert np.array_equal(window.hashes, whole[window.window].hashes)
        assert np.array_equal(window.frames, whole[window.window].frames)
    assert len(whole) > 40
    assert n_read < 0.8 * n_blocks


@pytest.mark.parametrize("speed", [0.84, 1.08])
def test_faster_clip_finds_its_song_through_its_variant(recording, in_one_piece, speed):
    stored = places_of(in_one_piece)
    start = 4_000
    n = 60_000
    clip = np.interp(start + speed * np.arange(n), np.arange(recording.size), recording)
    blocks = [clip.astype(np.float32)]
    variant = VARIANTS.index((speed, speed))
    votes = []
    for probe in (Probe(0), Probe(variant)):
        (window,) = stream_windows(blocks, params=PARAMS, probes=[probe])
        assert set(window.variants) == {probe.variant}
        middle = (start + speed * 0.5 * n) / HOP_SAMPLES
        near = range(int(middle) - 3, int(middle) + 5)
        pairs = list(zip(window.hashes.tolist(), window.frames.tolist(), strict=True))
        votes.append(max(sum((h, f + delta) in stored for h, f in pairs) for delta in near))
        on_line = [
            d
            for h, f, d in zip(window.hashes, window.frames, window.detunes, strict=True)
            if any((h, f + delta) in stored for delta in near)
        ]
    assert votes[1] > 40
    assert votes[0] < 0.2 * votes[1]
    assert abs(np.nanmedian(on_line)) < 0.01  # what the variant does not explain


def test_probes_together_equal_probes_alone(recording):
    probes = (Probe(), Probe(3, n_grids=1), Probe(7, detail=1), Probe(5, n_grids=2))
    together = list(stream_windows([recording], params=PARAMS, probes=probes))
    alone = [list(stream_windows([recording], params=PARAMS, probes=[probe])) for probe in probes]
    assert len(together) == len(alone[0]) > 0
    for window, *parts in zip(together, *alone, strict=True):
        assert np.all(np.diff(window.hashes) >= 0)
        assert window[:3] == parts[0][:3]
        expected = sorted(row for part in parts for row in rows_of(part))
        assert sorted(rows_of(window)) == expected


def rows_of(window):
    columns = (window.hashes, window.variants, window.frames, window.descriptors)
    detunes = np.nan_to_num(window.detunes, nan=9.0)
    return zip(*(column.tolist() for column in (*columns, detunes)), strict=True)


def test_dense_probe_has_all_hashes_of_a_plain_one_and_more_matches_in_noise(
    recording, in_one_piece, rng
):
    stored = places_of(in_one_piece)
    first_frame, n = 300, 120_000
    clip = recording[first_frame * HOP_SAMPLES :][:n]
    noise = rng.normal(0, 2 * np.sqrt(np.mean(clip**2)), n).astype(np.float32)  # at -6 dB
    (plain,), (dense,) = (
        stream_windows([clip + noise], params=PARAMS, probes=[probe])
        for probe in (Probe(), Probe(detail=1))
    )
    assert set(plain.hashes) < set(dense.hashes)
    middle = first_frame + n // (2 * HOP_SAMPLES)
    n_met = []
    for window in (plain, dense):
        pairs = list(zip(window.hashes.tolist(), window.frames.tolist(), strict=True))
        near = range(middle - 2, middle + 3)
        n_met.append(max(sum((h, f + delta) in stored for h, f in pairs) for delta in near))
    assert n_met[1] > 1.2 * n_met[0] > 0


def test_clip_that_starts_anywhere_shares_hashes_with_its_song(recording, in_one_piece):
    stored = places_of(in_one_piece)
    start = 3 * 108_000 + 60_000 + 4_000 + 151  # between the frames of the song
    clip = recording[start : start + 60_000]
    (window,) = stream_windows([clip], params=PARAMS, probes=[Probe()])
    middle = (start + 30_000) / HOP_SAMPLES
    votes = {
        delta: sum(
            (h, f + delta) in stored for h, f in zip(window.hashes, window.frames, strict=True)
        )
        for delta in range(int(middle) - 3, int(middle) + 5)
    }
    assert abs(max(votes, key=votes.get) - middle) < 1
    assert max(votes.values()) > 60


@pytest.mark.parametrize(("n_samples", "is_long"), [(120_000, False), (300_000, True)])
def test_windows_of_long_recordings_are_looked_up_less_densely(recording, n_samples, is_long):
    probes = (Probe(detail=1), Probe(3, n_grids=1))
    windows = stream_windows([recording[:n_samples]], params=PARAMS, probes=probes)
    samples = recording[: min(n_samples, 120_000)]  # of the first window, which is complete
    (close,) = stream_windows([samples], params=PARAMS, probes=probes)
    (sparing_look,) = stream_windows([samples], params=PARAMS, probes=sparing(probes))
    n = len(next(windows).hashes)
    expected = len(sparing_look.hashes) if is_long else len(close.hashes)
    assert n == pytest.approx(expected, rel=0.05)  # at its end a window sees what follows
    assert len(sparing_look.hashes) < 0.7 * len(close.hashes)
