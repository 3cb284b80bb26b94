"""Synthetic music, for kernels that need more than random numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest

from sonic_lib.fingerprint.params import SAMPLE_RATE_HZ, FingerprintParams
from sonic_lib.synth.composer import synth_song
from sonic_lib.synth.styles import STYLES


@lru_cache
def _mono(seed: int, style: str, duration_s: float) -> np.ndarray:
    song = synth_song(seed, style=style, duration_s=duration_s, sample_rate_hz=SAMPLE_RATE_HZ)
    mono = song.mean(axis=1)
    mono.flags.writeable = False
    return mono


@pytest.fixture
def make_song() -> Callable[..., np.ndarray]:
    """Mono songs at 12 kHz by style; read-only, since tests share them."""

    def make(style: str = "folk", *, seed: int = 3, duration_s: float = 20.0) -> np.ndarray:
        return _mono(seed, style, duration_s)

    return make


@pytest.fixture(params=["ambient", "techno", "folk", "gamelan"])
def song(request, make_song) -> np.ndarray:
    """20 s of each style in turn."""
    assert request.param in STYLES
    return make_song(request.param)


@pytest.fixture
def params() -> FingerprintParams:
    """The fingerprint parameters of the default configuration."""
    return FingerprintParams()
