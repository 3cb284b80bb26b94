"""Find the files that follow each other in joined FLAC and Ogg files."""

from __future__ import annotations

import re
from typing import BinaryIO

from sonic_lib.audio.beginnings import FLAC, later_matches

_OGG_PAGE = re.compile(rb"OggS\0(.)", re.DOTALL)
_BEGINS_STREAM = 2  # flag of an Ogg page
_SCAN_BYTES = 1 << 20


def later_links(file: BinaryIO, container: str) -> list[int]:
    """Return where the streams of a file begin, except the first.

    Parameters
    ----------
    file : BinaryIO
        A seekable file.
    container : str
        Its format as libsndfile names it; only FLAC and OGG are searched.
    """
    if container == "FLAC":
        return list(later_matches(file, FLAC))
    return _later_ogg(file) if container == "OGG" else []


def _later_ogg(file: BinaryIO) -> list[int]:
    """Return where the streams of a chained Ogg file begin, except the first."""
    starts, is_in_link = [], False
    n_before, held = 0, b""
    file.seek(0)
    while piece := file.read(_SCAN_BYTES):
        piece = held + piece
        for page in _OGG_PAGE.finditer(piece):
            is_first = bool(page[1][0] & _BEGINS_STREAM)
            if is_first and is_in_link:
                starts.append(n_before + page.start())
            is_in_link = not is_first
        held = piece[-5:]  # too short to contain a whole page header
        n_before += len(piece) - len(held)
    return starts
