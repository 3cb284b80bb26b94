"""Spectrogram, saliency and landmarks, compared with slower implementations."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from sonic_lib.features.librosa_import import load_librosa
from sonic_lib.fingerprint import landmarks as lm
from sonic_lib.fingerprint.landmarks import BIN, FRAME, RANK, STRENGTH, find_landmarks
from sonic_lib.fingerprint.params import (
    BIN_HZ,
    FRAMES_PER_S,
    HOP_SAMPLES,
    SAMPLE_RATE_HZ,
    WINDOW_SAMPLES,
    FingerprintParams,
)
from sonic_lib.fingerprint.spectrogram import CELL, log_spectrogram, saliency

# ---- log_spectrogram ----


@pytest.mark.parametrize("n_samples", [768, 769, 1151, 1152, 50_001])
def test_spectrogram_matches_librosa(rng, params, n_samples):
    samples = rng.normal(0, 0.1, n_samples).astype(np.float32)
    stft = load_librosa().stft(samples, n_fft=768, hop_length=384, window="hann", center=False)
    power = np.abs(stft.T) ** 2 / (768 / 4) ** 2 + 1e-10
    expected = 10 * np.log10(power[:, params.first_bin : params.last_bin])
    levels = log_spectrogram(samples, params=params)
    assert levels.dtype == np.float32
    np.testing.assert_allclose(levels, expected, atol=0.01)


def test_full_scale_sine_has_0_db_and_silence_the_floor(params):
    t_s = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    sine = np.sin(2 * np.pi * 100 * BIN_HZ * t_s).astype(np.float32)
    levels = log_spectrogram(sine, params=params)
    np.testing.assert_allclose(levels.max(axis=1), 0, atol=0.01)
    assert set(levels.argmax(axis=1)) == {100 - params.first_bin}
    np.testing.assert_allclose(log_spectrogram(0 * sine, params=params), -100, atol=1e-4)


@pytest.mark.parametrize("n_samples", [0, 1, WINDOW_SAMPLES - 1])
def test_less_than_a_window_gives_no_frame(params, n_samples):
    levels = log_spectrogram(np.zeros(n_samples, np.float32), params=params)
    assert levels.shape == (0, params.last_bin - params.first_bin)


def test_band_is_as_requested():
    narrow = FingerprintParams(min_hz=1000.0, max_hz=2000.0)
    levels = log_spectrogram(np.zeros(WINDOW_SAMPLES, np.float32), params=narrow)
    assert (narrow.first_bin, narrow.last_bin, levels.shape) == (64, 128, (1, 64))


# ---- saliency ----


def filtered(x, sigma_frames, sigma_bins):
    sigmas = (sigma_frames, sigma_bins)
    return scipy.ndimage.gaussian_filter(np.asarray(x, float), sigmas, mode="nearest", truncate=3)


def test_saliency_on_cells_is_close_to_full_resolution(song, params):
    levels = log_spectrogram(song, params=params)
    salient, smoothed = saliency(levels)
    smoothed_exactly = filtered(levels, 1.5, 1.0)
    np.testing.assert_allclose(smoothed, smoothed_exactly, atol=0.01)
    above = smoothed_exactly - filtered(smoothed_exactly, 16, 8)
    expected = above / np.sqrt(filtered(above**2, 12, 6) + 0.75**2)
    assert np.abs(salient - expected).mean() < 0.05
    inner = (slice(2 * CELL, -2 * CELL),) * 2
    assert np.abs(salient - expected)[inner].max() < 0.5
    assert expected.std() > 0.8  # so the tolerances are small


def test_saliency_is_invariant_to_level_and_slow_tilt(song, params):
    levels = log_spectrogram(song, params=params)
    tilt = np.linspace(0, 40, levels.shape[1], dtype=np.float32)
    salient, _ = saliency(levels)
    tilted, _ = saliency(levels + tilt - 20)
    inner = (slice(None), slice(30, -30))  # at the edges a tilt has an effect
    assert np.abs(salient - tilted)[inner].max() < 0.05


# ---- local maxima, ranks ----


def maxima_by_brute_force(z):
    found = []
    for t in range(1, z.shape[0] - 1):
        for f in range(1, z.shape[1] - 1):
            top = z[max(0, t - 3) : t + 4, max(0, f - 2) : f + 3].max()
            before = [
                z[a, b]
                for a in range(max(0, t - 3), min(t + 4, z.shape[0]))
                for b in range(max(0, f - 2), min(f + 3, z.shape[1]))
                if (a, b) < (t, f)
            ]
            if lm.MIN_SALIENCY <= z[t, f] == top and all(v < top for v in before):
                found.append((t, f))
    return found


def test_local_maxima_match_scipy(rng):
    z = scipy.ndimage.gaussian_filter(rng.normal(size=(300, 200)), 1).astype(np.float32)
    z *= 2 / z.std()
    found = lm._local_maxima(z, np.zeros_like(z))
    is_maximum = (z == scipy.ndimage.maximum_filter(z, size=(7, 5))) & (z >= lm.MIN_SALIENCY)
    is_maximum[[0, -1]] = is_maximum[:, [0, -1]] = False
    expected = np.argwhere(is_maximum)
    assert len(expected) > 300
    np.testing.assert_allclose(found[:, :2], expected, atol=0.5)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), n_frames=st.integers(3, 30), n_bins=st.integers(3, 20))
def test_first_of_equal_cells_is_the_maximum(seed, n_frames, n_bins):
    rng = np.random.default_rng(seed)
    z = rng.integers(0, 4, (n_frames, n_bins)).astype(np.float32)  # full of ties
    z[rng.random(z.shape) < 0.7] = 0
    expected = np.reshape(maxima_by_brute_force(z), (-1, 2))
    np.testing.assert_allclose(lm._local_maxima(z, z)[:, :2], expected, atol=0.5)


def test_ranks_count_the_stronger_landmarks_within_a_second(rng):
    frames = np.sort(rng.uniform(0, 400, 500))
    strengths = rng.integers(0, 40, 500)  # with ties, which the earlier one wins
    landmarks = np.column_stack([frames, np.zeros(500), strengths, np.zeros(500)])
    lm._rank(landmarks)
    order = np.arange(500)
    for i in range(500):
        near = np.abs(frames - frames[i]) <= FRAMES_PER_S
        wins = (strengths > strengths[i]) | ((strengths == strengths[i]) & (order < i))
        assert landmarks[i, RANK] == np.count_nonzero(near & wins)


# ---- find_landmarks ----


@pytest.mark.parametrize("tone_hz", [517.3, 1001.0, 1563.9, 2750.0, 4444.4, 5200.0])
def test_tone_burst_is_found_at_its_position(rng, params, tone_hz):
    t_s = np.arange(4 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    burst = 0.3 * np.sin(2 * np.pi * tone_hz * t_s) * np.exp(-0.5 * ((t_s - 2) / 0.05) ** 2)
    samples = (burst + rng.normal(0, 1e-3, t_s.size)).astype(np.float32)
    found = find_landmarks(samples, params=params)
    strongest = found[np.argmax(found[:, STRENGTH])]
    middle_of_window_frames = (2 * SAMPLE_RATE_HZ - WINDOW_SAMPLES / 2) / HOP_SAMPLES
    assert strongest[BIN] == pytest.approx(tone_hz / BIN_HZ, abs=0.2)
    assert strongest[FRAME] == pytest.approx(middle_of_window_frames, abs=0.2)
    assert strongest[RANK] == 0


def test_landmarks_are_sorted_in_the_band_and_within_the_density(song, params):
    found = find_landmarks(song, params=params)
    assert found.shape[1] == 4
    assert (np.diff(found[:, FRAME]) >= 0).all()
    assert (found[:, BIN] > params.first_bin).all()
    assert (found[:, BIN] < params.last_bin).all()
    assert found[:, RANK].max() < 2 * params.densities_per_s[-1]
    density_per_s = len(found) / (song.size / SAMPLE_RATE_HZ)
    assert 0.7 * params.densities_per_s[-1] < density_per_s <= 1.3 * params.densities_per_s[-1]


@pytest.mark.parametrize("n_samples", [0, 100, WINDOW_SAMPLES, WINDOW_SAMPLES + 5 * HOP_SAMPLES])
def test_too_short_a_sound_has_no_landmarks(rng, params, n_samples):
    samples = rng.normal(0, 0.1, n_samples).astype(np.float32)
    assert find_landmarks(samples, params=params).shape == (0, 4)


def test_silence_has_no_landmarks(params):
    assert len(find_landmarks(np.zeros(60_000, np.float32), params=params)) == 0


def test_non_finite_values_are_no_landmarks(rng, params):
    samples = rng.normal(0, 0.1, 60_000).astype(np.float32)
    samples[20_000:40_000] = np.nan
    found = find_landmarks(samples, params=params)
    assert np.isfinite(found).all()
