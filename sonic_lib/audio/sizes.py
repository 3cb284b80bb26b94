"""How many bytes a file announces: Matroska, ASF, FLV, MP4, W64, VOC and NIST."""

from __future__ import annotations

import math
import os
import re
import struct
from typing import BinaryIO

# Some writers of WAV count the header, too: so many bytes may be missing from an intact file.
MAX_SLOPPY_BYTES = 64

_HEAD_BYTES = 65_536
_EBML, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18\x53\x80\x67"
_ASF = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_BROADCAST = 1  # its sizes and times mean nothing
_FLV_SIZE = b"\0\x08filesize\0"  # then a float
_VOC, _LAST_VOC_BLOCK, _MAX_VOC_BYTES = b"Creative Voice File\x1a", 9, 1 << 24
_W64, _W64_FIRST, _MAX_W64_BYTES = b"riff\x2e\x91\xcf\x11", 40, 1 << 40
_BOXES = {b"ftyp", b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"sidx", b"styp", b"uuid"}
_MAX_CHUNKS = 10_000


def missing_bytes(file: BinaryIO) -> int:
    """Return by how much a file is shorter than its header says, if that says anything, or 0.

    The position in the file is kept.
    """
    position = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    walks = {b"ftyp": _mp4, _VOC[4:8]: _voc, _W64[4:8]: _w64}
    walk = walks.get(head[4:8])
    announced = walk(file, size) if walk else _announced(head)
    file.seek(position)
    return max(0, announced - size)


def asf_duration_s(file: BinaryIO) -> float | None:
    """Return how long the header of a WMA says that it plays, without the time to fill buffers.

    None if it does not say so.  The position in the file is kept.
    """
    position = file.tell()
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    file.seek(position)
    at = head.find(_ASF_PROPERTIES)
    if at < 0 or len(head) < at + 92:
        return None
    units, _, preroll_ms, flags = struct.unpack_from("<QQQI", head, at + 64)
    duration_s = units / 1e7 - preroll_ms / 1e3
    return duration_s if duration_s > 0 and not flags & _ASF_BROADCAST else None


def missing_bytes_note(n_bytes: int, *, at_least: bool = False) -> str:
    """Return a note about missing bytes."""
    number = f"at least {n_bytes}" if at_least else f"{n_bytes}"
    return f"truncated: {number} bytes announced by the header are missing"


def _announced(head: bytes) -> int:
    try:
        if head.startswith(_EBML):
            return _matroska(head)
        if head.startswith(_ASF) and (at := head.find(_ASF_PROPERTIES)) > 0:
            n_bytes, flags = struct.unpack_from("<Q40xI", head, at + 40)
            return 0 if flags & _ASF_BROADCAST else n_bytes
        if head.startswith(b"NIST_1A"):
            return _nist(head)
        if head.startswith(b"FLV") and (at := head.find(_FLV_SIZE)) > 0:
            return int(struct.unpack_from(">d", head, at + len(_FLV_SIZE))[0])
    except (struct.error, IndexError, ValueError, OverflowError):  # nonsense, or cut in the header
        pass
    return 0


def _mp4(file: BinaryIO, size: int) -> int:
    """Return where the last box ends; 0 if that is none that one knows."""
    place = 0
    for _ in range(_MAX_CHUNKS):
        file.seek(place)
        header = file.read(16)
        if len(header) < 8 or header[4:8] not in _BOXES:
            return 0
        n_bytes = int.from_bytes(header[:4], "big")
        if n_bytes == 1:
            n_bytes = int.from_bytes(header[8:], "big")
        if n_bytes < 8:  # up to the end of the file
            return 0
        place += n_bytes
        if place >= size:
            return place
    return 0


def _voc(file: BinaryIO, size: int) -> int:
    """Return where the last block ends; unknown for files longer than its size can count."""
    if size > _MAX_VOC_BYTES:
        return 0
    file.seek(20)
    place = int.from_bytes(file.read(2), "little")
    for _ in range(_MAX_CHUNKS):
        file.seek(place)
        header = file.read(4)
        if len(header) < 4 or not 0 < header[0] <= _LAST_VOC_BLOCK:
            return 0
        place += 4 + int.from_bytes(header[1:], "little")
        if place >= size:
            return place
    return 0


def _w64(file: BinaryIO, size: int) -> int:
    """Return where the samples end; 0 if they are not found."""
    place = _W64_FIRST
    for _ in range(_MAX_CHUNKS):
        file.seek(place)
        header = file.read(24)
        n_bytes = int.from_bytes(header[16:], "little")
        if len(header) < 24 or n_bytes < 24:
            return 0
        if header.startswith(b"data"):
            return place + n_bytes if n_bytes < _MAX_W64_BYTES else 0
        place += (n_bytes + 7) // 8 * 8
    return 0


def _nist(head: bytes) -> int:
    """Return the size of a NIST file, unless its samples are compressed."""
    coding = re.search(rb"sample_coding -s\d+ (\S+)\n", head[:1_024])
    if coding and coding[1] not in (b"pcm", b"ulaw", b"mu-law", b"alaw"):  # as "pcm,embedded-..."
        return 0
    names = (b"sample_count", b"channel_count", b"sample_n_bytes")
    found = [re.search(name + rb" -(?:i|s\d) (\d{1,12})\n", head[:1_024]) for name in names]
    sizes = [int(number[1]) for number in found if number]
    return int(head[8:16]) + math.prod(sizes) if len(sizes) == len(names) else 0


def _matroska(head: bytes) -> int:
    n_bytes, body = _ebml_size(head, 4)
    segment = body + n_bytes
    if not head.startswith(_SEGMENT, segment):
        return 0
    n_bytes, body = _ebml_size(head, segment + 4)
    is_unknown = n_bytes == (1 << 7 * (body - segment - 4)) - 1  # of a live stream
    return 0 if is_unknown else body + n_bytes


def _ebml_size(head: bytes, place: int) -> tuple[int, int]:
    """Return a size of one to eight bytes, led by as many zero bits less one, and its end."""
    length = 9 - head[place].bit_length()
    number = int.from_bytes(head[place : place + length], "big")
    return number & ((1 << 7 * length) - 1), place + length
