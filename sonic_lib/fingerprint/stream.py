"""Hash a stream of samples in constant memory, whatever the length of the recording.

The audio is cut into overlapping chunks.  A hash depends on at most `CONTEXT_FRAMES`
frames to either side of its first landmark, so the hashes that begin in the core of a
chunk are exactly those of the uncut recording.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sonic_lib.fingerprint.hashes import distinct_order, query_hashes, reference_hashes
from sonic_lib.fingerprint.landmarks import FRAME, analyse
from sonic_lib.fingerprint.params import (
    FRAME_S,
    HOP_SAMPLES,
    SAMPLE_RATE_HZ,
    WINDOW_SAMPLES,
    FingerprintParams,
)
from sonic_lib.fingerprint.query import (
    MAX_SINGLE_S,
    MIN_WINDOW_S,
    WINDOW_HOP_S,
    WINDOW_S,
    WindowHashes,
)
from sonic_lib.fingerprint.variants import FIRST_PASS, VARIANTS, Probe, rescale, sparing

# The sum of all reaches: smoothing 5, mean 51, deviation 39, maximum 3, rank 32, triangle
# 63, its circumcircle, which must be empty, 112; rounded up to cells.  A descriptor
# reaches less far: smoothing, mean and deviation, triangle, and 20 from a corner.
CONTEXT_FRAMES = 320
CORE_FRAMES = 8000  # 256 s: most songs are a single chunk, and no chunk exceeds 15 MB
# A multiple of 48 hops and of a cell.  The last window that begins in a core extends half its
# length past the end, which leaves enough context for its landmarks.
QUERY_CORE_FRAMES = 7500
_FRAME_BITS = 16  # of a frame number, counted from the middle of a window


def stream_hashes(
    blocks: Iterable[NDArray[np.float32]],
    *,
    params: FingerprintParams,
    core_frames: int = CORE_FRAMES,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]]:
    """Compute the reference hashes of a recording that arrives in blocks.

    Parameters
    ----------
    blocks : iterable of np.ndarray [shape=(n,), float32]
        Consecutive mono samples at 12 kHz, in blocks of any size.
    core_frames : int, a multiple of 4
        Frames per chunk; changes memory use, never the hashes.

    Yields
    ------
    hashes : np.ndarray [shape=(m,), int64]
    frames : np.ndarray [shape=(m,), int32]
        Position of each hash in the recording, in frames of 32 ms.
    descriptors : np.ndarray [shape=(m,), int32]
    """
    for samples, start, first, end in _chunks(blocks, core_frames):
        hashes, frames, descriptors = reference_hashes(
            *analyse(samples, params=params), params=params
        )
        frames = frames + np.int32(start)
        core = (frames >= first) & (frames < end)
        yield hashes[core], frames[core], descriptors[core]


def stream_windows(
    blocks: Iterable[NDArray[np.float32]],
    *,
    params: FingerprintParams,
    probes: Sequence[Probe] = FIRST_PASS,
    windows: Collection[int] | None = None,
    core_frames: int = QUERY_CORE_FRAMES,
) -> Iterator[WindowHashes]:
    """Compute the query hashes of a recording that arrives in blocks, by window.

    A recording of up to `MAX_SINGLE_S` is one window.  A longer one is covered by windows of
    `WINDOW_S`, each starting `WINDOW_HOP_S` after the one before; the last window extends to the
    end of the recording.

    Parameters
    ----------
    blocks : iterable of np.ndarray [shape=(n,), float32]
        Consecutive mono samples at 12 kHz, in blocks of any size.
    probes : sequence of Probe
        How to look up each window; windows of a longer recording use fewer grids
        (`variants.sparing`).
    windows : collection of int, not empty, optional
        The windows to hash; all by default.
    """
    last = np.inf if windows is None else max(windows)
    by_detail = {-1: params.sparser(), 0: params, 1: params.denser()}
    for samples, start, core_start, core_end in _chunks(blocks, core_frames):
        is_last = core_end == np.inf
        end_s = start * FRAME_S + samples.size / SAMPLE_RATE_HZ if is_last else np.inf
        found = list(_windows_in(core_start, core_end, end_s))
        wanted = [part for part in found if windows is None or part[0] in windows]
        taken = probes if end_s <= MAX_SINGLE_S else sparing(probes)
        # Ranks do not depend on the density, so the densest landmarks serve all probes.
        densest = by_detail[max(probe.detail for probe in taken)]
        shifts = {shift for probe in taken for shift in _shifts(probe)} if wanted else ()
        grids = {shift: _grid(samples, start, shift, densest) for shift in shifts}
        for window, start_s, stop_s in wanted:
            middle_frame = 0.5 * (start_s + stop_s) / FRAME_S
            origin_frame = middle_frame - start
            looked_up = []
            for probe in taken:
                parts = [
                    (_between(grids[shift][0], start_s, stop_s, middle_frame), grids[shift][1])
                    for shift in _shifts(probe)
                ]
                origins = [origin_frame - shift for shift in _shifts(probe)]
                looked_up.append(_look_up(probe, parts, origins, params=by_detail[probe.detail]))
            yield WindowHashes(window, start_s, stop_s, *_by_hash(looked_up))
        if found and found[-1][0] >= last:
            return


def _look_up(
    probe: Probe,
    grids: Sequence[tuple[NDArray, NDArray]],
    origins: Sequence[float],
    *,
    params: FingerprintParams,
) -> tuple[NDArray, ...]:
    """Return hashes, variants, frames, detunes and descriptors of one probe of a window."""
    variant = VARIANTS[probe.variant]
    hashed = [
        query_hashes(
            rescale(landmarks, variant=variant),
            saliency,
            params=params,
            origin_frame=origin_frame,
            variant=variant,
        )
        for (landmarks, saliency), origin_frame in zip(grids, origins, strict=True)
    ]
    hashes, *others = map(np.concatenate, zip(*hashed, strict=True))
    return hashes, np.full(len(hashes), probe.variant, np.int8), *others


def _by_hash(looked_up: Sequence[tuple[NDArray, ...]]) -> tuple[NDArray, ...]:
    """Concatenate all probes, sorted by hash, variant and frame, without duplicates."""
    hashes, variants, frames, *others = (
        np.concatenate(parts) for parts in zip(*looked_up, strict=True)
    )
    order = distinct_order(hashes, (variants.astype(np.int64) << _FRAME_BITS) + frames)
    return tuple(column[order] for column in (hashes, variants, frames, *others))


def _shifts(probe: Probe) -> list[float]:
    """Return the offsets of a probe's frame grids, in frames."""
    return [k / probe.n_grids for k in range(probe.n_grids)]


def _grid(
    samples: NDArray, start: int, shift: float, params: FingerprintParams
) -> tuple[NDArray, NDArray]:
    """Return landmarks, with frames counted from the start of the recording, and saliency."""
    landmarks, saliency = analyse(samples[round(shift * HOP_SAMPLES) :], params=params)
    landmarks[:, FRAME] += start + shift
    return landmarks, saliency


def _between(landmarks: NDArray, start_s: float, stop_s: float, middle_frame: float) -> NDArray:
    """Select the landmarks of a window, with times counted from its middle."""
    first, last = np.searchsorted(landmarks[:, FRAME], [start_s / FRAME_S, stop_s / FRAME_S])
    window = landmarks[first:last].copy()
    window[:, FRAME] -= middle_frame
    return window


def _windows_in(
    core_start: float, core_end: float, end_s: float
) -> Iterator[tuple[int, float, float]]:
    """Yield number, start_s and end_s of the windows that begin in a core (frames)."""
    if end_s <= MAX_SINGLE_S:
        yield 0, 0.0, end_s
        return
    first = window = math.ceil(max(core_start, 0) * FRAME_S / WINDOW_HOP_S)
    while window * WINDOW_HOP_S < core_end * FRAME_S:
        start_s = window * WINDOW_HOP_S
        left_s = end_s - start_s
        # The last full window extends to the end; only the first of a core may be shorter.
        if left_s < (WINDOW_S if window > first else MIN_WINDOW_S):
            return
        is_last = left_s < WINDOW_S + WINDOW_HOP_S
        yield window, start_s, end_s if is_last else start_s + WINDOW_S
        window += 1


def _chunks(
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
