"""How many bytes a file announces: Matroska, ASF and FLV, whose durations may be of the picture."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

_HEAD_BYTES = 65_536
_EBML, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18\x53\x80\x67"
_ASF = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_FLV_SIZE = b"\0\x08filesize\0"  # then a float


def missing_bytes(file: BinaryIO) -> int:
    """Return by how much a file is shorter than its header says, if that says anything, or 0.

    The position in the file is kept.
    """
    position = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    announced = _announced(file.read(_HEAD_BYTES))
    file.seek(position)
    return max(0, announced - size)


def missing_bytes_note(n_bytes: int) -> str:
    """Return a note about missing bytes."""
    return f"truncated: {n_bytes} bytes announced by the header are missing"


def _announced(head: bytes) -> int:
    try:
        if head.startswith(_EBML):
            return _matroska(head)
        if head.startswith(_ASF) and (at := head.find(_ASF_PROPERTIES)) > 0:
            return struct.unpack_from("<Q", head, at + 40)[0]
        if head.startswith(b"FLV") and (at := head.find(_FLV_SIZE)) > 0:
            return int(struct.unpack_from(">d", head, at + len(_FLV_SIZE))[0])
    except (struct.error, IndexError, ValueError, OverflowError):  # nonsense, or cut in the header
        pass
    return 0


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
