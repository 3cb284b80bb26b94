"""Byte ranges of a file, as a file."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO


class _Bytes(io.RawIOBase):
    """A file of `_size` bytes that is read at `_position`."""

    _size: int
    _position: int

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position; return it."""
        self._position = max(0, (0, self._position, self._size)[whence] + offset)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position


class Part(_Bytes):
    """A byte range of a file, read as a file of its own.

    Parameters
    ----------
    file : BinaryIO
        A seekable file.
    start : int
        The first byte.
    end : int, optional
        The byte after the last; the end of the file by default.
    patch : tuple of int and bytes, optional
        Offset from `start`, and the bytes to read there instead of the file's.
    """

    def __init__(
        self,
        file: BinaryIO,
        start: int,
        end: int | None = None,
        *,
        patch: tuple[int, bytes] | None = None,
    ) -> None:
        self._file: Any = file
        self._patch = patch
        self._start = start
        self._size = (file.seek(0, os.SEEK_END) if end is None else end) - start
        self._position = 0

    def readinto(self, buffer) -> int:
        """Read into a buffer; return the number of bytes."""
        left = max(0, self._size - self._position)
        self._file.seek(self._start + self._position)
        view = memoryview(buffer)[:left]
        n_read = self._file.readinto(view)
        if self._patch is not None:
            place, written = self._patch
            first = max(place, self._position)
            last = min(place + len(written), self._position + n_read)
            if first < last:
                here = first - self._position
                view[here : here + last - first] = written[first - place : last - place]
        self._position += n_read
        return n_read


class Ranges(_Bytes):
    """Byte ranges of a file, read one after the other as a file of their own.

    Parameters
    ----------
    file : BinaryIO
        A seekable file.
    ranges : list of (int, int) or bytes
        The first byte of each range, and the one after its last; or bytes to read there instead.
    """

    def __init__(self, file: BinaryIO, ranges: list[tuple[int, int] | bytes]) -> None:
        self._pieces: list[tuple[Any, int, int]] = [
            (io.BytesIO(each), 0, len(each)) if isinstance(each, bytes) else (file, *each)
            for each in ranges
        ]
        self._size = sum(end - start for _, start, end in self._pieces)
        self._position = 0

    def readinto(self, buffer) -> int:
        """Read into a buffer, from one range at a time; return the number of bytes."""
        before = self._position
        for file, start, end in self._pieces:
            if before < end - start:
                file.seek(start + before)
                n_read = file.readinto(memoryview(buffer)[: end - start - before])
                self._position += n_read
                return n_read
            before -= end - start
        return 0
