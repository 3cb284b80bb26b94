"""Concatenated files, sizes that are too small, and data after the audio."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sonic_lib.audio import containers
from sonic_lib.audio.containers import sound_parts
from sonic_lib.errors import DecodeError
from tests.faults.hostile import FFMPEG, LIBSNDFILE, RATE_HZ, encoded, mutate, sound
from tests.unit.test_damaged_files import HEARD_HZ, LENGTH_S, decoded, likeness, muxed, original

av = pytest.importorskip("av")

# Where the size of the samples is stored: the marker, the distance from it, and the format.
SIZES = {
    "wav": (b"data", 4, "<I"),
    "float.wav": (b"data", 4, "<I"),
    "adpcm.wav": (b"data", 4, "<I"),
    "rf64": (b"ds64", 16, "<Q"),
    "aiff": (b"SSND", 4, ">I"),
    "caf": (b"data", 4, ">q"),
    "au": (b".snd", 8, ">I"),
}


def with_size(name: str, share: float, *, also_riff: bool = False) -> bytes:
    """A file whose size field covers only a share of its samples."""
    content = bytearray(encoded(name))
    tag, after, form = SIZES[name]
    at = content.index(tag) + after
    n_bytes = struct.unpack_from(form, content, at)[0]
    stale = int(n_bytes * share) // 8 * 8
    struct.pack_into(form, content, at, stale)
    if also_riff:
        struct.pack_into("<I", content, 4, at + stale - 4)
    return bytes(content)


@pytest.mark.parametrize("name", sorted({*SIZES, "m4a", "alac.m4a", "wma", "mka", "w64"}))
def test_second_of_two_joined_files_is_read(name):
    heard, left_out = decoded(2 * encoded(name))
    assert len(heard) / HEARD_HZ == pytest.approx(2 * LENGTH_S, abs=0.2)
    assert likeness(heard, np.tile(original(), 2), start_s=8.0, length_s=0.5) > 0.9
    assert left_out == ""


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        *[("tta", "tta"), ("wv", "wavpack"), ("flv", "aac"), ("mov", "pcm_s16le"), ("avi", "aac")],
        *[("matroska", "pcm_s16le"), ("matroska", "flac"), ("voc", "pcm_s16le")],
    ],
)
def test_second_of_two_joined_rare_files_is_read(container, codec):
    heard, left_out = decoded(3 * muxed(container, codec))
    assert len(heard) / HEARD_HZ == pytest.approx(3 * LENGTH_S, abs=0.4)
    assert likeness(heard, np.tile(original(), 3), start_s=13.0, length_s=0.5) > 0.9
    assert left_out == ""


@pytest.mark.parametrize(("first", "second"), [("mka", "flac"), ("mka", "pcm_s24le"), ("w64", "")])
def test_joined_files_of_a_searched_format_may_differ(first, second):
    other = muxed("matroska" if second else "w64", second or "pcm_s24le")
    heard, left_out = decoded(encoded(first) + other + encoded(first))
    assert len(heard) / HEARD_HZ == pytest.approx(3 * LENGTH_S, abs=0.2)
    for start_s in (8.0, 13.0):
        assert likeness(heard, np.tile(original(), 3), start_s=start_s, length_s=0.5) > 0.9
    assert left_out == ""


def test_joined_files_behind_junk_are_all_read():
    heard, left_out = decoded(b"HTTP/1.1 200 OK\r\n\r\n" + 2 * encoded("wav"))
    assert len(heard) / HEARD_HZ == pytest.approx(2 * LENGTH_S, abs=0.05)
    assert left_out == "19 bytes before the sound"


@pytest.mark.parametrize("others", ["ogg", "m4a m4a", "m4a aiff aiff m4a wav", "mka mka"])
def test_joined_files_may_be_of_different_kinds(others):
    names = ["wav", *others.split()]
    heard, left_out = decoded(b"".join(encoded(name) for name in names))
    assert len(heard) / HEARD_HZ == pytest.approx(len(names) * LENGTH_S, abs=0.4)
    assert left_out == ""


def test_files_that_change_their_kind_all_the_time_do_not_stop_the_parser():
    parts, _ = sound_parts(io.BytesIO(100 * (encoded("wav") + encoded("m4a"))))
    assert len(parts) > 20


def test_joined_files_may_differ_in_rate_and_channels():
    parts = []
    for rate_hz, n_channels in ((22_050, 2), (48_000, 1), (32_000, 2)):
        file = io.BytesIO()
        x = sound(rate_hz=rate_hz, n_channels=n_channels)
        soundfile.write(file, x, rate_hz, format="WAV", subtype="PCM_24")
        parts.append(file.getvalue())
    heard, left_out = decoded(b"".join(parts))
    assert len(heard) / HEARD_HZ == pytest.approx(3 * LENGTH_S, abs=0.05)
    assert left_out == ""


def test_last_of_joined_files_may_be_cut():
    content = encoded("wav") + encoded("wav")[: len(encoded("wav")) // 2]
    heard, left_out = decoded(content)
    assert len(heard) / HEARD_HZ == pytest.approx(1.5 * LENGTH_S, abs=0.05)
    assert "are missing" in left_out


def test_unreadable_joined_file_is_noted():
    broken = bytearray(encoded("wav"))
    struct.pack_into("<H", broken, 20, 0x674F)  # an unknown codec
    heard, left_out = decoded(encoded("wav") + bytes(broken))
    assert len(heard) / HEARD_HZ == pytest.approx(LENGTH_S, abs=0.05)
    assert left_out.startswith("file 2 of 2 joined ones: ")


def test_unpadded_odd_size_hides_no_file():
    file = io.BytesIO()
    soundfile.write(file, sound()[: RATE_HZ * 2 + 1], RATE_HZ, format="WAV", subtype="PCM_U8")
    content = file.getvalue()
    n_bytes = struct.unpack_from("<I", content, 40)[0]
    assert n_bytes % 2
    heard, _ = decoded(2 * content[: 44 + n_bytes])
    assert len(heard) / HEARD_HZ == pytest.approx(4.0, abs=0.05)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("name", sorted(SIZES))
def test_samples_after_an_outdated_size_are_read(name, share):
    heard, left_out = decoded(with_size(name, share))
    assert len(heard) / HEARD_HZ == pytest.approx(LENGTH_S, abs=0.05)
    assert likeness(heard, original(), start_s=4.0, length_s=0.5) > 0.99
    assert left_out == ""


def test_outer_size_may_be_outdated_too():
    heard, _ = decoded(with_size("wav", 0.5, also_riff=True))
    np.testing.assert_allclose(heard, original(), atol=1e-3)


def test_size_beyond_4_gib_is_left_to_ffmpeg(monkeypatch):
    monkeypatch.setattr(containers, "MAX_U32", 1_000)
    heard, _ = decoded(with_size("wav", 0.5))
    np.testing.assert_allclose(heard, original(), atol=1e-3)


@pytest.mark.parametrize("name", ["caf", "wav", "aiff", "au", "rf64", "w64"])
def test_missing_samples_are_noted(name):
    content = encoded(name)
    _, left_out = decoded(content[: int(0.6 * len(content))])
    assert left_out.startswith("truncated: ")


def test_truncated_avi_has_a_note():
    content = muxed("avi", "pcm_s16le")
    heard, left_out = decoded(content[: int(0.6 * len(content))])
    assert len(heard) / HEARD_HZ > 2.5
    assert "are missing" in left_out


@pytest.mark.parametrize(
    ("behind", "is_told"),
    [
        (b"LIST\x04\0\0\0INFO", False),
        (b"TAG" + bytes(125), False),
        (b"ID3\x03\0\0\0\0\x7f\x7f" + bytes(16_000), False),
        (bytes(100_000), False),
        (b"\xff\xd8\xff\xe0" + np.random.default_rng(5).bytes(50_000), True),
        (b"<html>" + b"this is a page of text " * 500, True),
    ],
)
def test_data_after_a_wav_file_that_is_not_audio_is_ignored(behind, is_told):
    heard, left_out = decoded(encoded("wav") + behind)
    np.testing.assert_allclose(heard, original(), atol=1e-6)
    note = f"{len(behind)} bytes after the sound, which are not sound"
    assert left_out == (note if is_told else "")


@pytest.mark.parametrize("name", ["ogg", "opus"])
@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_lost_pages_of_an_ogg_file_are_noted(name, place):
    content = encoded(name)
    at = int(place * len(content))
    heard, left_out = decoded(content[:at] + b"\xff" * 1_500 + content[at + 1_500 :])
    assert len(heard) / HEARD_HZ > 2.5
    assert "damaged Ogg pages" in left_out


def test_truncated_flac_in_ogg_has_a_note():
    content = muxed("ogg", "flac")
    assert "middle of an Ogg page" in decoded(content[: int(0.6 * len(content))])[1]


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"\xa5"])
@pytest.mark.parametrize("name", ["aac", "mp3", "m4a", "alac.m4a"])
def test_hole_costs_its_length_whatever_is_in_it(name, fill):
    content = encoded(name)
    at = len(content) // 2
    heard, left_out = decoded(content[:at] + 1_500 * fill + content[at + 1_500 :])
    assert 3.9 < len(heard) / HEARD_HZ < LENGTH_S + 0.1
    assert likeness(heard, original(), start_s=1.0, length_s=0.5) > 0.9
    assert "damaged packet" in left_out


def test_m4a_table_may_be_at_either_end(tmp_path):
    path = tmp_path / "first.m4a"  # FFmpeg moves the table in a file, not in memory
    with (
        av.open(io.BytesIO(encoded("m4a"))) as whole,
        av.open(str(path), "w", format="ipod", options={"movflags": "faststart"}) as moved,
    ):
        stream = moved.add_stream_from_template(whole.streams.audio[0])
        for packet in whole.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                moved.mux(packet)
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    heard, left_out = decoded(content[: len(content) // 2])
    assert 2 < len(heard) / HEARD_HZ < 3
    assert "truncated" in left_out
    with pytest.raises(DecodeError, match="moov"):
        decoded(encoded("m4a")[:-200])


@pytest.mark.parametrize("n_channels", [65, 1_000, 65_535])
def test_file_with_too_many_channels_is_rejected_with_a_reason(n_channels):
    n_bytes = n_channels * 2
    rates = struct.pack("<IIHH", 44_100, 44_100 * n_bytes & 0xFFFFFFFF, n_bytes & 0xFFFF, 16)
    fmt = struct.pack("<IHH", 16, 1, n_channels) + rates
    samples = bytes(n_bytes * 300)
    body = b"WAVEfmt " + fmt + b"data" + struct.pack("<I", len(samples)) + samples
    with pytest.raises(DecodeError, match="channel") as caught:
        decoded(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert caught.value.stage == "decode"


def test_corrupted_headers_do_not_stop_the_parser():
    rng = np.random.default_rng(1)
    kinds = [encoded(name) for name in (*LIBSNDFILE, *FFMPEG)]
    for k in range(1_500):
        content = kinds[k % len(kinds)] + (kinds[rng.integers(len(kinds))] if k % 2 else b"")
        _, spoilt = mutate(content, rng)
        if spoilt:
            parts, _ = sound_parts(io.BytesIO(spoilt))
            assert sum(part.seek(0, 2) for part in parts) == len(spoilt)


def test_only_headers_are_read_of_a_large_file(tmp_path: Path):
    path = tmp_path / "large.wav"
    n_bytes = 3_000_000_000
    with path.open("wb") as file:
        file.write(encoded("wav")[:40] + struct.pack("<I", n_bytes))
        file.truncate(44 + n_bytes)

    class Counted(io.FileIO):
        n_read = 0

        def readinto(self, buffer):
            n = super().readinto(buffer)
            self.n_read += n
            return n

    with Counted(path) as raw:
        parts, left_out = sound_parts(io.BufferedReader(raw))
        assert len(parts) == 1
        assert not left_out
        assert raw.n_read < 100_000


def test_unreadable_file_after_two_flac_files_is_noted():
    content = encoded("flac")
    heard, left_out = decoded(2 * content + content[:60])  # not even its headers
    assert len(heard) / HEARD_HZ == pytest.approx(2 * LENGTH_S, abs=0.2)
    assert left_out.startswith("file 3 of 3 joined ones: ")
