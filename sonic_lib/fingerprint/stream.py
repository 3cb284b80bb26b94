"""Samples in blocks to hashes in blocks: recordings of any length in constant memory.

The audio is cut into overlapping stretches.  A hash depends on at most `CONTEXT_FRAMES`
frames to either side of its first landmark, so the hashes that begin in the core of a
stretch are the very ones that the uncut recording would give.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from sonic_lib.fingerprint.hashes import distinct, query_hashes, reference_hashes
from sonic_lib.fingerprint.landmarks import FRAME, find_landmarks
from sonic_lib.fingerprint.params import HOP_SAMPLES, WINDOW_SAMPLES, FingerprintParams

# The sum of all reaches: smoothing 5, mean 51, deviation 39, maximum 3, rank 32, triangle
# 63, the circle that must be empty for it to be one 112, rounded up to cells.
CONTEXT_FRAMES = 320
CORE_FRAMES = 8000  # 256 s: songs are one stretch, and none is larger than 15 MB
# A clip's frames lie anywhere between its song's frames, so it is analysed at several.
QUERY_SHIFTS = 4


def stream_hashes(
    blocks: Iterable[NDArray[np.float32]],
    *,
    params: FingerprintParams,
    query: bool = False,
    core_frames: int = CORE_FRAMES,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32]]]:
    """Hash a recording that arrives in blocks.

    Parameters
    ----------
    blocks : iterable of np.ndarray [shape=(n,), float32]
        Consecutive mono samples at 12 kHz, in blocks of any size.
    query : bool
        Give the many hashes to look up, instead of the few to store.
    core_frames : int, a multiple of 4
        Frames of a stretch; changes memory use, never the hashes.

    Yields
    ------
    hashes : np.ndarray [shape=(m,), int64]
    frames : np.ndarray [shape=(m,), int32]
        Place of each hash in the recording, in frames of 32 ms.
    """
    for samples, start, first, end in _stretches(blocks, core_frames):
        hashes, frames = (_query if query else _reference)(samples, params)
        frames = frames + np.int32(start)
        core = (frames >= first) & (frames < end)
        yield hashes[core], frames[core]


def _reference(samples: NDArray, params: FingerprintParams) -> tuple[NDArray, NDArray]:
    return reference_hashes(find_landmarks(samples, params=params), params=params)


def _query(samples: NDArray, params: FingerprintParams) -> tuple[NDArray, NDArray]:
    found = []
    for shift in range(QUERY_SHIFTS):
        landmarks = find_landmarks(samples[shift * HOP_SAMPLES // QUERY_SHIFTS :], params=params)
        landmarks[:, FRAME] += shift / QUERY_SHIFTS
        found.append(query_hashes(landmarks, params=params))
    return distinct(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _stretches(
    blocks: Iterable[NDArray], core_frames: int
) -> Iterator[tuple[NDArray, int, float, float]]:
    """Yield (samples, frame they start at, first frame of the core, end of the core)."""
    wanted_frames = core_frames + CONTEXT_FRAMES
    core_start, start = 0, 0
    held: list[NDArray] = []
    n_held = 0
    for block in blocks:
        held.append(block)
        n_held += block.size
        while n_held >= (core_start + wanted_frames - start) * HOP_SAMPLES + WINDOW_SAMPLES:
            samples = np.concatenate(held)
            core_end = core_start + core_frames
            stop = (core_end + CONTEXT_FRAMES - start) * HOP_SAMPLES + WINDOW_SAMPLES
            yield samples[:stop], start, core_start if core_start else -np.inf, core_end
            core_start = core_end
            next_start = max(0, core_start - CONTEXT_FRAMES)
            held = [samples[(next_start - start) * HOP_SAMPLES :]]
            n_held, start = held[0].size, next_start
    if n_held:
        yield np.concatenate(held), start, core_start if core_start else -np.inf, np.inf
