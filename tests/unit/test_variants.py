"""The grid of speeds, tempos and pitches, and its effect on landmarks."""

from __future__ import annotations

import numpy as np
import pytest

from sonic_lib.fingerprint.landmarks import BIN, FRAME
from sonic_lib.fingerprint.variants import (
    PITCHES,
    SPEEDS,
    TEMPOS,
    UNCHANGED,
    VARIANTS,
    Variant,
    rescale,
)


def test_first_variant_changes_nothing(rng):
    assert VARIANTS[0] == UNCHANGED
    landmarks = rng.random((9, 4))
    np.testing.assert_array_equal(rescale(landmarks, variant=UNCHANGED), landmarks)


def test_grid_reaches_20_percent_and_two_semitones_both_ways():
    assert len(set(VARIANTS)) == len(VARIANTS) == 19
    assert [(v.tempo, v.pitch) for v in (SPEEDS[0], SPEEDS[-1])] == [(0.8, 0.8), (1.2, 1.2)]
    assert all(v.tempo == v.pitch for v in SPEEDS)
    assert [v.tempo for v in TEMPOS] == pytest.approx([0.84, 0.92, 1.08, 1.16])
    assert [12 * np.log2(v.pitch) for v in PITCHES] == pytest.approx([-2, -1, 1, 2])


def test_every_speed_is_close_enough_to_the_grid():
    grid = np.array([1.0, *(v.tempo for v in SPEEDS)])
    speeds = np.linspace(0.79, 1.21, 500)
    mismatch = np.abs(speeds[:, None] / grid - 1).min(axis=1)
    assert mismatch.max() <= 0.03


def test_rescaled_landmarks_match_the_song(rng):
    song = rng.uniform(1, 300, (9, 4))
    clip = song.copy()
    clip[:, FRAME] /= 1.1  # a clip that is 10 % faster, and a semitone lower
    clip[:, BIN] *= 0.944
    np.testing.assert_allclose(rescale(clip, variant=Variant(1.1, 0.944)), song)
    assert clip[0, FRAME] != song[0, FRAME]  # the clip's own are unchanged
