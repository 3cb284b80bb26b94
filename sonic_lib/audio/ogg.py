"""Find the intact runs of pages of a damaged Ogg file, and where in time they begin (RFC 3533).

Decoders skip damaged pages, after which everything would be too early.
"""

from __future__ import annotations

import itertools
import os
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from sonic_lib.audio.gaps import MAX_GAP_S
from sonic_lib.audio.part import Ranges

_BEGINS, _ENDS, _MAGIC = 2, 4, b"OggS"
_FLAGS_AT, _CHECKSUM_AT, _HEADER_BYTES, _MAX_PAGE = 5, 22, 27, 65_307
_MAX_LACING = 255
_PRE_SKIP_AT = 10  # in the header of Opus
_SCAN_BYTES = 1 << 20
_NONE = -1  # granule position of a page on which no packet ends
# Pages that were renumbered, but follow each other, leave no longer gap than a packet or two.
_MIN_UNSEEN_S = 0.1
# Of a stream that was cut out of a longer one, many more do not precede the first page of sound.
_MAX_LOST_FIRST = 3
_OPUS_RATE_HZ = 48_000

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Page(NamedTuple):
    """A page whose checksum is right."""

    start: int
    end: int
    flags: int
    granule: int  # time at its end
    stream: int
    number: int


class Run(NamedTuple):
    """Pages that follow each other without any missing in between."""

    gap_frames: int  # missing before it
    content: Ranges  # its pages with headers in front of them, as a file of its own


class Damage(NamedTuple):
    """What is intact of a file, and how much is not.

    Attributes
    ----------
    runs : list of Run
    n_bytes : int
        Bytes behind the first intact page that belong to none.
    """

    runs: list[Run]
    n_bytes: int


def find_damage(
    file: BinaryIO, *, sample_rate_hz: int, n_decoded: Callable[[Ranges], int]
) -> Damage | None:
    """Find what is intact of a damaged Ogg file of one stream.

    Parameters
    ----------
    file : BinaryIO
        A seekable file of Vorbis or Opus.
    sample_rate_hz : int
        The rate at which it is decoded.
    n_decoded : callable
        Returns the number of frames that some of its pages give.

    Returns
    -------
    damage : Damage or None
        None if no page is damaged or missing, or if the file has several streams.
    """
    pages = list(_pages(file))
    n_headers = next((n for n, page in enumerate(pages) if page.granule > 0), 0)
    is_simple = (
        n_headers > 0
        and len({page.stream for page in pages}) == 1
        and not any(page.flags & _BEGINS for page in pages[1:])
        and _is_unbroken(pages[:n_headers])
    )
    if not is_simple:
        return None
    n_behind = _damaged_behind(file, pages[-1].end)
    sound = pages[n_headers - 1 :]  # from the last header on
    if _is_unbroken(sound) and not n_behind:
        return None
    headers = _read(file, pages[0].start, sound[0].end)
    runs = _runs(file, sound, _Headers(headers, sample_rate_hz), n_decoded)
    n_bytes = n_behind + sum(b.start - a.end for a, b in itertools.pairwise(sound))
    return Damage(runs, n_bytes) if n_bytes or any(run.gap_frames for run in runs) else None


def is_damaged(file: BinaryIO) -> bool:
    """Whether a page of an Ogg file of one stream is damaged or missing."""
    return find_damage(file, sample_rate_hz=_OPUS_RATE_HZ, n_decoded=lambda _: 0) is not None


def _runs(
    file: BinaryIO, pages: list[Page], headers: _Headers, n_decoded: Callable[[Ranges], int]
) -> list[Run]:
    """Divide pages with samples where others are missing, by their numbers and times.

    The first of the pages is the last header.
    """
    found: list[tuple[int, list[Page]]] = [(0, [])]
    last_granule = headers.pre_skip
    for n, (before, page) in enumerate(itertools.pairwise(pages), start=1):
        gap_frames = 0
        if page.number != before.number + 1:
            later = (pages[k] for k in range(n, len(pages)))
            first = next((each for each in later if each.granule != _NONE), page)
            gap_frames = headers.frames(first.granule - last_granule)
            gap_frames -= n_decoded(_content(file, headers.later, [page, first]))
            n_lost, is_seen = page.number - before.number - 1, page.start > before.end
            is_gap = is_seen or gap_frames >= _MIN_UNSEEN_S * headers.rate_hz
            if n == 1:
                is_lost = is_seen or 0 < n_lost <= _MAX_LOST_FIRST
                is_gap &= is_lost and gap_frames < MAX_GAP_S * headers.rate_hz
            gap_frames = max(0, gap_frames) if is_gap else 0
        if gap_frames:
            found.append((gap_frames, []))
        found[-1][1].append(page)
        last_granule = last_granule if page.granule == _NONE else page.granule
    return [
        Run(gap_frames, _content(file, headers.later if gap_frames else headers.first, run))
        for gap_frames, run in found
        if run
    ]


def _content(file: BinaryIO, headers: bytes, run: list[Page]) -> Ranges:
    """Return pages that follow each other as a file; only its first and last are looked at."""
    start, end, flags = run[0].start, run[-1].end, run[0].flags
    if run[0] != run[-1] or not flags & _ENDS:
        return Ranges(file, [headers, (start, end)])
    page = bytearray(_read(file, start, end))  # libsndfile opens none that is both first and last
    page[_FLAGS_AT] &= ~_ENDS
    return Ranges(file, [headers, _with_checksum(page)])


class _Headers:
    """The headers of a stream.

    Attributes
    ----------
    first, later : bytes
        For the beginning of the sound, and for other parts of it, of which nothing is to be left
        out as the decoder settles.
    pre_skip : int
        Granule position of the first frame.
    """

    def __init__(self, content: bytes, sample_rate_hz: int) -> None:
        self.rate_hz = self._granule_hz = sample_rate_hz
        head, others = content[: _page_bytes(content, 0)], _without_comments(content)
        self.first = self.later = head + others
        self.pre_skip = 0
        at = head.find(b"OpusHead") + _PRE_SKIP_AT
        if b"OpusHead" in head and len(head) >= at + 2:
            self._granule_hz = _OPUS_RATE_HZ
            self.pre_skip = int.from_bytes(head[at : at + 2], "little")
            patched = bytearray(head)
            patched[at : at + 2] = bytes(2)
            self.later = _with_checksum(patched) + others

    def frames(self, granules: int) -> int:
        """Convert a difference of granule positions."""
        return granules * self.rate_hz // self._granule_hz


def _packets(pages: bytes) -> list[bytearray]:
    """Join the packets of some pages; the last may be empty or incomplete."""
    packets, place = [bytearray()], 0
    while place < len(pages):
        n_lacing, place = pages[place + _HEADER_BYTES - 1], place + _HEADER_BYTES
        lacing = pages[place : place + n_lacing]
        place += n_lacing
        for n_bytes in lacing:
            packets[-1] += pages[place : place + n_bytes]
            place += n_bytes
            if n_bytes < _MAX_LACING:
                packets.append(bytearray())
    return packets


def _without_comments(content: bytes) -> bytes:
    """Return the pages of headers but the first, without comments, which may contain pictures."""
    packets = _packets(content)
    names = [bytes(packet[:8]) for packet in packets]
    if len(packets) == 4 and names[1].startswith(b"\x03vorbis") and not packets[-1]:
        packets = [bytearray(b"\x03vorbis" + bytes(8) + b"\1"), packets[2]]
    elif len(packets) == 3 and names[1] == b"OpusTags" and not packets[-1]:
        packets = [bytearray(b"OpusTags" + bytes(8))]
    else:
        packets = []
    lacing = b"".join(
        bytes([_MAX_LACING]) * (len(packet) // _MAX_LACING) + bytes([len(packet) % _MAX_LACING])
        for packet in packets
    )
    if not 0 < len(lacing) <= _MAX_LACING:
        return content[_page_bytes(content, 0) :]
    start = _MAGIC + bytes(10) + content[14:18] + (1).to_bytes(4, "little") + bytes(4)
    return _with_checksum(bytearray(b"".join([start, bytes([len(lacing)]), lacing, *packets])))


def _damaged_behind(file: BinaryIO, place: int) -> int:
    """Count the bytes behind the last intact page, unless they are a tag or a page that is cut."""
    size = file.seek(0, os.SEEK_END)
    file.seek(place)
    head = file.read(_MAX_PAGE)
    is_cut = head.startswith(_MAGIC) and _page_bytes(head, 0) > len(head)
    return 0 if is_cut or _MAGIC not in head else size - place


def _page_bytes(held: bytes, place: int) -> int:
    """Return the size of a page, or more than there is if its header is cut."""
    lacing = place + _HEADER_BYTES
    if len(held) < lacing:
        return _HEADER_BYTES
    n_lacing = held[lacing - 1]
    return _HEADER_BYTES + n_lacing + sum(held[lacing : lacing + n_lacing])


def _is_unbroken(pages: list[Page]) -> bool:
    neighbours = itertools.pairwise(pages)
    return all(a.end == b.start and a.number + 1 == b.number for a, b in neighbours)


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def _pages(file: BinaryIO) -> Iterator[Page]:
    """Yield the intact pages of a file."""
    at, held, piece = 0, b"", b"-"
    file.seek(0)
    while piece:
        piece = file.read(_SCAN_BYTES)
        held, place = held + piece, 0
        while (found := held.find(_MAGIC, place)) >= 0:
            place = found
            if piece and len(held) - place < _MAX_PAGE:
                break
            if (page := _page(held, place, at)) is None:
                place += 1
            else:
                yield page
                place = page.end - at
        else:
            place = max(place, len(held) - len(_MAGIC) + 1)
        at, held = at + place, held[place:]


def _page(held: bytes, place: int, at: int) -> Page | None:
    header = held[place : place + _HEADER_BYTES]
    if len(header) < _HEADER_BYTES:
        return None
    end = place + _page_bytes(held, place)
    content = held[place:end]
    number = int.from_bytes
    if len(content) < end - place or _checksum(content) != number(header[22:26], "little"):
        return None
    granule = number(header[6:14], "little", signed=True)
    stream, count = number(header[14:18], "little"), number(header[18:22], "little")
    return Page(at + place, at + end, header[5], granule, stream, count)


def _with_checksum(page: bytearray) -> bytes:
    page[_CHECKSUM_AT : _CHECKSUM_AT + 4] = _checksum(bytes(page)).to_bytes(4, "little")
    return bytes(page)


def _checksum(page: bytes) -> int:
    """Return Ogg's CRC of a page; zlib's has its bits in reverse, and other first and last ones."""
    content = page[:22] + bytes(4) + page[26:]
    reverse = zlib.crc32(content.translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int(f"{reverse:032b}"[::-1], 2)
