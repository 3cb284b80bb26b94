"""Tags and junk before, between and behind files: no sound is lost or made up because of them."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from sonic_lib.errors import DecodeError
from tests.faults.hostile import encoded, muxed, sound
from tests.unit.test_damaged_files import (
    HEARD_HZ,
    LENGTH_S,
    decoded,
    file_of,
    likeness,
    original,
    with_hole,
)

pytest.importorskip("av")

ID3V1 = b"TAG" + b"A title".ljust(125, b"\0")
ID3V2 = b"ID3\x03\0\0\0\x01\0\0" + bytes(range(128)) * 128
LONG_ID3V2 = b"ID3\x04\0\0\0\x18\0\0" + bytes(0x18 << 14)
APE = struct.pack("<8sIIII8x", b"APETAGEX", 2_000, 45, 1, 0xA000_0000)
APE += struct.pack("<II5s", 3, 0, b"Year\0")
APE += struct.pack("<8sIIII8x", b"APETAGEX", 2_000, 45, 1, 0x8000_0000)


@pytest.mark.parametrize(
    "tag",
    [ID3V1, b"TAGA" + bytes(124), ID3V2, APE, APE + ID3V1],
    ids=["ID3v1", "short title", "ID3v2", "APE", "APE and ID3v1"],
)
@pytest.mark.parametrize("name", ["wav", "aiff", "au", "caf", "rf64", "m4a", "mka"])
def test_tag_between_joined_files_hides_none(name, tag):
    heard, left_out = decoded(encoded(name) + tag + encoded(name))
    assert len(heard) / HEARD_HZ == pytest.approx(2 * LENGTH_S, abs=0.2)
    assert likeness(heard, np.tile(original(), 2), start_s=8.0, length_s=0.5) > 0.9
    assert left_out == ""


@pytest.mark.parametrize("name", ["wav", "aiff", "au", "caf", "w64", "flac", "ogg", "m4a", "mka"])
@pytest.mark.parametrize(
    "tags", [ID3V2, 2 * ID3V2, LONG_ID3V2], ids=["ID3v2", "two", "longer than the search"]
)
def test_tag_before_a_file_changes_nothing(name, tags):
    expected = decoded(encoded(name))
    heard, left_out = decoded(tags + encoded(name))
    np.testing.assert_array_equal(heard, expected[0])
    assert left_out == expected[1] == ""


def test_mp3_with_a_tag_may_follow():
    heard, left_out = decoded(encoded("wav") + ID3V2 + encoded("mp3"))
    assert len(heard) / HEARD_HZ == pytest.approx(2 * LENGTH_S, abs=0.2)
    assert left_out == ""


def test_unknown_bytes_behind_a_tag_are_noted():
    behind = np.random.default_rng(3).bytes(9_000)
    heard, left_out = decoded(encoded("wav") + ID3V1 + behind)
    np.testing.assert_allclose(heard, original(), atol=1e-6)
    assert left_out == "9000 bytes after the sound"


@pytest.mark.parametrize("junk", [b"HTTP/1.1 200 OK\r\nContent-Type: audio\r\n\r\n", bytes(5_000)])
@pytest.mark.parametrize(
    "name", ["wav", "aiff", "flac", "ogg", "opus", "mp3", "aac", "m4a", "wma", "mka"]
)
def test_junk_before_the_audio_is_skipped(name, junk):
    heard, left_out = decoded(junk + file_of(name))
    assert len(heard) / HEARD_HZ == pytest.approx(LENGTH_S, abs=0.2)
    assert left_out == f"{len(junk)} bytes before the sound"


@pytest.mark.parametrize(
    ("name", "before"),
    [(name, tags) for name in ("mp3", "aac") for tags in (ID3V2, 2 * ID3V2, LONG_ID3V2, APE)]
    + [("mp3", ID3V2 + bytes(5_000))],  # padding of the tag
)
def test_tags_before_frames_have_no_note(name, before):
    heard, left_out = decoded(before + encoded(name))
    assert len(heard) / HEARD_HZ == pytest.approx(LENGTH_S, abs=0.1)
    assert left_out == ""


def test_junk_between_a_tag_and_an_mp3_is_noted():
    assert decoded(ID3V2 + b"junk" * 50 + encoded("mp3"))[1] == "200 bytes before the sound"


@pytest.mark.parametrize(("container", "codec"), [("avi", "pcm_s16le"), ("flv", "aac")])
def test_junk_before_a_video_is_skipped(container, codec):
    heard, left_out = decoded(bytes(5_000) + muxed(container, codec))
    assert len(heard) / HEARD_HZ == pytest.approx(LENGTH_S, abs=0.3)
    assert left_out == "5000 bytes before the sound"


@pytest.mark.parametrize("n_bytes", [1_004, 5_000, 64_000])
def test_samples_without_a_header_are_not_taken_for_a_video_game(n_bytes):
    heard, left_out = decoded(bytes(n_bytes) + encoded("au"))
    np.testing.assert_allclose(heard, original(), atol=1e-3)
    assert left_out == f"{n_bytes} bytes before the sound"
    stereo = (sound(duration_s=8.0, rate_hz=44_100, n_channels=2) * 32_767).astype("<i2").tobytes()
    for content in (bytes(n_bytes) + stereo, stereo[n_bytes:]):
        with pytest.raises(DecodeError, match="not audio"):
            decoded(content)


def test_tag_longer_than_the_file_hides_no_audio():
    heard, left_out = decoded(b"ID3\x03\0\0\x7f\x7f\x7f\x7f" + encoded("mp3"))
    assert len(heard) / HEARD_HZ == pytest.approx(LENGTH_S, abs=0.2)
    assert left_out


@pytest.mark.parametrize(
    "behind",
    [b"\0", b"TAG" + bytes(125), b"APETAGEX" + bytes(992), np.random.default_rng(4).bytes(9_000)],
)
def test_intact_flac_with_something_behind_it_is_not_called_damaged(behind):
    heard, left_out = decoded(encoded("flac") + behind)
    np.testing.assert_array_equal(heard, decoded(encoded("flac"))[0])
    assert left_out == ""


def test_damaged_flac_with_a_tag_behind_it_has_a_note():
    _, left_out = decoded(with_hole(encoded("flac")) + b"TAG" + bytes(125))
    assert "missing in between" in left_out
