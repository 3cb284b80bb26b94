"""Landmarks to hashes: triangles of three landmarks, 40 bits each.

Method
------
Landmarks are joined by Delaunay triangulation, as POLARIS does (Li 2026,
arXiv:2609.14820), but at several densities (Wang's "anchor and target zone", ISMIR 2003,
chooses neighbours by direction; a triangulation chooses them by nearness alone, whatever
else was lost or added further off).  A triangle's hash holds five numbers of 8 bits: the
frequency of its first landmark, and the steps in frequency and time from it to the other
two.  Landmarks are ordered by time.

References store one hash a triangle.  A query looks up each triangle also under the
neighbouring values of each number, and in both orders where two landmarks are nearly
simultaneous: what noise and a shifted frame grid do to a number is undone by the query
alone, and the reference table stays small.

Layout
------
The five numbers are mixed by a multiplication modulo 2**40 with an odd constant (Knuth's
multiplicative hashing), so every prefix of a hash is evenly used and partitions are
equally large; `unpack` undoes it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, QhullError

from sonic_lib.fingerprint.descriptor import describe_triangles
from sonic_lib.fingerprint.landmarks import BIN, FRAME, RANK
from sonic_lib.fingerprint.params import BIN_HZ, FRAME_S, HASH_BITS, FingerprintParams
from sonic_lib.fingerprint.variants import UNCHANGED, Variant

_FIELD_BITS = 8
_FIELD_MAX = (1 << _FIELD_BITS) - 1
_MASK = np.uint64((1 << HASH_BITS) - 1)
_MIX = np.uint64(0x9E3779B97F4A7C15 & ((1 << HASH_BITS) - 1))
_UNMIX = np.uint64(pow(int(_MIX), -1, 1 << HASH_BITS))

# Quantisation steps of the five fields.
_STEPS = np.array([2.0, 3.0, 3.0, 2.0, 2.0])  # bins, bins, bins, frames, frames
_ZERO = np.array([0.0, 128.0, 128.0, 0.0, 0.0])  # frequency steps are signed

# Nearness weighs 10 bins like 14 frames; the limits below are in these units.
_UNIT_BINS, _UNIT_FRAMES = 10.0, 14.0
MAX_SPAN_FRAMES = 63.0
MIN_SPAN_FRAMES = 0.5
MIN_AREA = 0.025
MAX_EDGE = 6.0
MAX_CIRCUMRADIUS = 4.0
# Landmarks closer in time than this may come in the other order in another recording.
SIMULTANEOUS_FRAMES = 0.7
# Lower landmarks tell no pitch: half a step of the first field is more than 2.5 % there.
MIN_PITCH_BIN = 40.0


def reference_hashes(
    landmarks: NDArray[np.float64], saliency: NDArray[np.float32], *, params: FingerprintParams
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Hash every triangle once.

    Parameters
    ----------
    landmarks, saliency
        From `landmarks.analyse`.

    Returns
    -------
    hashes : np.ndarray [shape=(m,), int64]
        40-bit hashes.
    frames : np.ndarray [shape=(m,), int32]
        Frame of the first landmark of each.  Pairs are distinct, in ascending order.
    descriptors : np.ndarray [shape=(m,), int32]
        What surrounds each, from `descriptor.describe_triangles`.
    """
    triangles = landmark_triangles(landmarks, params.densities_per_s)
    descriptors = describe_triangles(saliency, landmarks, triangles, params=params)
    hashes, frames, descriptors = distinct(*numbered(landmarks, triangles), descriptors)
    return hashes, frames, descriptors


def numbered(
    landmarks: NDArray[np.float64], triangles: NDArray[np.intp]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Hash of each triangle, and frame of its first landmark."""
    return pack(np.floor(_numbers(landmarks, triangles))), _anchors(landmarks, triangles)


def query_hashes(
    landmarks: NDArray[np.float64],
    saliency: NDArray[np.float32],
    *,
    params: FingerprintParams,
    origin_frame: float = 0.0,
    variant: Variant = UNCHANGED,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]:
    """Hash every triangle under all values that a reference may have for it.

    Parameters
    ----------
    landmarks : np.ndarray [shape=(n, 4)]
        From `landmarks.analyse`, perhaps through `variants.rescale`.
    saliency, origin_frame, variant
        As in `descriptor.describe_triangles`.

    Returns
    -------
    hashes, frames
        As from `reference_hashes`; there are about 12 hashes a triangle.
    detunes : np.ndarray [shape=(m,), float32]
        How far the query's first landmark lies above the one that a reference with this hash
        has, as the natural logarithm of the frequencies' ratio: tells the pitch of a match.
        NaN of landmarks that are too low to tell it.
    descriptors : np.ndarray [shape=(m,), int32]
        As from `reference_hashes`.
    """
    triangles = _with_swaps(landmarks, landmark_triangles(landmarks, params.densities_per_s))
    descriptors = describe_triangles(
        saliency, landmarks, triangles, params=params, origin_frame=origin_frame, variant=variant
    )
    numbers = np.floor(_numbers(landmarks, triangles))
    single_steps = np.concatenate([np.zeros((1, 5)), np.eye(5), -np.eye(5)])
    numbers = (numbers[:, np.newaxis, :] + single_steps).reshape(-1, 5)
    frames = np.repeat(_anchors(landmarks, triangles), len(single_steps))
    bins = np.repeat(landmarks[:, BIN][triangles[:, 0]], len(single_steps))
    descriptors = np.repeat(descriptors, len(single_steps))
    # Rescaled landmarks may leave the band that references have.
    known = (numbers[:, 0] >= 1) & (numbers[:, 0] <= _FIELD_MAX)
    detunes = np.log(bins[known] / (_STEPS[0] * numbers[known, 0])).astype(np.float32)
    detunes[bins[known] < MIN_PITCH_BIN] = np.nan
    hashes, frames, detunes, descriptors = distinct(
        pack(numbers[known]), frames[known], detunes, descriptors[known]
    )
    return hashes, frames, detunes, descriptors


def unpack(hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Undo the packing.

    Returns
    -------
    np.ndarray [shape=(n, 5), int64]
        Quantised frequency of the first landmark (2 bins), steps in frequency to the
        second and third (3 bins, plus 128), steps in time to them (2 frames).
    """
    mixed = np.asarray(hashes).astype(np.uint64)
    packed = (mixed * _UNMIX & _MASK).astype(np.int64)
    shifts = _FIELD_BITS * np.arange(4, -1, -1)
    return packed[:, np.newaxis] >> shifts & _FIELD_MAX


def pack(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Pack the five numbers of each triangle into mixed 40-bit hashes.

    Parameters
    ----------
    numbers : np.ndarray [shape=(n, 5)]
        Whole numbers; those outside 0..255 are clipped.

    Returns
    -------
    np.ndarray [shape=(n,), int64]
        Hashes in 0..2**40 - 1.
    """
    fields = np.clip(numbers, 0, _FIELD_MAX).astype(np.uint64)
    packed = np.zeros(len(fields), np.uint64)
    for k in range(5):
        packed = packed << np.uint64(_FIELD_BITS) | fields[:, k]
    return (packed * _MIX & _MASK).astype(np.int64)


def describe(hash_: int) -> str:
    """Say in words which triangle a hash stands for."""
    first, *steps = (unpack(np.array([hash_]))[0] - _ZERO) * _STEPS
    second_hz, third_hz, second_s, third_s = (
        step * unit for step, unit in zip(steps, (BIN_HZ, BIN_HZ, FRAME_S, FRAME_S), strict=True)
    )
    return (
        f"{first * BIN_HZ:4.0f} Hz, {second_hz:+5.0f} Hz {second_s:.2f} s later, "
        f"{third_hz:+5.0f} Hz {third_s:.2f} s later"
    )


def _numbers(landmarks: NDArray, triangles: NDArray[np.intp]) -> NDArray[np.float64]:
    """The five numbers of each triangle, in steps, unrounded; shape (n, 5)."""
    frames = landmarks[:, FRAME][triangles]
    bins = landmarks[:, BIN][triangles]
    numbers = np.column_stack(
        [
            bins[:, 0],
            bins[:, 1] - bins[:, 0],
            bins[:, 2] - bins[:, 0],
            frames[:, 1] - frames[:, 0],
            frames[:, 2] - frames[:, 0],
        ]
    )
    return numbers / _STEPS + _ZERO + 0.5


def _anchors(landmarks: NDArray, triangles: NDArray[np.intp]) -> NDArray[np.int32]:
    return np.rint(landmarks[triangles[:, 0], FRAME]).astype(np.int32)


def landmark_triangles(landmarks: NDArray, densities_per_s: tuple[int, ...]) -> NDArray[np.intp]:
    """Distinct triangles over all densities, corners in order of time; shape (n, 3)."""
    found = []
    for density in densities_per_s:
        chosen = np.flatnonzero(landmarks[:, RANK] < 2 * density)
        found.append(chosen[_triangulate(landmarks[chosen])])
    return np.unique(np.concatenate(found), axis=0)


def _triangulate(landmarks: NDArray) -> NDArray[np.intp]:
    points = np.column_stack([landmarks[:, BIN] / _UNIT_BINS, landmarks[:, FRAME] / _UNIT_FRAMES])
    try:
        corners = Delaunay(points).simplices if len(points) > 3 else np.zeros((0, 3), np.intp)
    except QhullError:  # all landmarks on one line
        corners = np.zeros((0, 3), np.intp)
    # Landmarks are ordered by frame, so ordering their indices orders them in time.
    corners = np.sort(corners, axis=1).astype(np.intp)
    a, b, c = points[corners[:, 0]], points[corners[:, 1]], points[corners[:, 2]]
    edges = [np.hypot(*(p - q).T) for p, q in ((a, b), (b, c), (c, a))]
    area = 0.5 * np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    circumradius = edges[0] * edges[1] * edges[2] / np.maximum(4 * area, 1e-9)
    span = (c - a)[:, 1] * _UNIT_FRAMES
    good = (
        (span >= MIN_SPAN_FRAMES)
        & (span <= MAX_SPAN_FRAMES)
        & (area >= MIN_AREA)
        & (np.max(edges, axis=0) <= MAX_EDGE)
        & (circumradius <= MAX_CIRCUMRADIUS)
    )
    return corners[good]


def _with_swaps(landmarks: NDArray, triangles: NDArray[np.intp]) -> NDArray[np.intp]:
    frames = landmarks[:, FRAME][triangles]
    first = triangles[frames[:, 1] - frames[:, 0] < SIMULTANEOUS_FRAMES][:, [1, 0, 2]]
    last = triangles[frames[:, 2] - frames[:, 1] < SIMULTANEOUS_FRAMES][:, [0, 2, 1]]
    return np.concatenate([triangles, first, last])


def distinct(hashes: NDArray, frames: NDArray, *others: NDArray) -> tuple[NDArray, ...]:
    """Sort by (hash, frame), and keep the first of equal pairs."""
    order = np.lexsort((frames, hashes))
    hashes, frames = hashes[order], frames[order]
    new = np.ones(len(hashes), bool)
    new[1:] = (hashes[1:] != hashes[:-1]) | (frames[1:] != frames[:-1])
    return hashes[new], frames[new], *(other[order][new] for other in others)
