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
from typing import BinaryIO

from sonic_lib.audio.beginnings import (
    HEAD_BYTES,
    begins_file,
    joined_pattern,
    later_matches,
    tags_end,
)
from sonic_lib.audio.chunks import (
    CHUNKED,
    MAX_CHUNKS,
    PLACEHOLDER_BYTES,
    au_sound,
    avi_end,
    chunked_sound,
    read_at,
)
from sonic_lib.audio.mpeg import is_mpeg
from sonic_lib.audio.part import Part
from sonic_lib.audio.sizes import missing_bytes_note

# Up to this many bytes behind the sound are taken for a tag.
MAX_TAG_BYTES = 2_048
_MAX_PARTS = 1_000
_MAX_KINDS = 20  # how often joined files may change their kind

MAX_U32 = 0xFFFF_FFFF

_LOOK_BYTES = 65_536
_MPEG_BYTES = 8_192  # some frames
_NO_SAMPLES = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|PK\x03\x04|%PDF|[\t\n\r\x20-\x7e]{256}", re.DOTALL
)
_MAX_OGG_PAGE = 65_307


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
    if (start := tags_end(file, 0)) and begins_file(read_at(file, start, HEAD_BYTES)):
        # libsndfile and FFmpeg mistake where the samples end if tags precede the header.
        file = _part(file, start, size)
        size -= start
    head = read_at(file, 0, HEAD_BYTES)
    if CHUNKED.match(head):
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
    head = read_at(file, start, HEAD_BYTES)
    if not CHUNKED.match(head):
        return size, None, []
    if head[8:12] == b"AVI ":
        behind = avi_end(file, start)
        n_missing = behind - size
        if n_missing <= 0 and (end := _next_file(file, behind)) is not None:
            return end, None, []
        is_cut = 0 < n_missing < PLACEHOLDER_BYTES
        return size, None, [missing_bytes_note(n_missing)] if is_cut else []
    sound = au_sound(head, start) if head[:4] == b".snd" else chunked_sound(file, start, size)
    if sound is None or sound.n_bytes < 0:
        return size, None, []
    n_missing = sound.start + sound.n_bytes - size
    if n_missing > 0:
        is_reported = head[:4] != b"caff"  # by libsndfile, in seconds, or by FFmpeg
        return size, None, [] if is_reported else [missing_bytes_note(n_missing)]
    if (end := _next_file(file, sound.behind)) is not None:
        return end, None, []
    end = tags_end(file, sound.behind)
    n_behind = size - end
    if n_behind <= MAX_TAG_BYTES:
        return size, None, []
    probe = read_at(file, end, _LOOK_BYTES)
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


def _next_file(file: BinaryIO, behind: int) -> int | None:
    """Return where the next of several joined files begins, behind the tags of the one before."""
    for place in (behind, behind + 1):  # there may be a padding byte
        end = tags_end(file, place)
        head = read_at(file, end, _MPEG_BYTES)
        if begins_file(head) or is_mpeg(head, 0):
            return end
    return None


def _mp4_starts(file: BinaryIO, size: int) -> Iterator[int]:
    """Yield where further MP4 files begin; the fragments of one file share a table (moov)."""
    place = 0
    names: set[bytes] = set()
    for _ in range(MAX_CHUNKS):
        header = read_at(file, place, 16)
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
    end = read_at(file, max(0, size - _MAX_OGG_PAGE), _MAX_OGG_PAGE)
    page = end[end.rfind(b"OggS") :] if b"OggS" in end else b""
    n_bytes = 27 + page[26] + sum(page[27 : 27 + page[26]]) if len(page) > 26 else 27
    return ["the end: the file stops in the middle of an Ogg page"] * (0 < len(page) < n_bytes)
