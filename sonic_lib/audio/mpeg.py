"""Recognise MPEG audio (MP3, MP2), which has no magic bytes but a chain of frame headers."""

from __future__ import annotations

import re

SYNC = re.compile(rb"\xff[\xe2-\xff]")
_FRAMES = 3  # consecutive frames required to accept two bytes as a frame header
_KBIT_S = {
    (True, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def is_mpeg(head: bytes, place: int) -> bool:
    """Whether consecutive MPEG audio frames start at a place."""
    for _ in range(_FRAMES):
        length = frame_bytes(head[place : place + 4])
        if not length:
            return False
        place += length
    return True


def stops_in_frame(tail: bytes) -> bool:
    """Whether the last bytes of a file end in the middle of a frame; tags are no frames."""
    starts = (found.start() for found in SYNC.finditer(tail) if is_mpeg(tail, found.start()))
    place = next(starts, len(tail))
    while length := frame_bytes(tail[place : place + 4]):
        place += length
    return place > len(tail)


def frame_bytes(header: bytes) -> int:
    """Return the size of the frame with this header of four bytes, 0 if it is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] < 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    place, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or not layer or place in (0, 15) or rate == 3:
        return 0
    rate_hz = (44_100, 48_000, 32_000)[rate] // {3: 1, 2: 2, 0: 4}[version]
    bit_s = 1_000 * _KBIT_S[version == 3, layer][place - 1]
    padding = header[2] >> 1 & 1
    if layer == 3:
        return 4 * (12 * bit_s // rate_hz + padding)
    per_frame = 72 if layer == 1 and version != 3 else 144
    return per_frame * bit_s // rate_hz + padding
