"""Windows of a clip and their queries; without the kernels, so that the import is fast."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Clips are looked up as a whole; longer recordings in windows that overlap by half.
MAX_SINGLE_S = 15.0
WINDOW_S = 10.0
WINDOW_HOP_S = 5.0
MIN_WINDOW_S = 1.0


def n_windows(duration_s: float) -> int:
    """Return the number of windows of a recording; `stream` may find one more at its end.

    Examples
    --------
    >>> n_windows(15.0), n_windows(19.9), n_windows(20.0)
    (1, 2, 3)
    """
    return 1 if duration_s <= MAX_SINGLE_S else int(duration_s / WINDOW_HOP_S) - 1


class WindowHashes(NamedTuple):
    """The hashes of one window of a clip, in all variants, ordered by hash.

    Attributes
    ----------
    window : int
        Number of the window.
    start_s, end_s : float
        Its extent in the clip.
    hashes : np.ndarray [shape=(m,), int64]
    variants : np.ndarray [shape=(m,), int8]
        Indices in `variants.VARIANTS`.
    frames : np.ndarray [shape=(m,), int32]
        Frames from the middle of the window, times the variant's tempo.
    detunes : np.ndarray [shape=(m,), float32]
    descriptors : np.ndarray [shape=(m,), int32]
        As from `hashes.query_hashes`.
    """

    window: int
    start_s: float
    end_s: float
    hashes: NDArray[np.int64]
    variants: NDArray[np.int8]
    frames: NDArray[np.int32]
    detunes: NDArray[np.float32]
    descriptors: NDArray[np.int32]


_QUERY = {"hash": "<i8", "variant": "i1", "frame": "<i4", "detune": "<f4", "descriptor": "<i4"}
PACKED_QUERY = np.dtype(list(_QUERY.items()))


def window_row(window: WindowHashes) -> dict:
    """Return a row of `schemas.CLIP_EXTRACTS`, with queries packed to 21 bytes per hash."""
    packed = np.empty(len(window.hashes), PACKED_QUERY)
    columns = (window.hashes, window.variants, window.frames, window.detunes, window.descriptors)
    for name, column in zip(_QUERY, columns, strict=True):
        packed[name] = column
    extent = {"window": window.window, "start_s": window.start_s, "end_s": window.end_s}
    return extent | {"queries": packed.tobytes(), "n_queries": len(packed)}
