"""Silence in place of what is missing, so that what follows keeps its position."""

from __future__ import annotations

import numpy as np

from sonic_lib.audio.info import BLOCK_FRAMES, Blocks

MAX_GAP_S = 60.0  # longer gaps are not filled


def silence(n_frames: int, n_channels: int) -> Blocks:
    """Yield silent blocks."""
    for start in range(0, n_frames, BLOCK_FRAMES):
        yield np.zeros((min(BLOCK_FRAMES, n_frames - start), n_channels), np.float32)
