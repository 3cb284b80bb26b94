"""Compare local files with the checksums that Hadoop keeps next to them."""

from __future__ import annotations

import os
import struct
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from sonic_lib.storage.log_files import BrokenFile, opened

_HEAD = b"crc\0"
_MAX_CHUNK = 1 << 20  # Hadoop's default is 512 bytes
_BLOCK = 1 << 20
_PAUSE_S = 0.1


def sums_of(file: Path) -> Path:
    """Return the place of a file's checksums."""
    return file.with_name(f".{file.name}.crc")


def with_sums(*files: Path) -> tuple[str, ...]:
    """Return those of the files, and of their checksums, that exist."""
    both = (part for file in files for part in (file, sums_of(file)))
    return tuple(str(part) for part in both if os.path.lexists(part))


def wrong_sums(file: Path) -> str | None:
    """Return why Hadoop would refuse to read a file; None if it would not, or if it is gone."""
    sums = sums_of(file)
    if not os.path.lexists(sums):
        return None
    try:
        if matches(file, sums):
            return None
        time.sleep(_PAUSE_S)  # a writer may be between the file and its checksums
        return None if matches(file, sums) else "does not match its file"
    except FileNotFoundError:
        return None
    except BrokenFile as error:
        return str(error)
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def drop_wrong_sums(file: Path) -> None:
    """Remove checksums that no longer match: delta-rs replaces files without them.

    Spark refuses such a file, or tries again for seconds.  Hold the table's lock.
    """
    sums = sums_of(file)
    with suppress(OSError, BrokenFile):
        if os.path.lexists(sums) and not matches(file, sums):
            sums.unlink()


def matches(file: Path, sums: Path) -> bool:
    """Whether a file has these checksums.

    Raises
    ------
    BrokenFile, OSError
        If one of them cannot be read.
    """
    with opened(sums, max_bytes=None) as expected, opened(file, max_bytes=None) as content:
        head = expected.read(8)
        size = struct.unpack(">i", head[4:])[0] if len(head) == 8 else 0
        if head[:4] != _HEAD or not 0 < size <= _MAX_CHUNK:
            return False
        n_chunks = -(-os.fstat(content.fileno()).st_size // size)
        if os.fstat(expected.fileno()).st_size != 8 + 4 * n_chunks:
            return False
        return _match(content, expected, size)


def _match(content: BinaryIO, expected: BinaryIO, size: int) -> bool:
    """Compare block by block, so that files of any size need little memory."""
    block = size * max(_BLOCK // size, 1)
    while data := content.read(block):
        view = memoryview(data)
        sums = [zlib.crc32(view[i : i + size]) for i in range(0, len(data), size)]
        if expected.read(4 * len(sums)) != struct.pack(f">{len(sums)}I", *sums):
            return False
    return True
