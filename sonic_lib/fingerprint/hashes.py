"""Landmarks to hashes: triangles of three landmarks, 40 bits each.

Method
------
Landmarks are joined by Delaunay triangulation, as in POLARIS (Li 2026,
arXiv:2609.14820), but at several densities.  Wang's "anchor and target zone" (ISMIR 2003)
chooses neighbours by direction; a triangulation chooses them by distance alone, so landmarks
lost or added further away do not matter.  A triangle's hash holds five numbers of 8 bits: the
frequency of its first landmark, and the steps in frequency and time from it to the other
two.  Landmarks are ordered by time.

References store one hash per triangle.  A query also looks up the neighbouring values of
each number, and both orders of two landmarks that are nearly simultaneous.  Noise and a shifted
frame grid are thus compensated on the query's side, and the reference table stays small.

Layout
------
The five numbers are mixed by a multiplication modulo 2**40 with an odd constant (Knuth's
multiplicative hashing), so hash prefixes are uniformly distributed and partitions equally
large; `unpack` undoes it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonic_lib.fingerprint.descriptor import describe_triangles
from sonic_lib.fingerprint.kernels import kernel
from sonic_lib.fingerprint.landmarks import BIN, FRAME
from sonic_lib.fingerprint.params import BIN_HZ, FRAME_S, HASH_BITS, FingerprintParams
from sonic_lib.fingerprint.triangles import landmark_triangles
from sonic_lib.fingerprint.variants import UNCHANGED, Variant

_FIELD_BITS = 8
_FIELD_MAX = (1 << _FIELD_BITS) - 1
_MASK = np.uint64((1 << HASH_BITS) - 1)
_MIX = np.uint64(0x9E3779B97F4A7C15 & ((1 << HASH_BITS) - 1))
_UNMIX = np.uint64(pow(int(_MIX), -1, 1 << HASH_BITS))

# Quantisation steps of the five fields.
_STEP_BINS = 2.0  # of the first field
_STEPS = np.array([_STEP_BINS, 3.0, 3.0, 2.0, 2.0])  # bins, bins, bins, frames, frames
_ZERO = np.array([0.0, 128.0, 128.0, 0.0, 0.0])  # frequency steps are signed

# Sort keys hold a hash and, in the minor bits, a number that orders rows with equal hashes.
_MINOR_BITS = 63 - HASH_BITS
_KEYS_PER_BUCKET = 4
# Landmarks closer in time than this may be in the opposite order in another recording.
SIMULTANEOUS_FRAMES = 0.7
# Below, half a step of the first field is over 2.5 %, too coarse to measure pitch.
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
        Frame of each triangle's first landmark.  (hash, frame) pairs are distinct and ascending.
    descriptors : np.ndarray [shape=(m,), int32]
        From `descriptor.describe_triangles`.
    """
    triangles = landmark_triangles(landmarks, params.densities_per_s)
    descriptors = describe_triangles(saliency, landmarks, triangles, params=params)
    hashes, frames, descriptors = distinct(*triangle_hashes(landmarks, triangles), descriptors)
    return hashes, frames, descriptors


def triangle_hashes(
    landmarks: NDArray[np.float64], triangles: NDArray[np.intp]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the hash of each triangle and the frame of its first landmark."""
    return pack(np.floor(_numbers(landmarks, triangles))), _anchors(landmarks, triangles)


def query_hashes(
    landmarks: NDArray[np.float64],
    saliency: NDArray[np.float32],
    *,
    params: FingerprintParams,
    origin_frame: float = 0.0,
    variant: Variant = UNCHANGED,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]:
    """Compute all hashes that a reference may have for each triangle.

    Parameters
    ----------
    landmarks : np.ndarray [shape=(n, 4)]
        From `landmarks.analyse`, possibly rescaled by `variants.rescale`.
    saliency, origin_frame, variant
        As in `descriptor.describe_triangles`.

    Returns
    -------
    hashes, frames
        As from `reference_hashes`, but in the order of the triangles and possibly repeated;
        about 12 hashes per triangle.
    detunes : np.ndarray [shape=(m,), float32]
        Natural logarithm of the ratio of the frequency of the query's first landmark to that of a
        reference with this hash, from which the pitch of a match follows.  NaN if the landmark is
        too low.
    descriptors : np.ndarray [shape=(m,), int32]
        As from `reference_hashes`.
    """
    triangles = _with_swaps(landmarks, landmark_triangles(landmarks, params.densities_per_s))
    descriptors = describe_triangles(
        saliency, landmarks, triangles, params=params, origin_frame=origin_frame, variant=variant
    )
    packed, detunes, triangle = _neighbours(
        np.floor(_numbers(landmarks, triangles)), landmarks[:, BIN][triangles[:, 0]]
    )
    return _mixed(packed), _anchors(landmarks, triangles)[triangle], detunes, descriptors[triangle]


@kernel(nogil=True)
def _neighbours(numbers, bins):
    """Return packed numbers of triangles and their neighbours, detunes and triangle indices."""
    n_each = 1 + 2 * numbers.shape[1]
    packed = np.empty(len(numbers) * n_each, np.uint64)
    detunes = np.empty(len(packed), np.float32)
    triangle = np.empty(len(packed), np.intp)
    n = 0
    for i in range(len(numbers)):
        for step in range(n_each):
            aside, change = (step - 1) // 2, (1.0 if step % 2 else -1.0) if step else 0.0
            first = numbers[i, 0] + (change if aside == 0 else 0.0)
            # Rescaled landmarks may lie outside the band of the references.
            if not 1 <= first <= _FIELD_MAX:
                continue
            value = np.uint64(0)
            for k in range(numbers.shape[1]):
                field = numbers[i, k] + (change if k == aside else 0.0)
                value = value << np.uint64(_FIELD_BITS) | np.uint64(min(max(field, 0), _FIELD_MAX))
            packed[n] = value
            low = bins[i] < MIN_PITCH_BIN
            detunes[n] = np.nan if low else np.log(bins[i] / (_STEP_BINS * first))
            triangle[n] = i
            n += 1
    return packed[:n], detunes[:n], triangle[:n]


def unpack(hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Recover the five numbers of each hash.

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
        Integers; values outside 0..255 are clipped.

    Returns
    -------
    np.ndarray [shape=(n,), int64]
        Hashes in 0..2**40 - 1.
    """
    fields = np.clip(numbers, 0, _FIELD_MAX).astype(np.uint64)
    packed = np.zeros(len(fields), np.uint64)
    for k in range(5):
        packed = packed << np.uint64(_FIELD_BITS) | fields[:, k]
    return _mixed(packed)


def _mixed(packed: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (packed * _MIX & _MASK).astype(np.int64)


def describe(hash_: int) -> str:
    """Describe the triangle of a hash in words."""
    first, *steps = (unpack(np.array([hash_]))[0] - _ZERO) * _STEPS
    second_hz, third_hz, second_s, third_s = (
        step * unit for step, unit in zip(steps, (BIN_HZ, BIN_HZ, FRAME_S, FRAME_S), strict=True)
    )
    return (
        f"{first * BIN_HZ:4.0f} Hz, {second_hz:+5.0f} Hz {second_s:.2f} s later, "
        f"{third_hz:+5.0f} Hz {third_s:.2f} s later"
    )


def _numbers(landmarks: NDArray, triangles: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the five numbers of each triangle, in steps, unrounded; shape (n, 5)."""
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


def _with_swaps(landmarks: NDArray, triangles: NDArray[np.intp]) -> NDArray[np.intp]:
    frames = landmarks[:, FRAME][triangles]
    first = triangles[frames[:, 1] - frames[:, 0] < SIMULTANEOUS_FRAMES][:, [1, 0, 2]]
    last = triangles[frames[:, 2] - frames[:, 1] < SIMULTANEOUS_FRAMES][:, [0, 2, 1]]
    return np.concatenate([triangles, first, last])


def distinct(hashes: NDArray, frames: NDArray, *others: NDArray) -> tuple[NDArray, ...]:
    """Sort by (hash, frame) and drop duplicate pairs, keeping the first."""
    order = distinct_order(hashes, frames)
    return tuple(column[order] for column in (hashes, frames, *others))


def distinct_order(hashes: NDArray, minor: NDArray) -> NDArray[np.int32]:
    """Return the indices that sort (hash, minor) pairs without duplicates, keeping the first.

    Raises
    ------
    ValueError
        If the minor numbers span 2**23 or more.
    """
    if not len(hashes):
        return np.zeros(0, np.int32)
    least = int(minor.min())
    if int(minor.max()) - least >> _MINOR_BITS:
        raise ValueError(f"numbers from {least} to {minor.max()}: too wide for {_MINOR_BITS} bits")
    return _distinct_order(hashes << _MINOR_BITS | (minor.astype(np.int64) - least))


@kernel(nogil=True)
def _distinct_order(keys):
    """Bucket sort: hashes are uniformly distributed, so each bucket gets only a few keys."""
    n = len(keys)
    bits = 0
    while (_KEYS_PER_BUCKET << bits) < n and bits < HASH_BITS:
        bits += 1
    shift = HASH_BITS + _MINOR_BITS - bits
    starts = np.zeros((1 << bits) + 1, np.int32)
    for i in range(n):
        starts[(keys[i] >> shift) + 1] += 1
    for bucket in range(1 << bits):
        starts[bucket + 1] += starts[bucket]
    free = starts[:-1].copy()
    ordered = np.empty(n, np.int64)
    order = np.empty(n, np.int32)
    for i in range(n):
        place = free[keys[i] >> shift]
        free[keys[i] >> shift] += 1
        ordered[place] = keys[i]
        order[place] = i
    n_kept = 0
    for i in range(n):
        key, place = ordered[i], order[i]
        j = i - 1
        first = starts[key >> shift]
        while j >= first and ordered[j] > key:
            ordered[j + 1], order[j + 1] = ordered[j], order[j]
            j -= 1
        ordered[j + 1], order[j + 1] = key, place
    for i in range(n):
        if i == 0 or ordered[i] != ordered[i - 1]:
            order[n_kept] = order[i]
            n_kept += 1
    return order[:n_kept]
