"""Compute the digest of a file's bytes, in the Spark worker, without a decoder."""

from __future__ import annotations

import os
from typing import BinaryIO

from sonic_lib.audio.decode import content_sha256, open_audio
from sonic_lib.errors import DecodeError

# Ten hours of stereo at 192 kHz and 32 bits. A larger file is not a song, and would take minutes to
# read before a decoder could tell.
MAX_FILE_BYTES = 64_000_000_000
# A file with a smaller share of its size on disk is sparse; small files are read anyway.
_MIN_SHARE_ON_DISK = 0.01
_SMALL_BYTES = 100_000_000


def digest_row(row: dict) -> dict:
    """Add content_sha256, song_id and error to a row of `schemas.FILES`."""
    try:
        with open_audio(row["path"]) as file:
            _check_size(file, row.get("size_bytes") or 0)
            sha256 = content_sha256(file)
        return row | {"content_sha256": sha256, "song_id": int(sha256[:16], 16) >> 1}
    except DecodeError as error:
        return row | {"error": str(error)}
    except OSError as error:
        return row | {"error": error.strerror or str(error)}


def _check_size(file: BinaryIO, size_bytes: int) -> None:
    """Reject files that are too large or sparse."""
    on_disk_bytes = size_bytes
    try:
        status = os.fstat(file.fileno())
        size_bytes, on_disk_bytes = status.st_size, status.st_blocks * 512
    except (OSError, AttributeError):  # not a local file
        pass
    if size_bytes > MAX_FILE_BYTES:
        raise DecodeError(
            "open",
            f"is {size_bytes / 1e9:.0f} GB, more than {MAX_FILE_BYTES / 1e9:.0f} GB; split it",
        )
    if size_bytes > _SMALL_BYTES and on_disk_bytes < _MIN_SHARE_ON_DISK * size_bytes:
        raise DecodeError(
            "open",
            f"is {size_bytes / 1e9:.1f} GB of which only {on_disk_bytes / 1e6:.1f} MB are on disk: "
            "the rest are holes, not sound",
        )
