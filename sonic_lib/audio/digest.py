"""One file to the digest of its bytes: work of a Spark worker that needs no decoder."""

from __future__ import annotations

from sonic_lib.audio.decode import content_sha256, open_audio
from sonic_lib.errors import DecodeError


def digest_row(row: dict) -> dict:
    """Add content_sha256, song_id and error to a row of `schemas.FILES`."""
    try:
        with open_audio(row["path"]) as file:
            sha256 = content_sha256(file)
        return row | {"content_sha256": sha256, "song_id": int(sha256[:16], 16) >> 1}
    except DecodeError as error:
        return row | {"error": str(error)}
    except OSError as error:
        return row | {"error": error.strerror or str(error)}
