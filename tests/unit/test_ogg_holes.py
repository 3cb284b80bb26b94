"""Ogg files in which pages are damaged or missing: what follows keeps its place."""

from __future__ import annotations

import io
import struct
from functools import lru_cache

import numpy as np
import pytest
import soundfile

from sonic_lib.audio.ogg import _pages, _with_checksum, find_damage
from tests.faults.hostile import sound
from tests.unit.test_damaged_files import HEARD_HZ, decoded

DURATION_S, RATE_HZ = 30.0, 48_000
LONG_SKIP = "OPUS of 80 ms"  # its pre-skip; that of libsndfile is of 6.5 ms
KINDS = ["VORBIS", "OPUS", LONG_SKIP]
EXACT_S = 0.001


@lru_cache
def whole(kind: str, tag: str = "short", n_channels: int = 1) -> bytes:
    file = io.BytesIO()
    samples = sound(duration_s=DURATION_S, rate_hz=RATE_HZ, n_channels=n_channels)
    options = {"format": "OGG", "subtype": kind.split()[0]}
    with soundfile.SoundFile(file, "w", RATE_HZ, n_channels, **options) as output:
        output.comment = tag
        for start in range(0, len(samples), 32_768):
            output.write(samples[start : start + 32_768])
    content = file.getvalue()
    return with_pre_skip(content, 3_840) if kind == LONG_SKIP else content


def with_pre_skip(content: bytes, n_frames: int) -> bytes:
    pages = pages_of(content)
    head = bytearray(pages[0])
    struct.pack_into("<H", head, head.index(b"OpusHead") + 10, n_frames)
    return b"".join([_with_checksum(head), *pages[1:]])


def assert_in_place(heard: np.ndarray, expected: np.ndarray, times_s=(3, 10, 22, 27)) -> None:
    assert abs(len(heard) - len(expected)) / HEARD_HZ < 0.02
    for at_s in times_s:
        assert abs(shift_s(heard, expected, at_s)) < EXACT_S, at_s


def shift_s(heard: np.ndarray, expected: np.ndarray, at_s: float) -> float:
    """By how much an excerpt is later than in the original, within 6 s."""
    start, margin = round(at_s * HEARD_HZ), 6 * HEARD_HZ
    part = heard[start : start + HEARD_HZ]
    first = max(0, start - margin)
    around = expected[first : start + HEARD_HZ + margin]
    likeness = np.fft.irfft(
        np.fft.rfft(around, 1 << 18) * np.conj(np.fft.rfft(part, 1 << 18)), 1 << 18
    )
    return (start - first - int(np.argmax(likeness[: len(around) - len(part)]))) / HEARD_HZ


def pages_of(content: bytes) -> list[bytes]:
    return [content[page.start : page.end] for page in _pages(io.BytesIO(content))]


@pytest.mark.parametrize("tag", ["short", "long " * 1_000], ids=["short", "long"])
@pytest.mark.parametrize("subtype", KINDS)
@pytest.mark.parametrize("n_bytes", [1, 3_000, 30_000])
@pytest.mark.parametrize("way", ["changed", "lost"])
def test_sound_behind_a_damaged_part_keeps_its_place(subtype, tag, n_bytes, way):
    content = whole(subtype, tag)
    expected, left_out = decoded(content)
    assert left_out == ""
    middle = len(content) // 2
    kept = content[middle + n_bytes :]
    inside = bytes(255 - byte for byte in content[middle : middle + n_bytes])
    heard, left_out = decoded(content[:middle] + inside * (way == "changed") + kept)
    assert_in_place(heard, expected)
    assert "damaged Ogg pages" in left_out
    assert "s missing in between, replaced by silence" in left_out
    assert "truncated" not in left_out


@pytest.mark.parametrize("subtype", KINDS)
def test_whole_pages_that_are_lost_are_replaced(subtype):
    content = whole(subtype, n_channels=2)
    expected, _ = decoded(content)
    pages = pages_of(content)
    heard, left_out = decoded(b"".join(pages[:8] + pages[10:15] + pages[16:]))
    assert_in_place(heard, expected, [25])
    assert left_out.endswith("s missing in between, replaced by silence")


@pytest.mark.parametrize("way", ["damaged", "lost"])
@pytest.mark.parametrize("n_pages", [1, 2])
@pytest.mark.parametrize("subtype", KINDS)
def test_sound_behind_a_damaged_first_page_keeps_its_place(subtype, n_pages, way):
    content = whole(subtype)
    expected, _ = decoded(content)
    pages = pages_of(content)
    lost = b"".join(pages[2 : 2 + n_pages])
    inside = b"" if way == "lost" else bytes(255 - byte for byte in lost)
    heard, left_out = decoded(b"".join([*pages[:2], inside, *pages[2 + n_pages :]]))
    assert_in_place(heard, expected)
    assert "s missing in between, replaced by silence" in left_out
    assert ("damaged Ogg pages" in left_out) == (way == "damaged")


@pytest.mark.parametrize("n_lost", [8, 20])
@pytest.mark.parametrize("subtype", KINDS)
def test_part_of_a_longer_stream_begins_at_once(subtype, n_lost):
    content = whole(subtype)
    pages = pages_of(content)
    heard, left_out = decoded(b"".join([*pages[:2], *pages[2 + n_lost :]]))
    assert left_out == ""
    assert len(heard) / HEARD_HZ < DURATION_S - 2


@pytest.mark.parametrize("step", [-1, 2])
@pytest.mark.parametrize("subtype", KINDS)
def test_number_of_pages_changed_by_an_editor_of_tags_is_no_damage(subtype, step):
    """Editors that rewrite the headers do not always renumber what follows."""
    content = whole(subtype)
    pages = [bytearray(page) for page in pages_of(content)]
    for page in pages[2:]:
        number = struct.unpack_from("<I", page, 18)[0]
        struct.pack_into("<I", page, 18, number + step)
    edited = b"".join([*pages[:2], *map(_with_checksum, pages[2:])])
    heard, left_out = decoded(edited)
    np.testing.assert_array_equal(heard, decoded(content)[0])
    assert left_out == ""


@pytest.mark.parametrize("subtype", KINDS)
def test_last_page_behind_a_damaged_one_is_used(subtype):
    content = whole(subtype)
    expected, _ = decoded(content)
    *pages, last = pages_of(content)
    pages[-1] = bytes(255 - byte for byte in pages[-1])
    heard, left_out = decoded(b"".join([*pages, last]))
    assert abs(len(heard) - len(expected)) / HEARD_HZ < 0.02
    end_s = DURATION_S - 0.15
    window = slice(round(end_s * HEARD_HZ) - 1_000, round(end_s * HEARD_HZ))
    assert np.sqrt(np.mean(heard[window] ** 2)) > 0.1
    assert left_out.count(";") == 1
    assert left_out.startswith("damaged Ogg pages")
    assert left_out.endswith("s missing in between, replaced by silence")


@pytest.mark.parametrize("subtype", KINDS)
def test_damaged_last_page_is_noted(subtype):
    content = whole(subtype, "long " * 1_000)
    last = pages_of(content)[-1]
    at = len(content) - len(last) // 2
    heard, left_out = decoded(content[:at] + bytes([255 - content[at]]) + content[at + 1 :])
    assert len(heard) / HEARD_HZ < DURATION_S
    assert left_out.startswith("damaged Ogg pages, ")


@pytest.mark.parametrize("subtype", KINDS)
def test_long_hole_is_not_filled(subtype, monkeypatch):
    monkeypatch.setattr("sonic_lib.audio.filled_ogg.MAX_GAP_S", 2.0)
    content = whole(subtype)
    third = len(content) // 3
    heard, left_out = decoded(content[:third] + content[2 * third :])
    assert len(heard) / HEARD_HZ == pytest.approx(2 * DURATION_S / 3, abs=2.5)
    assert "s missing, not filled with silence" in left_out
    assert "truncated" not in left_out


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("subtype", KINDS)
def test_any_of_joined_files_may_be_damaged(subtype, which):
    content = whole(subtype)
    expected, left_out = decoded(3 * content)
    assert left_out == ""
    links = [content] * 3
    links[which] = content[:40_000] + bytes(20_000) + content[60_000:]
    heard, left_out = decoded(b"".join(links))
    assert abs(len(heard) - len(expected)) / HEARD_HZ < 0.1
    for at_s in (2, 25, 32, 55, 62, 85):
        assert abs(shift_s(heard, expected, at_s)) < 0.01, at_s
    assert "s missing in between, replaced by silence" in left_out


@pytest.mark.parametrize("subtype", KINDS)
def test_sum_of_the_silence_is_limited(subtype, monkeypatch):
    monkeypatch.setattr("sonic_lib.audio.filled_ogg._MAX_SILENCE_S", 5.0)
    content = whole(subtype)
    third = len(content) // 3
    kept = [content[:third], content[third + 15_000 : 2 * third], content[2 * third + 50_000 :]]
    heard, left_out = decoded(b"".join(kept))
    assert len(heard) / HEARD_HZ < DURATION_S - 2
    assert "s missing in between, replaced by silence" in left_out
    assert left_out.count("s missing, not filled with silence") == 1
    assert "truncated" not in left_out


@pytest.mark.parametrize("subtype", KINDS)
def test_comments_are_not_read_with_each_part(subtype):
    content = whole(subtype, "long " * 100_000 if subtype == "VORBIS" else "long " * 10_000)
    pages = pages_of(content)
    opened = []
    damaged = b"".join([*pages[:-8], *pages[-6:]])
    damage = find_damage(
        io.BytesIO(damaged), sample_rate_hz=RATE_HZ, n_decoded=lambda part: opened.append(part) or 0
    )
    assert damage.runs
    (part,) = opened
    with soundfile.SoundFile(io.BufferedReader(part)) as sound:
        assert sound.comment == ""
        assert 0 < len(sound.read()) < 2 * RATE_HZ
    assert part.seek(0, io.SEEK_END) < 30_000


@pytest.mark.parametrize("subtype", KINDS)
def test_bytes_between_pages_cost_nothing(subtype):
    content, junk = whole(subtype), b"junk" * 100
    expected, _ = decoded(content)
    pages = pages_of(content)
    heard, left_out = decoded(b"".join([*pages[:8], junk, *pages[8:]]))
    np.testing.assert_allclose(heard, expected, atol=1e-4)
    assert left_out == "damaged Ogg pages, 400 bytes"


def test_file_without_pages_of_sound_is_no_error():
    content = whole("VORBIS")
    assert len(list(_pages(io.BytesIO(content)))) == content.count(b"OggS")
    assert list(_pages(io.BytesIO(content[:20]))) == []
    assert list(_pages(io.BytesIO(b"OggS" * 50_000))) == []
