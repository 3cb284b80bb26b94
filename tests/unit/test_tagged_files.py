"""Tags before, between and behind audio files: no sound is lost or made up because of them."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tests.faults.hostile import encoded
from tests.unit.test_damaged_files import HEARD_HZ, LENGTH_S, decoded, likeness, original

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
