"""Landmark descriptors: definition, and robustness to noise and speed."""

from __future__ import annotations

import numpy as np
import pytest

from sonic_lib.fingerprint.descriptor import (
    _PAIRS,
    DESCRIPTOR_BITS,
    LOG_LIKELIHOOD_RATIO,
    REACH_FRAMES,
    describe_triangles,
)
from sonic_lib.fingerprint.hashes import query_hashes, reference_hashes
from sonic_lib.fingerprint.landmarks import BIN, FRAME, analyse
from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.fingerprint.triangles import landmark_triangles
from sonic_lib.fingerprint.variants import VARIANTS, Variant, rescale

PARAMS = FingerprintParams()


def distances(a, b):
    differing = (np.asarray(a) ^ np.asarray(b)).astype(np.uint32)
    return np.unpackbits(differing.view(np.uint8).reshape(-1, 4), axis=1).sum(axis=1)


def described_one_by_one(saliency, landmarks, triangles, origin, variant):
    """The definition, in plain Python."""
    found = []
    for triangle in triangles:
        bits = 0
        for k, pair in enumerate(_PAIRS):
            points = []
            for corner, frames, bins in (pair[:3], pair[3:]):
                mark = landmarks[triangle[corner]]
                frame = (mark[FRAME] + frames) / variant.tempo + origin
                bin_ = (mark[BIN] + bins) * variant.pitch - PARAMS.first_bin
                t = int(np.clip(np.floor(frame + 0.5), 0, saliency.shape[0] - 1))
                f = int(np.clip(np.floor(bin_ + 0.5), 0, saliency.shape[1] - 1))
                points.append(saliency[t, f])
            bits |= int(points[0] > points[1]) << k
        found.append(bits)
    return np.array(found, np.uint32).astype(np.int32)


@pytest.mark.parametrize("variant", [VARIANTS[0], Variant(1.25, 1.5)])
def test_bits_are_comparisons_at_the_point_pairs(rng, variant):
    saliency = rng.normal(size=(120, PARAMS.last_bin - PARAMS.first_bin)).astype(np.float32)
    landmarks = np.zeros((30, 4))
    landmarks[:, FRAME] = np.sort(rng.uniform(-10, 130, 30))
    landmarks[:, BIN] = rng.uniform(PARAMS.first_bin, PARAMS.last_bin, 30)
    triangles = np.sort(rng.integers(0, 30, (40, 3)), axis=1)
    found = describe_triangles(
        saliency, landmarks, triangles, params=PARAMS, origin_frame=2.25, variant=variant
    )
    assert found.dtype == np.int32
    expected = described_one_by_one(saliency, landmarks, triangles, 2.25, variant)
    np.testing.assert_array_equal(found, expected)


def test_no_triangles_have_no_descriptors():
    none = np.zeros((0, 3), np.intp)
    saliency = np.zeros((0, PARAMS.last_bin - PARAMS.first_bin), np.float32)
    assert len(describe_triangles(saliency, np.zeros((0, 4)), none, params=PARAMS)) == 0


def test_pairs_are_distinct_and_within_reach():
    assert _PAIRS.shape == (DESCRIPTOR_BITS, 6)
    assert len(np.unique(_PAIRS, axis=0)) == DESCRIPTOR_BITS
    assert np.abs(_PAIRS[:, [1, 4]]).max() <= REACH_FRAMES
    assert set(_PAIRS[:, [0, 3]].ravel()) == {0, 1, 2}


def test_nearer_descriptors_give_a_hit_more_weight():
    assert LOG_LIKELIHOOD_RATIO.shape == (DESCRIPTOR_BITS + 1,)
    assert np.all(np.diff(LOG_LIKELIHOOD_RATIO) <= 0)
    assert LOG_LIKELIHOOD_RATIO[0] > 5
    assert LOG_LIKELIHOOD_RATIO[DESCRIPTOR_BITS // 2] < -2


def music(rng, seconds: float = 8.0):
    """Tones that come and go, each with two overtones."""
    t = np.arange(int(12_000 * seconds)) / 12_000
    samples = 0.002 * rng.normal(size=t.size)
    for _ in range(int(14 * seconds)):
        start, hz = rng.uniform(0, seconds - 0.3), rng.uniform(120, 1500)
        envelope = np.where(t >= start, np.exp(-(t - start) * rng.uniform(3, 12)), 0.0)
        for overtone in (1, 2, 3):
            samples += 0.1 / overtone * envelope * np.sin(2 * np.pi * hz * overtone * t)
    return samples.astype(np.float32)


def test_true_hits_are_nearer_than_chance_hits(rng):
    song = music(rng)
    noisy = song + (0.3 * song.std() * rng.normal(size=song.size)).astype(np.float32)
    stored = reference_hashes(*analyse(song, params=PARAMS), params=PARAMS)
    asked = query_hashes(*analyse(noisy, params=PARAMS), params=PARAMS)
    asked = (asked[0], asked[1], asked[3])
    query, row = (index.ravel() for index in np.indices((len(asked[0]), len(stored[0]))))
    same = np.flatnonzero(asked[0][query] == stored[0][row])
    query, row = query[same], row[same]
    apart = np.abs(asked[1][query] - stored[1][row])
    distance = distances(asked[2][query], stored[2][row])
    chance = distances(rng.choice(asked[2], 2000), rng.choice(stored[2], 2000))
    assert (apart <= 1).sum() > 50
    assert distance[apart <= 1].mean() < 0.3 * DESCRIPTOR_BITS
    assert chance.mean() > 0.4 * DESCRIPTOR_BITS


def test_faster_clip_has_the_descriptors_of_its_song(rng):
    """Resampled by 5/4, and looked up with the variant that reverses it."""
    import soxr

    song = music(rng)
    faster = soxr.resample(song, 12_000, 9_600).astype(np.float32)
    variant = Variant(1.25, 1.25)
    landmarks, saliency = analyse(song, params=PARAMS)
    fast_landmarks, fast_saliency = analyse(faster, params=PARAMS)
    rescaled = rescale(fast_landmarks, variant=variant)
    near = [
        (i, int(np.argmin(gaps)))
        for i, mark in enumerate(rescaled)
        if (
            gaps := np.abs(landmarks[:, FRAME] - mark[FRAME])
            + np.abs(landmarks[:, BIN] - mark[BIN])
        ).min()
        < 1.0
    ]
    assert len(near) > 30
    # Triangles of landmarks found in both, in the time order of the song.
    ours = landmark_triangles(landmarks, PARAMS.densities_per_s)
    theirs = {j: i for i, j in near}
    both = np.array([t for t in ours if all(corner in theirs for corner in t)])
    other = np.vectorize(theirs.get)(both)
    stored = describe_triangles(saliency, landmarks, both, params=PARAMS)
    options = {"params": PARAMS, "variant": variant}
    asked = describe_triangles(fast_saliency, rescaled, other, **options)
    unscaled = describe_triangles(fast_saliency, fast_landmarks, other, params=PARAMS)
    assert distances(stored, asked).mean() < 0.25 * DESCRIPTOR_BITS
    assert distances(stored, asked).mean() < distances(stored, unscaled).mean() - 1
