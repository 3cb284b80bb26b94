"""Spectral similarity of two songs: a check that is independent of the fingerprints.

Every 10 s of one song are correlated with every position in the other.  The same recording gives
nearly 1, unrelated songs 0.1 to 0.4, or up to 0.65 where both hold long notes.  Ten seconds at
either end are ignored, because fades are alike in all songs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr
from scipy.signal import fftconvolve, stft

RATE_HZ, STEP = 8_000, 400  # 50 ms
N_BANDS, BINS_PER_BAND = 36, 11  # 31 Hz to 3.1 kHz
WINDOW, HOP, EDGE = 200, 100, 200  # in frames of 50 ms


def alike(first: Path, second: Path) -> float:
    """Return the highest correlation of any 10 s of the first song with the second song."""
    a, b = spectrum(first), spectrum(second)
    return max(correlation(a[:, s : s + WINDOW], b) for s in range(0, a.shape[1] - WINDOW, HOP))


def spectrum(song: Path) -> np.ndarray:
    """Return band levels (log power) [shape=(bands, frames)], minus the mean of each band."""
    samples, rate_hz = soundfile.read(song, dtype="float32", always_2d=True)
    mono = soxr.resample(samples.mean(axis=1), rate_hz, RATE_HZ)
    _, _, bins = stft(mono, RATE_HZ, nperseg=1_024, noverlap=1_024 - STEP)
    power = np.log(np.abs(bins[4 : 4 + N_BANDS * BINS_PER_BAND]) ** 2 + 1e-8)
    bands = power.reshape(N_BANDS, BINS_PER_BAND, -1).mean(axis=1)[:, EDGE:-EDGE]
    return bands - bands.mean(axis=1, keepdims=True)


def correlation(part: np.ndarray, whole: np.ndarray) -> float:
    """Return the highest normalised correlation of a part with any position in the whole."""
    part = part - part.mean(axis=1, keepdims=True)
    n = part.shape[1]
    inner = sum(fftconvolve(w, p[::-1], "valid") for p, w in zip(part, whole, strict=True))
    sums, squares = (np.cumsum(np.pad(x, ((0, 0), (1, 0))), axis=1) for x in (whole, whole * whole))
    spread = (squares[:, n:] - squares[:, :-n]) - (sums[:, n:] - sums[:, :-n]) ** 2 / n
    return float(np.max(inner / np.sqrt(np.sum(part**2) * spread.sum(axis=0) + 1e-9)))
