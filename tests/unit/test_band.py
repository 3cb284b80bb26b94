"""Estimation of a recording's bandwidth."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from scipy import signal

from sonic_lib.audio.band import RATE_HZ, band_rows, filled_band_hz


@pytest.mark.parametrize("edge_hz", [4_000, 11_000, 16_000])
def test_band_ends_where_the_sound_does(rng, edge_hz):
    noise = rng.normal(0, 0.1, 5 * RATE_HZ)
    low = signal.sosfiltfilt(signal.ellip(12, 0.1, 100, edge_hz, fs=RATE_HZ, output="sos"), noise)
    assert filled_band_hz(low.astype(np.float32)) == pytest.approx(edge_hz, abs=500)


def test_silence_and_very_short_sounds_have_no_band(rng):
    assert filled_band_hz(np.zeros(RATE_HZ, np.float32)) == 0
    assert filled_band_hz(np.zeros(10, np.float32)) == 0


def test_transcode_has_the_band_of_its_source(tmp_path, rng):
    """A 192 kbit/s WMA made from a low-quality Ogg."""
    pytest.importorskip("av")
    noise = rng.normal(0, 0.1, 8 * 44_100).astype(np.float32)
    soundfile.write(tmp_path / "whole.flac", noise, 44_100)
    soundfile.write(tmp_path / "first.ogg", noise, 44_100, compression_level=1.0)
    decoded, _ = soundfile.read(tmp_path / "first.ogg")
    soundfile.write(tmp_path / "copy.flac", decoded, 44_100)
    bands = [
        next(band_rows(str(tmp_path / name)))["band_hz"]
        for name in ("whole.flac", "first.ogg", "copy.flac")
    ]
    assert bands[0] > bands[1] + 1_000
    assert bands[1] == bands[2]


def test_missing_file_has_no_band(tmp_path):
    assert list(band_rows(str(tmp_path / "gone.wav"))) == [{"band_hz": None}]
    (tmp_path / "no sound.wav").write_bytes(io.BytesIO(b"x" * 100).getvalue())
    assert list(band_rows(str(tmp_path / "no sound.wav"))) == [{"band_hz": None}]
