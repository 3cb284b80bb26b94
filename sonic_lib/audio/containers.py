"""Find where the sound of a file really ends: joined files, outdated sizes in headers.

Decoders stop where the first header says.  Another file may follow, or samples from a recorder that
crashed or wrote more than the 4 GiB that its header can count.  WAV, RF64, AIFF and CAF are walked
chunk by chunk and MP4 box by box (ISO/IEC 14496-12), reading only the headers; ASF, FLV, Matroska,
W64, VOC, TTA and WavPack are searched for the beginnings of further files.
"""

from __future__ import annotations

import io
import itertools
import os
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from sonic_lib.audio.beginnings import (
    HEAD_BYTES,
    begins_file,
    joined_pattern,
    later_matches,
    tags_end,
)
from sonic_lib.audio.mpeg import is_mpeg
from sonic_lib.audio.part import Part
from sonic_lib.audio.sizes import missing_bytes_note

# Up to this many bytes behind the sound are taken for a tag.
MAX_TAG_BYTES = 2_048
_MAX_PARTS, _MAX_CHUNKS = 1_000, 10_000  # real files have a few
_MAX_KINDS = 20  # how often joined files may change their kind

_CHUNKED = re.compile(
    rb"RIFF....(?:WAVE|AVI )|RF64....WAVE|FORM....AIF[FC]|caff\0\x01|\.snd\0\0", re.DOTALL
)
_CHUNK_NAME = re.compile(rb"[A-Za-z0-9 _.\-]{4}")
_KNOWN_CHUNKS = {b"LIST", b"id3 ", b"ID3 ", b"bext"}  # recognised even if truncated
# Streaming writers put a placeholder near 2 or 4 GiB in the header.
PLACEHOLDER_BYTES = 0x7FFF_0000
MAX_U32 = 0xFFFF_FFFF

_LOOK_BYTES = 65_536
_MPEG_BYTES = 8_192  # some frames
_NO_SAMPLES = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|PK\x03\x04|%PDF|[\t\n\r\x20-\x7e]{256}", re.DOTALL
)
_MAX_OGG_PAGE = 65_307


class _Kind(NamedTuple):
    first: int  # bytes before the first chunk
    header: struct.Struct
    samples: bytes
    is_padded: bool


_KINDS = {
    b"RIFF": _Kind(12, struct.Struct("<4sI"), b"data", True),
    b"RF64": _Kind(12, struct.Struct("<4sI"), b"data", True),
    b"FORM": _Kind(12, struct.Struct(">4sI"), b"SSND", True),
    b"caff": _Kind(8, struct.Struct(">4sq"), b"data", False),
}


class _Sound(NamedTuple):
    """Position of the samples of one file, and of the field with their size."""

    start: int
    n_bytes: int  # -1 if not announced
    size_at: int
    size_format: str
    behind: int  # the first byte after the last chunk


def sound_parts(file: BinaryIO) -> tuple[list[BinaryIO], list[str]]:
    """Split a file into parts that decoders read to their ends.

    Parameters
    ----------
    file : BinaryIO
        A seekable file.

    Returns
    -------
    parts : list of BinaryIO
        The file itself if nothing needs to be fixed.
    left_out : list of str
        Notes about missing bytes, and about bytes that are not sound.
    """
    parts, left_out = _split(file)
    for _ in range(_MAX_KINDS):
        inner, notes = _split(parts[-1]) if len(parts) > 1 else ([], [])
        if len(inner) < 2:
            break
        parts[-1:] = inner
        left_out += notes
    return parts, left_out


def _split(file: BinaryIO) -> tuple[list[BinaryIO], list[str]]:
    """Split a file as `sound_parts`, but leave those after one of another kind together."""
    size = file.seek(0, os.SEEK_END)
    if (start := tags_end(file, 0)) and begins_file(_read(file, start, HEAD_BYTES)):
        # libsndfile and FFmpeg mistake where the samples end if tags precede the header.
        file = _part(file, start, size)
        size -= start
    head = _read(file, 0, HEAD_BYTES)
    if _CHUNKED.match(head):
        return _chunked_parts(file, size)
    if head.startswith(b"OggS"):
        return [file], _ogg_end(file, size)
    starts: Iterator[int] = iter(())
    if head[4:8] == b"ftyp":
        starts = _mp4_starts(file, size)
    elif (pattern := joined_pattern(head)) is not None:
        starts = later_matches(file, pattern)
    edges = [0, *(start for start, _ in zip(starts, range(_MAX_PARTS), strict=False)), size]
    if len(edges) == 2:
        return [file], []
    return [_part(file, start, end) for start, end in itertools.pairwise(edges)], []


def _read(file: BinaryIO, place: int, n_bytes: int) -> bytes:
    file.seek(place)
    return file.read(n_bytes)


def _part(file: BinaryIO, start: int, end: int, patch: tuple[int, bytes] | None = None) -> BinaryIO:
    return io.BufferedReader(Part(file, start, end, patch=patch))


def _chunked_parts(file: BinaryIO, size: int) -> tuple[list[BinaryIO], list[str]]:
    parts: list[BinaryIO] = []
    left_out: list[str] = []
    start, end = 0, 0
    while end < size:
        if len(parts) == _MAX_PARTS:
            left_out.append(f"the last {size - start} bytes, after {_MAX_PARTS} joined files")
            break
        end, patch, notes = _extent(file, start, size)
        left_out += notes
        is_all = start == 0 and end == size and patch is None
        parts.append(file if is_all else _part(file, start, end, patch))
        start = end
    return parts, left_out


def _extent(
    file: BinaryIO, start: int, size: int
) -> tuple[int, tuple[int, bytes] | None, list[str]]:
    """Return the end of one of several joined files, a patch for its header, and notes."""
    head = _read(file, start, HEAD_BYTES)
    if not _CHUNKED.match(head):
        return size, None, []
    if head[8:12] == b"AVI ":
        behind = _avi_end(file, start)
        n_missing = behind - size
        if n_missing <= 0 and (end := _next_file(file, behind)) is not None:
            return end, None, []
        is_cut = 0 < n_missing < PLACEHOLDER_BYTES
        return size, None, [missing_bytes_note(n_missing)] if is_cut else []
    sound = _au_sound(head, start) if head[:4] == b".snd" else _sound(file, start, size)
    if sound is None or sound.n_bytes < 0:
        return size, None, []
    n_missing = sound.start + sound.n_bytes - size
    if n_missing > 0:
        is_reported = start == 0 and head[:4] != b"caff"  # by libsndfile, in seconds
        return size, None, [] if is_reported else [missing_bytes_note(n_missing)]
    if (end := _next_file(file, sound.behind)) is not None:
        return end, None, []
    end = tags_end(file, sound.behind)
    n_behind = size - end
    if n_behind <= MAX_TAG_BYTES:
        return size, None, []
    probe = _read(file, end, _LOOK_BYTES)
    if probe.startswith(b"LYRICS") or not probe.strip(b"\0"):
        return size, None, []
    if end > sound.behind:  # what follows a tag may be sound, but not of this file
        return size, None, [f"{n_behind} bytes after the sound"]
    if sound.behind > sound.start + sound.n_bytes or _NO_SAMPLES.match(probe):
        return size, None, [f"{n_behind} bytes after the sound, which are not sound"]
    n_bytes = size - sound.start
    if sound.size_format.endswith("I") and n_bytes > MAX_U32:
        n_bytes = 0  # to FFmpeg, this means everything that follows
    return size, (sound.size_at - start, struct.pack(sound.size_format, n_bytes)), []


def _avi_end(file: BinaryIO, start: int) -> int:
    """Return where an AVI ends by its header; a large one has several RIFF chunks."""
    place = start
    for _ in range(_MAX_CHUNKS):
        place += 8 + struct.unpack_from("<I", _read(file, place, 8).ljust(8, b"\0"), 4)[0]
        if not re.match(rb"RIFF....AVIX", _read(file, place, HEAD_BYTES), re.DOTALL):
            break
    return place


def _next_file(file: BinaryIO, behind: int) -> int | None:
    """Return where the next of several joined files begins, behind the tags of the one before."""
    for place in (behind, behind + 1):  # there may be a padding byte
        end = tags_end(file, place)
        if begins_file(_read(file, end, HEAD_BYTES)) or is_mpeg(_read(file, end, _MPEG_BYTES), 0):
            return end
    return None


def _au_sound(head: bytes, start: int) -> _Sound | None:
    first, n_bytes = struct.unpack_from(">II", head, 4)
    if first < 24:
        return None
    n_bytes = -1 if n_bytes >= PLACEHOLDER_BYTES else n_bytes
    return _Sound(start + first, n_bytes, start + 8, ">I", start + first + n_bytes)


def _sound(file: BinaryIO, start: int, size: int) -> _Sound | None:
    """Return the position of the samples of WAV, RF64, AIFF or CAF; None if there are none."""
    kind = _KINDS[_read(file, start, 4)]
    found = None
    for name, chunk in _chunks(file, start + kind.first, size, kind):
        if found is not None:
            found = found._replace(behind=chunk.behind)
        elif name == kind.samples:
            found = chunk
            if chunk.behind > size and chunk.n_bytes >= PLACEHOLDER_BYTES and kind.is_padded:
                return chunk._replace(n_bytes=-1)
    return found


def _chunks(file: BinaryIO, place: int, size: int, kind: _Kind) -> Iterator[tuple[bytes, _Sound]]:
    """Yield names and positions of chunks, up to the first bytes that are not a chunk."""
    long_at = None  # position of RF64's 64-bit size
    for _ in range(_MAX_CHUNKS):
        chunk = _chunk(file, place, size, kind)
        if chunk is None and kind.is_padded:
            chunk = _chunk(file, place - 1, size, kind)  # some writers omit the padding byte
        if chunk is None:
            return
        name, body, n_bytes = chunk
        size_at = body - kind.header.size + 4
        size_format = kind.header.format[0] + kind.header.format[-1]
        if name == b"ds64":
            long_at = body + 8
        elif name == kind.samples and long_at is not None:
            size_at, size_format = long_at, "<Q"
            n_bytes = int.from_bytes(_read(file, long_at, 8), "little")
        yield name, _Sound(body, n_bytes, size_at, size_format, body + n_bytes)
        if n_bytes < 0:
            return
        place = body + n_bytes + (n_bytes % 2 if kind.is_padded else 0)


def _chunk(file: BinaryIO, place: int, size: int, kind: _Kind) -> tuple[bytes, int, int] | None:
    """Return name, beginning and announced size; None if no chunk begins here."""
    header = _read(file, place, max(HEAD_BYTES, kind.header.size))
    if len(header) < kind.header.size or begins_file(header):
        return None
    name, n_bytes = kind.header.unpack_from(header)
    body = place + kind.header.size
    may_be_cut = name == kind.samples or name in _KNOWN_CHUNKS
    if name.startswith(b"TAG"):  # ID3v1, of which a short title looks like the name of a chunk
        return None
    if not _CHUNK_NAME.fullmatch(name) or not (0 <= n_bytes <= size - body or may_be_cut):
        return None
    return name, body, n_bytes


def _mp4_starts(file: BinaryIO, size: int) -> Iterator[int]:
    """Yield where further MP4 files begin; the fragments of one file share a table (moov)."""
    place = 0
    names: set[bytes] = set()
    for _ in range(_MAX_CHUNKS):
        header = _read(file, place, 16)
        if len(header) < 8:
            return
        n_bytes, name = struct.unpack_from(">I4s", header)
        if n_bytes == 1 and len(header) == 16:
            n_bytes = struct.unpack_from(">Q", header, 8)[0]
        if b"moov" in names and begins_file(header):
            yield place
            if name != b"ftyp":  # a file of another kind
                return
            names = set()
        names.add(name)
        if b"moof" in names:
            return
        if n_bytes < 8 or place + n_bytes > size:  # not a box
            n_bytes = tags_end(file, place) - place
            if not n_bytes:
                return
        place += n_bytes


def _ogg_end(file: BinaryIO, size: int) -> list[str]:
    """Return a note if the file stops in the middle of a page."""
    end = _read(file, max(0, size - _MAX_OGG_PAGE), _MAX_OGG_PAGE)
    page = end[end.rfind(b"OggS") :] if b"OggS" in end else b""
    n_bytes = 27 + page[26] + sum(page[27 : 27 + page[26]]) if len(page) > 26 else 27
    return ["the end: the file stops in the middle of an Ogg page"] * (0 < len(page) < n_bytes)
