"""Degradations: the length, pitch and level of a signal after each."""

from __future__ import annotations

import numpy as np
import pytest

from sonic_lib.audio.degradations import (
    change_pitch,
    change_speed,
    change_tempo,
    reverberate,
    telephone,
    tilt,
)

RATE_HZ = 12_000


def tone(f_hz: float, duration_s: float = 4.0) -> np.ndarray:
    t_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return (0.3 * np.sin(2 * np.pi * f_hz * t_s)).astype(np.float32)


def pitch_hz(x: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x)), 8 * len(x)))
    return np.argmax(spectrum) * RATE_HZ / (8 * len(x))


@pytest.mark.parametrize("factor", [0.9, 1.05])
def test_speed_changes_length_and_pitch(factor):
    x = change_speed(tone(1000), factor=factor)
    assert len(x) == pytest.approx(4 * RATE_HZ / factor, abs=2)
    assert pitch_hz(x) == pytest.approx(1000 * factor, rel=1e-3)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_tempo_changes_length_only(factor):
    x = change_tempo(tone(1000), factor=factor, sample_rate_hz=RATE_HZ)
    assert len(x) == pytest.approx(4 * RATE_HZ / factor, rel=0.01)
    assert pitch_hz(x) == pytest.approx(1000, rel=2e-3)


@pytest.mark.parametrize("factor", [2 ** (-1 / 12), 2 ** (2 / 12)])
def test_pitch_changes_pitch_only(factor):
    x = change_pitch(tone(1000), factor=factor, sample_rate_hz=RATE_HZ)
    assert len(x) == pytest.approx(4 * RATE_HZ, rel=0.01)
    assert pitch_hz(x) == pytest.approx(1000 * factor, rel=3e-3)


def test_tempo_moves_events_proportionally(rng):
    x = 0.001 * rng.standard_normal(6 * RATE_HZ)
    for k in range(6):
        x[k * RATE_HZ + 6000 : k * RATE_HZ + 6100] += 1.0
    moved = change_tempo(x, factor=1.1, sample_rate_hz=RATE_HZ)
    loud = np.convolve(np.abs(moved), np.ones(200), "same")
    for k in range(5):
        place = round((k * RATE_HZ + 6050) / 1.1)
        around = loud[place - 2000 : place + 2000]
        assert np.argmax(around) == pytest.approx(2000, abs=600)


def test_rooms_keep_loudness_and_add_no_delay(rng):
    x = np.zeros(RATE_HZ, np.float32)
    x[2000] = 1.0
    y = reverberate(x, decay_s=0.4, sample_rate_hz=RATE_HZ, rng=rng)
    assert np.argmax(np.abs(y)) == 2000
    assert np.abs(y[:2000]).max() < 1e-4
    assert np.mean(y**2) == pytest.approx(np.mean(x**2), rel=1e-3)
    assert np.abs(y[2000 + 4800 :]).max() < 2e-3  # 60 dB down: the reverberation is over


def test_telephone_limits_the_band_and_clips(rng):
    x = telephone(tone(1000) + tone(100) + tone(5000), sample_rate_hz=RATE_HZ, rng=rng)
    power = np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2
    at = {f: power[round(f * 4) - 4 : round(f * 4) + 5].sum() for f in (100, 1000, 5000)}
    assert at[1000] > 100 * at[100]
    assert at[1000] > 100 * at[5000]
    assert np.abs(x).max() <= 1.0


@pytest.mark.parametrize("slope", [-6.0, 6.0])
def test_tilt_is_in_decibels_per_octave(slope):
    x = tilt(tone(1000) + tone(2000), db_per_octave=slope, sample_rate_hz=RATE_HZ)
    power = np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2
    low, high = (power[round(f * 4) - 4 : round(f * 4) + 5].sum() for f in (1000, 2000))
    assert 10 * np.log10(high / low) == pytest.approx(slope, abs=0.5)
