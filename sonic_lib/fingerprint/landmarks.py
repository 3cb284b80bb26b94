"""Saliency to landmarks: the constellation of a recording.

Conventions
-----------
Landmarks are an array of shape (n, 4), float64, ordered by frame (in single precision a
landmark's position would depend slightly on where the audio was cut into blocks):

======== =====================================================================
FRAME    time, in frames of 32 ms, interpolated between frames
BIN      frequency, in bins of 15.625 Hz from 0 Hz, interpolated between bins
STRENGTH saliency plus a fraction of the level; compared, never stored
RANK     number of stronger landmarks within one second to either side
======== =====================================================================

RANK makes density a property of each landmark: the constellation with d landmarks per
second consists of those with RANK < 2 d.  It does not depend on where the recording starts or
ends, so a clip and its song keep the same landmarks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonic_lib.fingerprint.kernels import kernel
from sonic_lib.fingerprint.params import FRAMES_PER_S, FingerprintParams
from sonic_lib.fingerprint.spectrogram import log_spectrogram, saliency

FRAME, BIN, STRENGTH, RANK = range(4)

MIN_SALIENCY = 2.5 / 3  # local standard deviations
REACH_FRAMES, REACH_BINS = 3, 2  # a landmark is the maximum of this neighbourhood
# Loud landmarks survive noise, so the level has some weight in the ranking (measured: 0 is
# never better; 0.1 and above are worse for rooms and telephones).
LEVEL_SHARE = 0.05
RANK_WINDOW_FRAMES = FRAMES_PER_S


def find_landmarks(samples: NDArray[np.float32], *, params: FingerprintParams) -> NDArray:
    """Find the landmarks of a chunk of audio: `analyse` without the saliency."""
    return analyse(samples, params=params)[0]


def analyse(
    samples: NDArray[np.float32], *, params: FingerprintParams
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Find the landmarks of a chunk of audio, and the saliency of every cell.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), float32]
        Mono samples at 12 kHz.

    Returns
    -------
    landmarks : np.ndarray [shape=(n_landmarks, 4), float64]
        FRAME, BIN, STRENGTH and RANK, ordered by FRAME; per second at most the highest of
        `params.densities_per_s`.
    saliency : np.ndarray [shape=(n_frames, n_bins), float32]
        As from `spectrogram.saliency`: column 0 is the first bin of the band.
    """
    levels = log_spectrogram(samples, params=params)
    if len(levels) < 2 * REACH_FRAMES + 1:
        return np.zeros((0, 4)), np.zeros_like(levels)
    salient, smoothed = saliency(levels)
    found = _local_maxima(salient, smoothed)
    found = found[np.argsort(found[:, FRAME], kind="stable")]
    _rank(found)
    found = found[found[:, RANK] < 2 * params.densities_per_s[-1]]
    found[:, BIN] += params.first_bin
    return found, salient


@kernel()
def _local_maxima(z, levels):
    n_frames, n_bins = z.shape
    found = np.empty((n_frames * n_bins // 8 + 1, 4), np.float64)
    n = 0
    for t in range(1, n_frames - 1):
        for f in range(1, n_bins - 1):
            v = z[t, f]
            # NaN meets no condition and never becomes a landmark.
            if not (v >= MIN_SALIENCY and v > z[t, f - 1] and v >= z[t, f + 1]):
                continue
            highest = True
            for a in range(max(0, t - REACH_FRAMES), min(n_frames, t + REACH_FRAMES + 1)):
                for b in range(max(0, f - REACH_BINS), min(n_bins, f + REACH_BINS + 1)):
                    # Among equal cells, the first is the maximum.
                    if z[a, b] > v or (z[a, b] == v and (a < t or (a == t and b < f))):
                        highest = False
                        break
                if not highest:
                    break
            if highest:
                found[n, 0] = t + _vertex(z[t - 1, f], v, z[t + 1, f])
                found[n, 1] = f + _vertex(z[t, f - 1], v, z[t, f + 1])
                found[n, 2] = v + LEVEL_SHARE * levels[t, f]
                found[n, 3] = 0
                n += 1
    return found[:n].copy()


@kernel()
def _vertex(left, middle, right):
    """Return the position of the maximum of a parabola through three points, in -0.5..0.5."""
    curvature = left - 2 * middle + right
    return 0.5 * (left - right) / curvature if curvature < 0 else 0.0


@kernel()
def _rank(landmarks):
    frames, strengths = landmarks[:, 0].copy(), landmarks[:, 2].copy()
    first = last = 0
    for i in range(len(landmarks)):
        while frames[first] < frames[i] - RANK_WINDOW_FRAMES:
            first += 1
        while last < len(frames) and frames[last] <= frames[i] + RANK_WINDOW_FRAMES:
            last += 1
        # Among equally strong landmarks, the earlier counts as stronger.
        stronger = 0
        for strength in strengths[first:i]:
            stronger += strength >= strengths[i]
        for strength in strengths[i + 1 : last]:
            stronger += strength > strengths[i]
        landmarks[i, 3] = stronger
