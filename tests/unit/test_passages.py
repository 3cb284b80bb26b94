"""Overlaps of two songs, on synthetic hits with known truth."""

from __future__ import annotations

import numpy as np
import pytest

from sonic_lib.fingerprint.params import FRAMES_PER_S
from sonic_lib.matching.overlap import common_passages


def chance(rng, n: int, length_s: float) -> tuple[np.ndarray, np.ndarray]:
    n_frames = int(length_s * FRAMES_PER_S)
    return rng.integers(0, n_frames, n), rng.integers(0, n_frames, n)


def passage(rng, start_s, length_s, other_start_s, *, speed=1.0, votes_per_s=4.0):
    """Hits of an overlap; the first and the last are at its ends."""
    s = np.sort(rng.uniform(0, length_s, int(votes_per_s * length_s)))
    s[0], s[-1] = 0.0, length_s
    frames = np.rint((start_s + s) * FRAMES_PER_S).astype(int)
    other = np.rint((other_start_s + speed * s) * FRAMES_PER_S).astype(int)
    return frames, other


def overlap(*hits):
    frames, other = (np.concatenate(parts).astype(np.int32) for parts in zip(*hits, strict=True))
    return common_passages(frames, other, np.full(len(frames), 8.0, np.float32))


@pytest.mark.parametrize("speed", [1.0, 0.98, 1.02])
def test_copy_is_found_at_its_position_and_speed(rng, speed):
    found = overlap(chance(rng, 800, 240), passage(rng, 20, 150, 45, speed=speed, votes_per_s=1.5))
    assert found.overlap_s == pytest.approx(150, abs=3)
    assert found.start_s == pytest.approx(20, abs=1)
    assert found.other_start_s == pytest.approx(45, abs=1)
    assert found.speed == pytest.approx(speed, abs=0.002)
    assert found.n_votes == pytest.approx(225, abs=12)
    assert found.p_value < 1e-20


def test_overlap_of_ten_seconds_is_found(rng):
    found = overlap(chance(rng, 800, 240), passage(rng, 100, 10, 20))
    assert found.overlap_s == pytest.approx(10, abs=1.5)
    assert found.p_value < 1e-9


def test_parts_missing_from_a_copy_are_not_counted(rng):
    """The copy lacks 60..90 s, which leaves two overlaps on two lines."""
    found = overlap(
        chance(rng, 500, 240), passage(rng, 0, 60, 0), passage(rng, 90, 100, 60)
    )  # fmt: skip
    assert found.overlap_s == pytest.approx(160, abs=4)
    assert found.start_s == pytest.approx(90, abs=1)
    assert found.other_start_s == pytest.approx(60, abs=1)


@pytest.mark.parametrize("seed", range(5))
def test_chance_hits_alone_give_no_overlap(seed):
    found = overlap(chance(np.random.default_rng(seed), 3000, 240))
    assert found is None or found.p_value > 1e-6


def test_repeated_sound_is_not_an_overlap(rng):
    """A drum sample: many hits in both songs, within a second."""
    frames = np.repeat(np.arange(500, 530), 10)
    assert overlap(chance(rng, 500, 240), (frames, frames)) is None


def test_few_hits_give_no_overlap():
    assert overlap((np.arange(5), np.arange(5))) is None
