"""Hash the bytes of an audio file, as work for the helper process, which does not need PySpark."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np

from sonic_lib.errors import DecodeError
from sonic_lib.fingerprint.params import FRAMES_PER_S, SAMPLE_RATE_HZ, FingerprintParams


def song_hashes(content: bytes, *, params: FingerprintParams) -> Iterator[dict]:
    """Yield the fingerprints of a song's file, a chunk in each row.

    Yields
    ------
    dict
        columns, the arrays hash, frame and descriptor; or error.
    """
    from sonic_lib.audio.decode import stream_mono
    from sonic_lib.fingerprint.stream import stream_hashes

    try:
        _, blocks = stream_mono(io.BytesIO(content), sample_rate_hz=SAMPLE_RATE_HZ)
        for columns in stream_hashes(blocks, params=params):
            yield {"columns": list(columns)}
    except DecodeError as error:
        yield {"error": str(error)}


def clip_hashes(content: bytes, *, params: FingerprintParams) -> Iterator[dict]:
    """Yield the queries of a clip's file, a window in each row.

    Yields
    ------
    dict
        columns, the arrays window, hash, frame and descriptor; or error.
    """
    from sonic_lib.audio.decode import stream_mono
    from sonic_lib.fingerprint.stream import stream_windows

    try:
        _, blocks = stream_mono(io.BytesIO(content), sample_rate_hz=SAMPLE_RATE_HZ)
        for window in stream_windows(blocks, params=params):
            middle = round(0.5 * (window.start_s + window.end_s) * FRAMES_PER_S)
            numbers = np.full(len(window.hashes), window.window)
            columns = [numbers, window.hashes, window.frames + middle, window.descriptors]
            yield {"columns": columns}
    except DecodeError as error:
        yield {"error": str(error)}
