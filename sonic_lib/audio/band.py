"""Measure the highest frequency that a recording really contains.

A lossy encoder cuts off the treble and no later copy restores it, whatever its sample rate.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sonic_lib.audio.decode import open_audio, stream_mono
from sonic_lib.errors import DecodeError

RATE_HZ = 48_000  # nobody hears more than 24 kHz
_BLOCK_S, _N_BLOCKS = 10.0, 6
_FRAME = 4_096
_FLOOR = 1e-8  # of the strongest frequency's power: -80 dB
_STEP_HZ = 500.0  # smaller differences between codecs do not matter


def filled_band_hz(samples: NDArray[np.float32], *, sample_rate_hz: int = RATE_HZ) -> float:
    """Return the highest frequency that is not silent.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)]
        Mono.

    Returns
    -------
    float
        In Hz, in steps of 500 Hz; 0 for silence.
    """
    n_frames = samples.size // _FRAME
    if not n_frames:
        return 0.0
    frames = samples[: n_frames * _FRAME].reshape(n_frames, _FRAME) * np.hanning(_FRAME)
    power = np.mean(np.abs(np.fft.rfft(frames, axis=1)) ** 2, axis=0)
    filled = np.flatnonzero(power > _FLOOR * power.max())
    if not power.max() or not filled.size:
        return 0.0
    return float(_STEP_HZ * np.round(filled[-1] * sample_rate_hz / _FRAME / _STEP_HZ))


def band_rows(path: str) -> Iterator[dict]:
    """Yield one row: band_hz of a file's first minute; null if it can no longer be read."""
    try:
        with open_audio(path) as file:
            _, blocks = stream_mono(file, sample_rate_hz=RATE_HZ, block_s=_BLOCK_S)
            bands = [filled_band_hz(block) for block in itertools.islice(blocks, _N_BLOCKS)]
        yield {"band_hz": max(bands, default=0.0)}
    except DecodeError:
        yield {"band_hz": None}
