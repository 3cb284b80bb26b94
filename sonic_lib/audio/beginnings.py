"""Recognise where audio files begin, and the tags that stand before, between and behind them."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

from sonic_lib.audio.mpeg import SYNC, is_mpeg

# Magic bytes of audio files, to find them behind junk such as the HTTP headers of a download.
_ANYWHERE = re.compile(
    rb"RIFF....(?:WAVE|AVI )|RF64....WAVE|OggS\0\x02|fLaC\0|FORM....AIF|caff\0|\.snd\0"
    rb"|ID3[\x02-\x04]|\x1aE\xdf\xa3|\x30\x26\xb2\x75\x8e\x66\xcf\x11|riff\x2e\x91\xcf\x11|FLV\x01"
    rb"|wvpk|TTA1|MAC |Creative Voice|(?=\0\0\0.ftyp)|(?=\xff[\xe2-\xff][\x10-\xfe])",
    re.DOTALL,
)
_JUNK_BYTES = 262_144  # how far to search
_MAX_TRIES = 8

# Longer ones, for places where another file is expected.
_AT_PLACE = re.compile(
    rb"RIFF....(?:WAVE|AVI )|RF64....WAVE|FORM....AIF[FC]|caff\0\x01|\.snd\0\0|OggS\0\x02"
    rb"|fLaC\0\0\0\x22|....ftyp|\x1aE\xdf\xa3|riff\x2e\x91\xcf\x11|\x30\x26\xb2\x75\x8e\x66\xcf\x11"
    rb"|wvpk|TTA1|MAC |FLV\x01|Creative Voi",
    re.DOTALL,
)

# Formats searched as a whole for further files. By the first bytes of a file: a pattern that does
# not occur in its samples by chance.
_JOINED = {
    b"\x30\x26\xb2\x75": re.compile(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62"),
    b"FLV\x01": re.compile(rb"FLV\x01[\x01\x04\x05]\0\0\0\x09\0\0\0\0"),
    # Matroska and WebM: the EBML header begins with its version or the type of the document.
    b"\x1aE\xdf\xa3": re.compile(rb"\x1aE\xdf\xa3.{1,16}?\x42[\x82\x86]", re.DOTALL),
    b"Creative Voi": re.compile(rb"Creative Voice File\x1a"),  # VOC
    b"riff": re.compile(rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb"),  # W64
    b"TTA1": re.compile(rb"TTA1\x01\0[\x01-\x08]\0[\x08\x10\x18\x20]\0", re.DOTALL),
    # The first block of the first channel: version 4, no samples before it.
    b"wvpk": re.compile(
        rb"wvpk.{5}\x04.{6}\0{4}.{5}[" + re.escape(bytes(b for b in range(256) if b & 8)) + rb"]",
        re.DOTALL,
    ),
}
FLAC = re.compile(rb"fLaC\0\0\0\x22")
HEAD_BYTES = 12  # enough for `begins_file` and `joined_pattern`
_LONGEST_MATCH = 32
_SCAN_BYTES = 1 << 20

_MAX_TAGS = 100  # consecutive ones


def begins_file(head: bytes) -> bool:
    """Whether these are the first bytes of an audio file that has magic bytes."""
    return _AT_PLACE.match(head) is not None


def joined_pattern(head: bytes) -> re.Pattern[bytes] | None:
    """Return what further files look like in a file with these first bytes, if it is searched."""
    return next((pattern for name, pattern in _JOINED.items() if head.startswith(name)), None)


def later_matches(file: BinaryIO, pattern: re.Pattern[bytes]) -> Iterator[int]:
    """Yield where a pattern occurs in a file, except at its first byte."""
    n_before, held = 0, b""
    file.seek(0)
    while piece := file.read(_SCAN_BYTES):
        piece = held + piece
        ends = [0]
        for found in pattern.finditer(piece):
            ends.append(found.end())
            if n_before + found.start() > 0:
                yield n_before + found.start()
                file.seek(n_before + len(piece))  # the caller may have moved in the file
        held = piece[max(ends[-1], len(piece) - _LONGEST_MATCH) :]
        n_before += len(piece) - len(held)


def later_starts(file: BinaryIO) -> Iterator[int]:
    """Yield offsets after the first byte at which an audio file may begin, most likely first."""
    file.seek(0)
    head = file.read(_JUNK_BYTES)
    places = [found.start() for found in _ANYWHERE.finditer(head, 1)]
    named = [place for place in places if head[place] != 0xFF]
    frames = (place for place in places if head[place] == 0xFF and is_mpeg(head, place))
    yield from named[:_MAX_TRIES]
    if (first := next(frames, None)) is not None:
        yield first


def junk_before_mpeg(file: BinaryIO) -> int:
    """Count the bytes before the first MPEG frame that are no tag; decoders skip them silently."""
    start = tags_end(file, 0)
    file.seek(start)
    head = file.read(2)
    if len(head) < 2 or (head[0] == 0xFF and head[1] >= 0xE0):  # the usual: it begins here
        return 0
    head += file.read(_JUNK_BYTES)
    places = (found.start() for found in SYNC.finditer(head) if is_mpeg(head, found.start()))
    n_bytes = next(places, 0)
    is_padding = start > 0 and not head[:n_bytes].strip(b"\0")  # of the tag
    return 0 if is_padding else n_bytes


def tags_end(file: BinaryIO, place: int) -> int:
    """Return where the tags (ID3, APE) at a place end; the place itself if there are none."""
    for _ in range(_MAX_TAGS):
        file.seek(place)
        n_bytes = _tag_bytes(file.read(32))
        if not n_bytes:
            break
        place += n_bytes
    return place


def _tag_bytes(head: bytes) -> int:
    if head.startswith(b"ID3") and len(head) >= 10 and max(head[6:10]) < 0x80:
        n_bytes = sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        return 10 + n_bytes + (10 if head[5] & 0x10 else 0)  # the flag of a footer
    if head.startswith(b"APETAGEX") and len(head) == 32:
        n_bytes, _, flags = struct.unpack_from("<III", head, 12)
        return 32 + n_bytes if flags & 1 << 29 else 32  # a header, which counts only what follows
    if head.startswith(b"TAG"):
        return 227 if head.startswith(b"TAG+") else 128
    return 0
