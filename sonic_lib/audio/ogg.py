"""Find the intact runs of pages of a damaged Ogg file, and where in time they begin (RFC 3533).

Decoders skip damaged pages, after which everything would be too early.
"""

from __future__ import annotations

import itertools
import os
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from sonic_lib.audio.part import Ranges

_BEGINS, _MAGIC = 2, b"OggS"
_HEADER_BYTES, _MAX_PAGE = 27, 65_307
_SCAN_BYTES = 1 << 20
_NONE = -1  # granule position of a page on which no packet ends
# Pages that were renumbered, but follow each other, leave no longer gap than a packet or two.
_MIN_UNSEEN_S = 0.1
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

    start: int
    end: int
    gap_frames: int  # missing before it


class Damage(NamedTuple):
    """What is intact of a file, and how much is not.

    Attributes
    ----------
    headers_end : int
        Where the pages without samples end, which each run needs in front of it.
    runs : list of Run
        The first begins where the samples do.
    n_bytes : int
        Bytes behind the first intact page that belong to none.
    """

    headers_end: int
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
    sound = pages[n_headers:]
    is_simple = (
        n_headers > 0
        and len({page.stream for page in pages}) == 1
        and not any(page.flags & _BEGINS for page in pages[1:])
        and _is_unbroken(pages[:n_headers])
    )
    n_behind = _damaged_behind(file, sound[-1].end) if is_simple else 0
    if not is_simple or (_is_unbroken(sound) and not n_behind):
        return None
    head = pages[n_headers - 1].end
    granule_hz = _OPUS_RATE_HZ if b"OpusHead" in _bytes(file, pages[0]) else sample_rate_hz
    rates = (sample_rate_hz, granule_hz)
    runs = _runs(file, sound, head, rates, n_decoded)
    n_bytes = n_behind + sum(b.start - a.end for a, b in itertools.pairwise(sound))
    return Damage(head, runs, n_bytes) if len(runs) > 1 or n_bytes else None


def is_damaged(file: BinaryIO) -> bool:
    """Whether a page of an Ogg file of one stream is damaged or missing."""
    return find_damage(file, sample_rate_hz=_OPUS_RATE_HZ, n_decoded=lambda _: 0) is not None


def _runs(
    file: BinaryIO,
    pages: list[Page],
    head: int,
    rates: tuple[int, int],
    n_decoded: Callable[[Ranges], int],
) -> list[Run]:
    """Divide pages with samples where others are missing, by their numbers and times."""
    rate_hz, granule_hz = rates
    runs = [Run(pages[0].start, pages[0].end, 0)]
    last_granule = pages[0].granule
    for n, (before, page) in enumerate(itertools.pairwise(pages), start=1):
        gap_frames = 0
        if page.number != before.number + 1:
            later = (pages[k] for k in range(n, len(pages)))
            first = next((each for each in later if each.granule != _NONE), page)
            piece = Ranges(file, [(0, head), (page.start, first.end)])
            passed_frames = (first.granule - last_granule) * rate_hz // granule_hz
            gap_frames = passed_frames - n_decoded(piece)
            is_seen = page.start > before.end
            if not is_seen and gap_frames < _MIN_UNSEEN_S * rate_hz:
                gap_frames = 0
        if gap_frames > 0:
            runs.append(Run(page.start, page.end, gap_frames))
        else:
            runs[-1] = runs[-1]._replace(end=page.end)
        last_granule = last_granule if page.granule == _NONE else page.granule
    return runs


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


def _bytes(file: BinaryIO, page: Page) -> bytes:
    file.seek(page.start)
    return file.read(page.end - page.start)


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


def _checksum(page: bytes) -> int:
    """Return Ogg's CRC of a page; zlib's has its bits in reverse, and other first and last ones."""
    content = page[:22] + bytes(4) + page[26:]
    reverse = zlib.crc32(content.translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int(f"{reverse:032b}"[::-1], 2)
