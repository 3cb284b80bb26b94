"""Synthetic music, for kernels that need more than random numbers, and very deep folders."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

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


@pytest.fixture
def deep(tmp_path) -> Iterator[Path]:
    """A folder 1,050 levels deep, with one below it whose path is too long to open."""
    before = os.getcwd()
    try:
        os.chdir(tmp_path)
        for name in ["d"] * 1_050 + ["e" * 200] * 12:
            os.mkdir(name)
            os.chdir(name)
            if name == "d":
                continue
            Path("b.mp3").write_bytes(b"x")
        os.chdir(tmp_path / "d")
        Path(*["d"] * 1_049, "a.mp3").write_bytes(b"x")
    finally:
        os.chdir(before)
    yield tmp_path
    # Python's rmtree, which pytest uses for cleanup, would hit the recursion limit here.
    subprocess.run(["rm", "-rf", *map(str, tmp_path.iterdir())], check=True)
