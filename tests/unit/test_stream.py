"""Long recordings: the hashes do not depend on how the samples arrive."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonic_lib.audio.styles import STYLES
from sonic_lib.audio.synth import synth_song
from sonic_lib.fingerprint.hashes import reference_hashes
from sonic_lib.fingerprint.landmarks import find_landmarks
from sonic_lib.fingerprint.params import HOP_SAMPLES, FingerprintParams
from sonic_lib.fingerprint.stream import CONTEXT_FRAMES, stream_hashes

PARAMS = FingerprintParams()


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    """50 s: loud and soft styles, and a silence between two of them."""
    songs = [
        synth_song(5, style=style, duration_s=9, sample_rate_hz=12_000).mean(axis=1)
        for style in list(STYLES)[:5]
    ]
    songs.insert(2, np.zeros(60_000, np.float32))
    return np.concatenate(songs)


def in_order(stretches):
    hashes, frames = (np.concatenate(part) for part in zip(*stretches, strict=True))
    order = np.lexsort((frames, hashes))
    return np.stack([hashes[order], frames[order]])


@pytest.fixture(scope="module")
def in_one_piece(recording) -> dict[bool, np.ndarray]:
    return {
        query: in_order(stream_hashes([recording], params=PARAMS, query=query))
        for query in (False, True)
    }


@pytest.mark.parametrize("query", [False, True])
@settings(deadline=None, max_examples=15)
@given(
    cuts=st.lists(st.integers(0, 600_000), max_size=12),
    core_cells=st.integers(8, 500),
)
def test_hashes_depend_neither_on_blocks_nor_on_stretches(
    recording, in_one_piece, query, cuts, core_cells
):
    blocks = np.split(recording, sorted(cut for cut in cuts if cut <= recording.size))
    stretches = list(stream_hashes(blocks, params=PARAMS, query=query, core_frames=4 * core_cells))
    np.testing.assert_array_equal(in_order(stretches), in_one_piece[query])
    n_frames = recording.size // HOP_SAMPLES
    assert len(stretches) >= (n_frames - 2 * CONTEXT_FRAMES) // (4 * core_cells)


def test_one_sample_at_a_time_is_as_good(recording):
    short = recording[:30_000]
    single = (short[i : i + 1] for i in range(short.size))
    expected = in_order(stream_hashes([short], params=PARAMS))
    assert expected.shape[1] > 50
    np.testing.assert_array_equal(in_order(stream_hashes(single, params=PARAMS)), expected)


def test_a_stretch_holds_the_hashes_of_its_samples(recording, in_one_piece):
    hashes, frames = reference_hashes(find_landmarks(recording, params=PARAMS), params=PARAMS)
    np.testing.assert_array_equal(np.stack([hashes, frames]), in_one_piece[False])


def test_stretches_do_not_overlap(recording):
    stretches = list(stream_hashes([recording], params=PARAMS, core_frames=400))
    last = -1
    for _, frames in stretches:
        assert frames.min() >= last
        last = frames.max()


def test_memory_held_does_not_grow_with_the_recording(recording):
    held = []

    def blocks():
        for _ in range(6):
            for start in range(0, recording.size, 12_000):
                held.append(start)
                yield recording[start : start + 12_000]

    at_each_stretch = []
    for _ in stream_hashes(blocks(), params=PARAMS, core_frames=800):
        at_each_stretch.append(len(held))
    # A stretch comes as soon as its samples are there, not at the end of the recording.
    steps = np.diff(at_each_stretch)
    assert len(steps) > 8
    assert steps.max() <= 1 + 800 * HOP_SAMPLES / 12_000


@pytest.mark.parametrize("query", [False, True])
@pytest.mark.parametrize("n_samples", [1, 767, 2_000])
def test_too_short_a_sound_gives_no_hash(rng, query, n_samples):
    noise = rng.normal(0, 0.1, n_samples).astype(np.float32)
    hashes, frames = in_order(stream_hashes([noise], params=PARAMS, query=query))
    assert hashes.size == frames.size == 0


def test_no_block_gives_no_stretch():
    assert list(stream_hashes([], params=PARAMS)) == []


def test_a_clip_that_starts_anywhere_shares_hashes_with_its_song(recording, in_one_piece):
    stored = set(map(tuple, in_one_piece[False].T.tolist()))
    start = 3 * 108_000 + 60_000 + 4_000 + 151  # between the frames of the song
    clip = recording[start : start + 60_000]
    hashes, frames = in_order(stream_hashes([clip], params=PARAMS, query=True))
    offset = start / HOP_SAMPLES
    votes = {
        delta: sum((h, f + delta) in stored for h, f in zip(hashes, frames, strict=True))
        for delta in range(int(offset) - 3, int(offset) + 5)
    }
    assert abs(max(votes, key=votes.get) - offset) < 1
    assert max(votes.values()) > 60
