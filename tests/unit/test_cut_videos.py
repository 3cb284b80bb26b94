"""Videos: a cut one has a note, an intact one whose sound is shorter than its picture has none."""

from __future__ import annotations

import io
import re
from functools import lru_cache

import numpy as np
import pytest

from sonic_lib.audio.sizes import missing_bytes
from tests.faults.hostile import RATE_HZ, encoded, sound
from tests.unit.test_damaged_files import HEARD_HZ, LENGTH_S, decoded

av = pytest.importorskip("av")

PICTURE_S, PICTURES_HZ = 8, 10


@lru_cache
def video(container: str, codec: str, audio_codec: str) -> bytes:
    """The test sound, and a picture that is longer."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        picture = output.add_stream(codec, rate=PICTURES_HZ)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        stream = output.add_stream(audio_codec, rate=RATE_HZ)
        stream.layout, stream.bit_rate = "mono", 64_000
        sample_format = stream.codec_context.codec.audio_formats[0].name
        resampler = av.AudioResampler(format=sample_format, layout="mono", rate=RATE_HZ)
        rng = np.random.default_rng(4)
        step = RATE_HZ // PICTURES_HZ
        samples = sound()[:, 0][None]
        for k in range(PICTURE_S * PICTURES_HZ):
            pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            output.mux(picture.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            part = np.ascontiguousarray(samples[:, k * step : (k + 1) * step])
            if not part.size:
                continue
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE_HZ, k * step
            for ready in resampler.resample(frame):
                output.mux(stream.encode(ready))
        output.mux(stream.encode())
        output.mux(picture.encode())
    return file.getvalue()


VIDEOS = [
    *[("matroska", "mpeg4", "aac"), ("asf", "wmv2", "wmav2"), ("flv", "flv1", "aac")],
    ("avi", "mpeg4", "mp2"),
]


@pytest.mark.parametrize("kind", VIDEOS, ids=lambda kind: kind[0])
def test_cut_video_has_a_note(kind):
    content = video(*kind)
    heard, left_out = decoded(content[: len(content) // 2])
    assert 0.4 * LENGTH_S < len(heard) / HEARD_HZ < 0.98 * LENGTH_S
    assert re.search(r"truncated: \d+ bytes", left_out)  # the length is of the picture


@pytest.mark.parametrize("kind", VIDEOS, ids=lambda kind: kind[0])
def test_intact_video_has_no_note_though_its_sound_is_shorter(kind):
    heard, left_out = decoded(video(*kind))
    assert len(heard) / HEARD_HZ == pytest.approx(LENGTH_S, abs=0.2)
    assert left_out == ""


@pytest.mark.parametrize("kind", VIDEOS, ids=lambda kind: kind[0])
def test_joined_videos_are_read_to_the_end(kind):
    content = video(*kind)
    heard, left_out = decoded(2 * content)
    assert len(heard) / HEARD_HZ == pytest.approx(2 * LENGTH_S, abs=0.4)
    assert left_out == ""
    _, left_out = decoded(content + content[: len(content) // 2])
    assert "truncated: " in left_out


@pytest.mark.parametrize("name", ["m4a", "mka"])
def test_each_of_joined_files_may_be_cut(name):
    content = encoded(name)
    heard, left_out = decoded(content + encoded("mka")[: len(encoded("mka")) // 2])
    assert len(heard) / HEARD_HZ == pytest.approx(1.5 * LENGTH_S, abs=0.4)
    assert left_out.startswith("file 2 of 2 joined ones: truncated: ")
    if name == "mka":
        _, left_out = decoded(content[: len(content) // 2] + content)
        assert left_out.startswith("file 1 of 2 joined ones: truncated: ")


def test_sizes_in_damaged_headers_are_no_error():
    rng = np.random.default_rng(3)
    for kind in VIDEOS:
        content = bytearray(video(*kind)[:3_000])
        for _ in range(300):
            content[rng.integers(len(content))] = rng.integers(256)
            assert missing_bytes(io.BytesIO(content[: rng.integers(3_000)])) >= 0
