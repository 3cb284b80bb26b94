"""Sounds of noise or one tone, encoded in memory and decoded again."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from sonic_lib.audio.decode import stream_mono
from sonic_lib.errors import DecodeError


def make_sound(n_frames: int, n_channels: int = 1, *, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, (n_frames, n_channels))
    return noise.astype(np.float32)


def encode(x: np.ndarray, sample_rate_hz: int, container: str = "WAV", **options) -> bytes:
    file = io.BytesIO()
    if container == "WAV":
        options.setdefault("subtype", "FLOAT")
    soundfile.write(file, x, sample_rate_hz, format=container, **options)
    return file.getvalue()


def encode_ffmpeg(container: str, codec: str | None, *, with_video: bool = False) -> bytes:
    av = pytest.importorskip("av")
    file = io.BytesIO()
    t_s = np.arange(44_100 * 5) / 44_100
    samples = 0.4 * np.sin(2 * np.pi * 440 * t_s).astype(np.float32)[None]
    with av.open(file, "w", format=container) as output:
        if with_video:
            video = output.add_stream("mpeg4", rate=10)
            video.width = video.height = 32
            video.pix_fmt = "yuv420p"
        if codec:
            audio = output.add_stream(codec, rate=44_100)
            audio.layout = "mono"
            for start in range(0, samples.shape[1], 1_024):
                part = np.ascontiguousarray(samples[:, start : start + 1_024])
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 44_100, start
                output.mux(audio.encode(frame))
            output.mux(audio.encode())
        if with_video:
            for _ in range(5):
                image = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
                output.mux(video.encode(image))
            output.mux(video.encode())
    return file.getvalue()


def decode_all(content: bytes, *, sample_rate_hz: int = 11_025, block_s: float = 30.0):
    info, blocks = stream_mono(io.BytesIO(content), sample_rate_hz=sample_rate_hz, block_s=block_s)
    return info, np.concatenate(list(blocks))


def rejection(content: bytes) -> str:
    with pytest.raises(DecodeError) as caught:
        decode_all(content)
    assert caught.value.stage == "decode"
    return str(caught.value)
