"""Walk the chunks of WAV, RF64, AIFF and CAF: where the samples are, and what the headers state."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from sonic_lib.audio.beginnings import HEAD_BYTES, begins_file
from sonic_lib.audio.sizes import MAX_SLOPPY_BYTES

MAX_CHUNKS = 10_000  # real files have a few

CHUNKED = re.compile(
    rb"RIFF....(?:WAVE|AVI )|RF64....WAVE|FORM....AIF[FC]|caff\0\x01|\.snd\0\0", re.DOTALL
)
_CHUNK_NAME = re.compile(rb"[A-Za-z0-9 _.\-]{4}")
_KNOWN_CHUNKS = {b"LIST", b"id3 ", b"ID3 ", b"bext"}  # recognised even if truncated
# Streaming writers put a placeholder near 2 or 4 GiB in the header.
PLACEHOLDER_BYTES = 0x7FFF_0000

# Codings of WAV with as many bytes in each second: A-law, mu-law and kinds of ADPCM, and GSM.
_STEADY_CODINGS = {*(0x02, 0x06, 0x07, 0x11, 0x20, 0x31, 0x38), *(0x40, 0x45, 0x64)}
_PADDING_S, _MAX_RATIO = 0.1, 100


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


class Sound(NamedTuple):
    """Position of the samples of one file, and of the field with their size."""

    start: int
    n_bytes: int  # -1 if not announced
    size_at: int
    size_format: str
    behind: int  # the first byte after the last chunk


def read_at(file: BinaryIO, place: int, n_bytes: int) -> bytes:
    """Read some bytes at a place of a file."""
    file.seek(place)
    return file.read(n_bytes)


def missing_samples(file: BinaryIO) -> int:
    """Return how many bytes a WAV, RF64, AIFF, AU or AVI file lacks, or 0.

    Those behind the samples count only in AVI.  The position in the file is kept.
    """
    position = file.tell()
    size = file.seek(0, os.SEEK_END)
    head = read_at(file, 0, HEAD_BYTES)
    if re.match(rb"RIFF....AVI ", head, re.DOTALL):
        n_missing = avi_end(file, 0) - size
        file.seek(position)
        return n_missing if 0 < n_missing < PLACEHOLDER_BYTES else 0
    is_au = head[:4] == b".snd"
    has_samples = CHUNKED.match(head) and head[:4] != b"caff"
    found = (au_sound(head, 0) if is_au else chunked_sound(file, 0, size)) if has_samples else None
    file.seek(position)
    if found is None or found.n_bytes < 0:
        return 0
    n_missing = found.start + found.n_bytes - size
    return n_missing if n_missing > MAX_SLOPPY_BYTES else 0


def stated_duration_s(file: BinaryIO) -> float | None:
    """Return what a WAV with a constant number of bits per sample, as ADPCM, states as its length.

    None if that is no longer than its samples, or a number that some writers store instead, such as
    that of the samples of all channels, or that of a stream whose end they do not know yet.  The
    position in the file is kept.
    """
    position = file.tell()
    size = file.seek(0, os.SEEK_END)
    found = {}
    if re.match(rb"RIFF....WAVE", read_at(file, 0, HEAD_BYTES), re.DOTALL):
        found = dict(_chunks(file, _KINDS[b"RIFF"].first, size, _KINDS[b"RIFF"]))
    names = (b"fmt ", b"fact", _KINDS[b"RIFF"].samples)
    texts = [read_at(file, found[name].start, 16) for name in names if name in found]
    file.seek(position)
    if len(texts) < len(names) or len(texts[0]) < 16 or len(texts[1]) < 4:
        return None
    tag, n_channels, rate_hz, bytes_s, block_bytes = struct.unpack_from("<HHIIH", texts[0])
    if tag not in _STEADY_CODINGS or not rate_hz or not bytes_s:
        return None
    n_stated, n_bytes = struct.unpack_from("<I", texts[1])[0], found[b"data"].n_bytes
    if n_bytes >= PLACEHOLDER_BYTES or n_stated >= PLACEHOLDER_BYTES // max(2, n_channels):
        return None
    stated_s, n_bytes = n_stated / rate_hz, max(1, n_bytes)
    ratio = stated_s * bytes_s / n_bytes
    others = {2, n_channels, 2 * n_channels} - {1}
    is_other = any(
        abs(ratio / each - 1) < 0.003 + _PADDING_S * bytes_s / n_bytes for each in others
    )
    is_longer = 1 + block_bytes / n_bytes < ratio < _MAX_RATIO
    return stated_s if is_longer and not is_other else None


def au_sound(head: bytes, start: int) -> Sound | None:
    """Return the position of the samples of an AU file; None if its header is nonsense, or cut."""
    if len(head) < HEAD_BYTES:
        return None
    first, n_bytes = struct.unpack_from(">II", head, 4)
    if first < 24:
        return None
    n_bytes = -1 if n_bytes >= PLACEHOLDER_BYTES else n_bytes
    return Sound(start + first, n_bytes, start + 8, ">I", start + first + n_bytes)


def avi_end(file: BinaryIO, start: int) -> int:
    """Return where an AVI ends by its header; a large one has several RIFF chunks."""
    place = start
    for _ in range(MAX_CHUNKS):
        place += 8 + struct.unpack_from("<I", read_at(file, place, 8).ljust(8, b"\0"), 4)[0]
        if not re.match(rb"RIFF....AVIX", read_at(file, place, HEAD_BYTES), re.DOTALL):
            break
    return place


def chunked_sound(file: BinaryIO, start: int, size: int) -> Sound | None:
    """Return the position of the samples of WAV, RF64, AIFF or CAF; None if there are none."""
    kind = _KINDS[read_at(file, start, 4)]
    found = None
    for name, chunk in _chunks(file, start + kind.first, size, kind):
        if found is not None:
            found = found._replace(behind=chunk.behind)
        elif name == kind.samples:
            found = chunk
            if chunk.behind > size and chunk.n_bytes >= PLACEHOLDER_BYTES and kind.is_padded:
                return chunk._replace(n_bytes=-1)
    return found


def _chunks(file: BinaryIO, place: int, size: int, kind: _Kind) -> Iterator[tuple[bytes, Sound]]:
    """Yield names and positions of chunks, up to the first bytes that are not a chunk."""
    long_at = None  # position of RF64's 64-bit size
    for _ in range(MAX_CHUNKS):
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
            n_bytes = int.from_bytes(read_at(file, long_at, 8), "little")
        yield name, Sound(body, n_bytes, size_at, size_format, body + n_bytes)
        if n_bytes < 0:
            return
        place = body + n_bytes + (n_bytes % 2 if kind.is_padded else 0)


def _chunk(file: BinaryIO, place: int, size: int, kind: _Kind) -> tuple[bytes, int, int] | None:
    """Return name, beginning and announced size; None if no chunk begins here."""
    header = read_at(file, place, max(HEAD_BYTES, kind.header.size))
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
