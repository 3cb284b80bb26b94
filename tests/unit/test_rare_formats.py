"""Formats that few files have: those read, and those rejected with a reason."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from sonic_lib.audio.local_files import SUFFIXES
from sonic_lib.errors import DecodeError
from tests.faults.hostile import muxed, sound
from tests.unit.test_damaged_files import HEARD_HZ, LENGTH_S, decoded

av = pytest.importorskip("av")


@pytest.mark.parametrize(
    ("container", "codec", "suffix"),
    [
        *[("wv", "wavpack", "wv"), ("tta", "tta", "tta"), ("ac3", "ac3", "ac3")],
        *[("mpegts", "mp2", "ts"), ("flv", "aac", "flv"), ("webm", "libopus", "weba")],
        *[("asf", "wmav2", "wmv"), ("ipod", "aac", "m4r"), ("mpeg", "mp2", "mpg")],
        *[("dts", "dca", "dts"), ("ogg", "libspeex", "spx"), ("eac3", "eac3", "ec3")],
        *[("vob", "ac3", "vob"), ("3g2", "aac", "3g2"), ("voc", "pcm_s16le", "voc")],
    ],
)
def test_rare_formats_are_read_and_listed(container, codec, suffix):
    assert suffix in SUFFIXES
    try:
        content = muxed(container, codec, (("strict", "experimental"),))
    except (ValueError, av.FFmpegError) as error:
        pytest.skip(f"this FFmpeg makes no {suffix}: {error}")
    heard, left_out = decoded(content)
    assert len(heard) / HEARD_HZ == pytest.approx(LENGTH_S, abs=0.3)
    assert left_out == ""


def test_amr_is_read():
    file = io.BytesIO()
    rate_hz = 8_000
    try:
        with av.open(file, "w", format="amr") as output:
            stream = output.add_stream("libopencore_amrnb", rate=rate_hz)
            stream.layout, stream.bit_rate = "mono", 12_200
            x = (sound(rate_hz=rate_hz)[:, 0] * 32_000).astype(np.int16)
            for start in range(0, len(x) - 159, 160):
                part = x[None, start : start + 160]
                frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
                frame.sample_rate, frame.pts = rate_hz, start
                output.mux(stream.encode(frame))
            output.mux(stream.encode())
    except (ValueError, av.FFmpegError) as error:
        pytest.skip(f"this FFmpeg makes no amr: {error}")
    heard, left_out = decoded(file.getvalue())
    assert len(heard) / HEARD_HZ == pytest.approx(LENGTH_S, abs=0.1)
    assert left_out == ""


@pytest.mark.parametrize("times", [64, 256, 512])
def test_one_bit_dsf_audio_is_read(times):
    """A tone through a second-order modulator, as on a Super Audio CD, and at higher rates."""
    rate_hz, n_frames = times * 44_100, 4_096 * 8 * 18
    tone_hz = 1_000 * times / 64  # as many periods in as many bits
    x = 0.3 * np.sin(2 * np.pi * tone_hz * np.arange(n_frames) / rate_hz)
    bits = np.empty(n_frames, np.uint8)
    first = second = 0.0
    for k, value in enumerate(x):
        y = 1.0 if second >= 0 else -1.0
        bits[k] = y > 0
        first += value - y
        second += first - 2 * y
    samples = np.packbits(bits, bitorder="little").tobytes()
    fmt = struct.pack("<4sQIIIIIIQII", b"fmt ", 52, 1, 0, 1, 1, rate_hz, 1, n_frames, 4_096, 0)
    data = struct.pack("<4sQ", b"data", 12 + len(samples)) + samples
    content = struct.pack("<4sQQQ", b"DSD ", 28, 28 + len(fmt) + len(data), 0) + fmt + data
    heard, _ = decoded(content)
    assert len(heard) / HEARD_HZ == pytest.approx(n_frames / rate_hz, abs=0.02)
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    peak_hz = np.argmax(spectrum) * HEARD_HZ / len(heard)
    if tone_hz < HEARD_HZ / 2:
        assert peak_hz == pytest.approx(tone_hz, rel=0.01)


@pytest.mark.parametrize("magic", [b"MAC \x96\x0f\0\0", b"MP+\x07", b"MPCK", b"DSD ", b"#!AMR"])
def test_formats_that_cannot_be_created_here_are_rejected_with_a_reason(magic):
    noise = np.random.default_rng(2).bytes(60_000)
    with pytest.raises(DecodeError, match=r"read|decoded|broken|cannot"):
        decoded(magic + noise)


def test_common_extensions_are_listed():
    wanted = (
        "ape mpc amr dsf dts flv mpg spx tta wv weba m4r wmv mpeg m2ts mts vob ogv ogx m4v 3g2 "
        "eac3 ec3 mpga bwf aifx tak voc"
    )
    assert set(wanted.split()) <= SUFFIXES
