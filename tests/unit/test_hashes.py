"""Hashes: their bits, what they depend on and what not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sonic_lib.fingerprint import spectrogram
from sonic_lib.fingerprint.hashes import (
    HASH_BITS,
    describe,
    distinct,
    distinct_order,
    pack,
    query_hashes,
    reference_hashes,
    unpack,
)
from sonic_lib.fingerprint.landmarks import BIN, FRAME, find_landmarks
from sonic_lib.fingerprint.params import HOP_SAMPLES, FingerprintParams
from sonic_lib.fingerprint.spectrogram import CELL
from sonic_lib.fingerprint.stream import CONTEXT_FRAMES
from sonic_lib.synth.styles import STYLES

PARAMS = FingerprintParams()
ROWS_OF_FIVE = st.tuples(st.integers(0, 50), st.just(5))
FIVE_BYTES = arrays(np.int64, ROWS_OF_FIVE, elements=st.integers(0, 255))
FIVE_NUMBERS = arrays(np.float64, ROWS_OF_FIVE, elements=st.integers(-1000, 1000))


def pairs(found) -> set[tuple[int, int]]:
    return set(zip(*(part.tolist() for part in found), strict=True))


# Descriptors are tested in test_descriptor.py.
FLAT = np.zeros((600, PARAMS.last_bin - PARAMS.first_bin), np.float32)


def stored_of(landmarks):
    """Hashes and frames of a reference."""
    return reference_hashes(landmarks, FLAT, params=PARAMS)[:2]


def looked_up_by(landmarks):
    """Hashes and frames of a query."""
    return query_hashes(landmarks, FLAT, params=PARAMS)[:2]


def reference_of(samples) -> set[tuple[int, int]]:
    return pairs(stored_of(find_landmarks(samples, params=PARAMS)))


def shared(a: set, b: set) -> float:
    return len(a & b) / len(a | b)


# ---- bits ----


@given(FIVE_BYTES)
def test_unpacking_reverses_packing(numbers):
    hashes = pack(numbers)
    assert hashes.dtype == np.int64
    assert ((hashes >= 0) & (hashes < 2**HASH_BITS)).all()
    np.testing.assert_array_equal(unpack(hashes), numbers)


@given(FIVE_NUMBERS)
def test_numbers_beyond_a_byte_are_clipped(numbers):
    np.testing.assert_array_equal(unpack(pack(numbers)), np.clip(numbers, 0, 255))


@pytest.mark.parametrize("prefix_bits", [1, 4, 6])
def test_prefixes_of_music_are_evenly_used(make_song, prefix_bits):
    songs = [make_song(style) for style in STYLES]
    hashes = [h for song in songs for h, _ in reference_of(song)]
    counts = np.bincount(np.array(hashes) >> (HASH_BITS - prefix_bits), minlength=2**prefix_bits)
    assert len(counts) == 2**prefix_bits
    assert counts.min() > 0.75 * counts.mean()
    assert counts.max() < 1.25 * counts.mean()


# ---- what is looked up, and what is stored ----


@pytest.fixture
def random_landmarks(rng):
    frames = np.sort(rng.uniform(0, 600, 600))
    return np.column_stack(
        [frames, rng.uniform(26, 350, 600), rng.random(600), np.arange(600) % 64]
    )


def test_reference_hashes_are_among_the_query_hashes(random_landmarks, song):
    for landmarks in (random_landmarks, find_landmarks(song, params=PARAMS)):
        stored = pairs(stored_of(landmarks))
        looked_up = pairs(looked_up_by(landmarks))
        assert len(stored) > 500
        assert stored <= looked_up


def test_query_also_looks_one_step_aside_in_each_number(random_landmarks):
    hashes, frames = stored_of(random_landmarks)
    looked_up = pairs(looked_up_by(random_landmarks))
    numbers = unpack(hashes)
    for k in range(5):
        for step in (-1, 1):
            aside = numbers.copy()
            aside[:, k] += step
            assert pairs((pack(aside), frames)) <= looked_up


def test_query_reports_the_detune_of_each_hash(random_landmarks):
    higher = random_landmarks.copy()
    higher[:, BIN] *= 1.01
    stored = pairs(stored_of(random_landmarks))
    hashes, frames, detunes, _ = query_hashes(higher, FLAT, params=PARAMS)
    is_stored = np.array([p in stored for p in zip(hashes.tolist(), frames.tolist(), strict=True)])
    assert is_stored.sum() > 500
    assert np.nanmedian(detunes[is_stored]) == pytest.approx(np.log(1.01), abs=0.003)


def test_query_above_the_band_of_references_looks_nothing_up(random_landmarks):
    random_landmarks[:, BIN] += 600
    assert looked_up_by(random_landmarks)[0].size == 0


def test_hash_is_described_in_hertz_and_seconds():
    (hash_,) = pack(np.array([[50.0, 132, 126, 2, 5]]))
    assert describe(hash_) == "1562 Hz,  +188 Hz 0.13 s later,   -94 Hz 0.32 s later"


def test_query_finds_simultaneous_landmarks_in_either_order(random_landmarks):
    earlier, later = random_landmarks.copy(), random_landmarks.copy()
    earlier[100, FRAME] = later[101, FRAME] = random_landmarks[100, FRAME]
    earlier[101, FRAME] = later[100, FRAME] = random_landmarks[100, FRAME] + 0.3
    later[[100, 101]] = later[[101, 100]]
    stored = pairs(stored_of(later))
    only_later = stored - pairs(stored_of(earlier))
    assert only_later
    assert only_later <= pairs(looked_up_by(earlier))


def test_pairs_are_distinct_and_sorted(song):
    hashes, frames = stored_of(find_landmarks(song, params=PARAMS))
    assert (hashes.dtype, frames.dtype) == (np.int64, np.int32)
    rows = list(zip(hashes.tolist(), frames.tolist(), strict=True))
    assert rows == sorted(set(rows))


@given(arrays(np.int64, st.tuples(st.just(2), st.integers(0, 60)), elements=st.integers(0, 5)))
def test_distinct_sorts_and_drops_repeats(rows):
    hashes, frames = distinct(*rows)
    assert list(zip(hashes, frames, strict=True)) == sorted(set(zip(*rows, strict=True)))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(0, 500), n_hashes=st.integers(1, 200))
def test_first_of_equal_pairs_is_kept(seed, n, n_hashes):
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**HASH_BITS, n_hashes)[rng.integers(0, n_hashes, n)]
    frames = rng.integers(-5, 5, n)
    order = distinct_order(hashes, frames)
    first = {}
    for place, pair in enumerate(zip(hashes.tolist(), frames.tolist(), strict=True)):
        first.setdefault(pair, place)
    assert order.tolist() == [first[pair] for pair in sorted(first)]


def test_numbers_too_wide_for_a_key_are_refused():
    with pytest.raises(ValueError, match="too wide"):
        distinct_order(np.zeros(2, np.int64), np.array([-1, 2**23 - 1]))


# ---- what hashes do not depend on ----


def test_hashes_do_not_change_when_everything_is_30_db_quieter(make_song, monkeypatch):
    song = make_song()
    loud = reference_of(song)
    monkeypatch.setattr(spectrogram, "FLOOR_DBFS", spectrogram.FLOOR_DBFS - 30)
    assert shared(loud, reference_of(song * np.float32(10**-1.5))) > 0.97


def test_most_hashes_survive_30_db_less_above_the_floor(make_song, rng):
    song = make_song()
    song = (song + rng.normal(0, 0.05, song.size)).astype(np.float32)  # clean samples are rare
    quiet = song * np.float32(10**-1.5)
    assert shared(reference_of(song), reference_of(quiet)) > 0.8


def shifted_share(song, n_frames: int) -> float:
    """Share of hashes that stay, up to their position, when the song starts at a later frame."""
    late = {(h, f + n_frames) for h, f in reference_of(song[n_frames * HOP_SAMPLES :])}
    first = n_frames + CONTEXT_FRAMES
    return shared(
        {pair for pair in late if pair[1] >= first},
        {pair for pair in reference_of(song) if pair[1] >= first},
    )


@pytest.mark.parametrize("n_cells", [1, 3, 20])
def test_hashes_do_not_depend_on_where_a_recording_starts(song, n_cells):
    assert shifted_share(song, n_cells * CELL) == 1.0


@pytest.mark.parametrize("n_frames", [1, 2, 7])
def test_most_hashes_stay_when_a_recording_starts_between_cells(song, n_frames):
    assert shifted_share(song, n_frames) > 0.7


# ---- few landmarks ----


def landmarks_at(*places):
    frames, bins = zip(*places, strict=True) if places else ((), ())
    return np.column_stack([frames, bins, np.ones(len(places)), np.zeros(len(places))])


@pytest.mark.parametrize(
    "places",
    [
        (),
        ((5, 100),),
        ((5, 100), (9, 110)),
        tuple((5 * k, 100) for k in range(9)),  # one pitch
        tuple((5, 100 + 7 * k) for k in range(9)),  # one time
        tuple((5 * k, 100 + 5 * k) for k in range(9)),  # one slope
        ((5, 100),) * 9,  # one point
    ],
)
def test_landmarks_without_a_triangle_give_no_hash(places):
    for function in (stored_of, looked_up_by):
        hashes, frames = function(landmarks_at(*places))
        assert hashes.size == frames.size == 0
        assert (hashes.dtype, frames.dtype) == (np.int64, np.int32)


def test_hash_encodes_its_three_landmarks():
    landmarks = landmarks_at((10, 100), (14, 112), (20, 94), (300, 200))
    hashes, frames = stored_of(landmarks)
    assert frames.tolist() == [10]
    # Frequency in steps of 2 bins, differences of 3 bins from 128 and 2 frames; halves round up.
    assert unpack(hashes).tolist() == [[50, 132, 126, 2, 5]]


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(0, 40), stretch=st.floats(0.0, 1e3))
def test_any_landmarks_can_be_hashed(seed, n, stretch):
    rng = np.random.default_rng(seed)
    frames = np.sort(rng.uniform(0, stretch, n))
    landmarks = np.column_stack([frames, rng.integers(26, 350, n), np.ones(n), np.zeros(n)])
    stored = pairs(stored_of(landmarks))
    assert stored <= pairs(looked_up_by(landmarks))
