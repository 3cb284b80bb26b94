"""Describe the surroundings of landmark triangles in 32 bits, to tell true hits from chance hits.

Method
------
A hash encodes the positions of three landmarks, and many songs have three such landmarks somewhere;
their surroundings differ.  Each bit of the descriptor says which of two points near the triangle's
corners is more salient, as BRIEF does around the corners of an image (Calonder et al., ECCV 2010).
Comparisons survive changes of level, and the number of bits that differ between a clip and a song
(the Hamming distance) gives the likelihood that the hit is true: `LOG_LIKELIHOOD_RATIO`.

The pairs of points were selected greedily for balance, independence and stability, on true and
chance hits of songs and clips that none of our published figures use (`benchmarks/descriptor.py`
selects in the same way).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonic_lib.fingerprint.kernels import kernel
from sonic_lib.fingerprint.landmarks import BIN, FRAME
from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.fingerprint.variants import UNCHANGED, Variant

DESCRIPTOR_BITS = 32
REACH_FRAMES = 20  # largest distance of a point from its corner, in time

# For each of the two points: corner, and distance from it in frames and bins.
_PAIRS = np.array(
    [
        (2, -13, 1, 2, -13, 1),
        (1, 3, 1, 1, -18, 0),
        (2, 14, -21, 2, -8, -24),
        (0, 16, -14, 0, -11, -20),
        (2, -2, -20, 2, 0, 12),
        (0, 18, 15, 0, 9, 23),
        (0, -10, 1, 2, 7, 1),
        (2, -20, -23, 0, 14, 9),
        (2, -7, 10, 2, -16, 14),
        (2, -5, -8, 2, 7, -11),
        (1, -1, -15, 1, -8, -23),
        (1, -16, 8, 1, -12, -2),
        (1, 9, 13, 1, -6, 21),
        (0, -2, 2, 0, 5, 20),
        (1, 14, 0, 0, -12, -1),
        (0, 4, -17, 1, 9, 18),
        (2, 1, 1, 2, -12, 1),
        (2, 3, -10, 2, 20, -13),
        (0, 12, 3, 0, -7, 17),
        (0, 12, 19, 0, 20, 24),
        (1, -14, 0, 0, 10, 0),
        (1, -10, -8, 1, 15, -9),
        (0, -2, -9, 0, 15, -6),
        (2, -2, 22, 0, 18, 11),
        (1, -6, 16, 2, 20, 1),
        (0, 5, -23, 1, -2, -23),
        (2, 10, -7, 2, -18, -5),
        (1, -2, 1, 2, -14, 1),
        (2, -20, 23, 2, 14, 19),
        (0, -19, 5, 0, -16, 7),
        (0, -20, 0, 0, 0, -24),
        (1, 12, -24, 0, -1, 22),
    ]
)

# ln(P(distance | true hit) / P(distance | chance hit)), in nats, by Hamming distance.
LOG_LIKELIHOOD_RATIO = np.array(
    [
        11.0,
        9.6,
        8.2,
        7.0,
        5.7,
        4.5,
        3.4,
        2.4,
        1.4,
        0.4,
        -0.5,
        -1.3,
        -2.1,
        -2.8,
        -3.4,
        -4.0,
        -4.6,
        -5.1,
        -5.5,
        -5.9,
        -6.2,
        -6.4,
        -6.6,
        -6.8,
        -6.9,
        -6.9,
        -6.9,
        -6.9,
        -6.9,
        -6.9,
        -6.9,
        -6.9,
        -6.9,
    ],
    np.float32,
)


def describe_triangles(
    saliency: NDArray[np.float32],
    landmarks: NDArray[np.float64],
    triangles: NDArray[np.intp],
    *,
    params: FingerprintParams,
    origin_frame: float = 0.0,
    variant: Variant = UNCHANGED,
) -> NDArray[np.int32]:
    """Describe the surroundings of triangles.

    Parameters
    ----------
    saliency : np.ndarray [shape=(n_frames, n_bins), float32]
        From `spectrogram.saliency`, for the same samples as the landmarks.
    landmarks : np.ndarray [shape=(n, 4)]
        Possibly rescaled by `variants.rescale`.
    triangles : np.ndarray [shape=(m, 3)]
        Indices of each triangle's corners in `landmarks`, in the order of its hash.
    origin_frame : float
        Row of `saliency` at which the landmarks' frame is 0.
    variant : Variant
        How the landmarks were rescaled; the points are moved accordingly.

    Returns
    -------
    np.ndarray [shape=(m,), int32]
        One bit per pair of points: whether the first is more salient.  Points beyond the edges
        are clamped to the edges.
    """
    frames = landmarks[:, FRAME][triangles] / variant.tempo + origin_frame
    bins = landmarks[:, BIN][triangles] * variant.pitch - params.first_bin
    return _compare(saliency, frames, bins, _PAIRS, 1 / variant.tempo, variant.pitch)


@kernel(nogil=True)
def _compare(saliency, frames, bins, pairs, per_frame, per_bin):
    n_frames, n_bins = saliency.shape
    corners = pairs[:, ::3].copy()
    steps_frames, steps_bins = pairs[:, 1::3] * per_frame, pairs[:, 2::3] * per_bin
    described = np.empty(len(frames), np.int32)
    for i in range(len(frames)):
        bits = np.uint32(0)
        for k in range(len(pairs)):
            a, b = corners[k]
            t = int(np.floor(frames[i, a] + steps_frames[k, 0] + 0.5))
            f = int(np.floor(bins[i, a] + steps_bins[k, 0] + 0.5))
            first = saliency[min(max(t, 0), n_frames - 1), min(max(f, 0), n_bins - 1)]
            t = int(np.floor(frames[i, b] + steps_frames[k, 1] + 0.5))
            f = int(np.floor(bins[i, b] + steps_bins[k, 1] + 0.5))
            second = saliency[min(max(t, 0), n_frames - 1), min(max(f, 0), n_bins - 1)]
            bits |= np.uint32(first > second) << np.uint32(k)  # a branch would be unpredictable
        described[i] = np.int32(bits)
    return described
