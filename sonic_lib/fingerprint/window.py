"""The windows of a clip, and what is looked up for one: no kernels, so that it loads at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Clips are looked up whole, longer recordings in windows that overlap by half.
MAX_SINGLE_S = 15.0
WINDOW_S = 10.0
WINDOW_HOP_S = 5.0
MIN_WINDOW_S = 1.0


class WindowHashes(NamedTuple):
    """What to look up for one window of a clip under one variant.

    Attributes
    ----------
    window : int
        Number of the window.
    start_s, end_s : float
        Where it lies in the clip.
    variant : int
        Place in `variants.VARIANTS`.
    hashes : np.ndarray [shape=(m,), int64]
    frames : np.ndarray [shape=(m,), int32]
        Frames since the middle of the window, stretched by the variant's tempo.
    detunes : np.ndarray [shape=(m,), float32]
        As from `hashes.query_hashes`.
    """

    window: int
    start_s: float
    end_s: float
    variant: int
    hashes: NDArray[np.int64]
    frames: NDArray[np.int32]
    detunes: NDArray[np.float32]
