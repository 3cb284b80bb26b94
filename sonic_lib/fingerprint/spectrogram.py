"""Samples to local-contrast saliency, in numpy and numba.

Conventions
-----------
Matrices are (frame, bin): a frame is 32 ms, a bin 15.625 Hz; row 0 is the first frame of
the samples given and column 0 the first bin of the band.  Everything is float32.

Method
------
A landmark has to stand out from its own neighbourhood, whatever an equaliser, a room or a
telephone did to the level there.  So, as in POLARIS (Li 2026, arXiv:2609.14820), the local mean
over a wide window is subtracted from the smoothed level, and the result is divided by its local
deviation.  The wide means are computed on 4 x 4 cells and interpolated, which is as good as full
resolution for windows of this width and ten times as fast.

Every value depends on at most `CONTEXT_FRAMES` frames to either side, so a long
recording can be cut into overlapping blocks without changing a single landmark.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

from sonic_lib.fingerprint.kernels import kernel
from sonic_lib.fingerprint.params import HOP_SAMPLES, WINDOW_SAMPLES, FingerprintParams

# Levels below this count as digital silence: dither and codec residue.
FLOOR_DBFS = -100.0
_FULL_SCALE_POWER = (WINDOW_SAMPLES / 4) ** 2  # a sine of amplitude 1 under a Hann window

CELL = 4  # frames and bins averaged for the wide means
SMOOTHING_FRAMES, SMOOTHING_BINS = 1.5, 1.0  # standard deviations of the Gaussians
MEAN_FRAMES, MEAN_BINS = 16.0, 8.0
DEVIATION_FRAMES, DEVIATION_BINS = 12.0, 6.0
MIN_DEVIATION_DB = 0.75
_TRUNCATE = 3.0  # Gaussians end at this many standard deviations


def log_spectrogram(samples: NDArray[np.float32], *, params: FingerprintParams) -> NDArray:
    """Compute the level of each time-frequency cell.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), float32]
        Mono samples at 12 kHz, full scale = 1.

    Returns
    -------
    np.ndarray [shape=(n_frames, n_bins), float32]
        Levels in dB relative to a full-scale sine, at least -100.  No frames if there are fewer
        samples than one window has.
    """
    n_bins = params.last_bin - params.first_bin
    if samples.size < WINDOW_SAMPLES:
        return np.zeros((0, n_bins), np.float32)
    window = np.hanning(WINDOW_SAMPLES + 1)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW_SAMPLES)[::HOP_SAMPLES]
    spectrum = scipy.fft.rfft(frames * window, axis=1)[:, params.first_bin : params.last_bin]
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    power *= np.float32(1 / _FULL_SCALE_POWER)
    power += np.float32(10 ** (FLOOR_DBFS / 10))
    return 10 * np.log10(power)


def saliency(levels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Measure how far each cell stands out from its surroundings.

    Parameters
    ----------
    levels : np.ndarray [shape=(n_frames, n_bins), dB]

    Returns
    -------
    saliency : np.ndarray [shape=(n_frames, n_bins)]
        Level above the local mean in local standard deviations.
    smoothed : np.ndarray [shape=(n_frames, n_bins), dB]
        The levels smoothed with the narrow Gaussian.
    """
    smoothed = _convolve(levels, _gaussian(SMOOTHING_FRAMES), _gaussian(SMOOTHING_BINS))
    above = _subtract_wide(smoothed, _wide_mean(smoothed, MEAN_FRAMES, MEAN_BINS))
    variance = _wide_mean(np.square(above), DEVIATION_FRAMES, DEVIATION_BINS)
    return _divide_wide(above, variance, np.float32(MIN_DEVIATION_DB**2)), smoothed


def _gaussian(sigma: float) -> NDArray[np.float32]:
    reach = int(_TRUNCATE * sigma + 0.5)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return (taps / taps.sum()).astype(np.float32)


def _wide_mean(x: NDArray, sigma_frames: float, sigma_bins: float) -> NDArray[np.float32]:
    """Gaussian mean of x, sampled at the centres of CELL x CELL cells."""
    cells = _cell_means(x)
    sigmas = (sigma_frames / CELL, sigma_bins / CELL)
    return scipy.ndimage.gaussian_filter(cells, sigmas, mode="nearest", truncate=_TRUNCATE)


@kernel()
def _cell_means(x):
    """Means of CELL x CELL cells; incomplete cells are filled by repeating the edges."""
    n_frames, n_bins = x.shape
    means = np.empty((-(-n_frames // CELL), -(-n_bins // CELL)), np.float32)
    columns = np.empty(means.shape[1] * CELL, np.float32)
    for i in range(means.shape[0]):
        columns[:] = 0
        for t in range(i * CELL, (i + 1) * CELL):
            columns[:n_bins] += x[min(t, n_frames - 1)]
        columns[n_bins:] = columns[n_bins - 1]
        for j in range(means.shape[1]):
            total = np.float32(0)
            for k in range(CELL):
                total += columns[j * CELL + k]
            means[i, j] = total / np.float32(CELL * CELL)
    return means


@kernel(fastmath=True)
def _convolve(x, frame_taps, bin_taps):
    """Separable convolution, edges repeated."""
    n_frames, n_bins = x.shape
    reach_frames, reach_bins = frame_taps.size // 2, bin_taps.size // 2
    out = np.zeros((n_frames, n_bins), np.float32)
    row = np.empty(n_bins + 2 * reach_bins, np.float32)
    for t in range(n_frames):
        row[:] = 0
        for k in range(frame_taps.size):
            source = x[min(max(t + k - reach_frames, 0), n_frames - 1)]
            tap = frame_taps[k]
            for f in range(n_bins):
                row[f + reach_bins] += tap * source[f]
        row[:reach_bins] = row[reach_bins]
        row[n_bins + reach_bins :] = row[n_bins + reach_bins - 1]
        for k in range(bin_taps.size):
            tap = bin_taps[k]
            for f in range(n_bins):
                out[t, f] += tap * row[f + k]
    return out


@kernel()
def _interpolated_row(cells, t, weights, lower, row):
    """Row t of the bilinear interpolation of cells, at full resolution."""
    n_cells = cells.shape[0]
    position = (t + 0.5) / CELL - 0.5
    first = int(np.floor(position))
    weight = np.float32(position - first)
    above, below = cells[max(first, 0)], cells[min(first + 1, n_cells - 1)]
    n_last = cells.shape[1] - 1
    for f in range(row.size):
        a, b = max(lower[f], 0), min(lower[f] + 1, n_last)
        left = above[a] + weight * (below[a] - above[a])
        right = above[b] + weight * (below[b] - above[b])
        row[f] = left + weights[f] * (right - left)


@kernel()
def _bin_weights(n_bins):
    positions = (np.arange(n_bins) + 0.5) / CELL - 0.5
    lower = np.floor(positions).astype(np.int64)
    return (positions - lower).astype(np.float32), lower


@kernel()
def _subtract_wide(x, cells):
    out = np.empty_like(x)
    weights, lower = _bin_weights(x.shape[1])
    row = np.empty(x.shape[1], np.float32)
    for t in range(x.shape[0]):
        _interpolated_row(cells, t, weights, lower, row)
        out[t] = x[t] - row
    return out


@kernel()
def _divide_wide(x, cells, floor):
    out = np.empty_like(x)
    weights, lower = _bin_weights(x.shape[1])
    row = np.empty(x.shape[1], np.float32)
    for t in range(x.shape[0]):
        _interpolated_row(cells, t, weights, lower, row)
        out[t] = x[t] / np.sqrt(row + floor)
    return out
