"""Compute the descriptors of one audio file, inside an executor.

I/O, without Spark; any failure of a file becomes a row with the error.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from sonic_lib.audio.decode import AudioInfo, open_audio, stream_mono
from sonic_lib.audio.seeking import read_parts
from sonic_lib.audio.tags import Tags, read_tags
from sonic_lib.errors import DecodeError
from sonic_lib.features.descriptors import (
    SAMPLE_RATE_HZ,
    describe,
    excerpt_places,
    pick_excerpts,
)
from sonic_lib.fingerprint.extract import SILENCE_DBFS, silent_reason


def describe_rows(path: str, *, min_duration_s: float) -> Iterator[dict]:
    """Yield the one row of `describe_row`."""
    yield describe_row(path, min_duration_s=min_duration_s)


def describe_row(path: str, *, min_duration_s: float) -> dict:
    """Compute the descriptors of a song.

    Parameters
    ----------
    path : str
        A local path or URI.
    min_duration_s : float
        Shorter files are rejected.

    Returns
    -------
    dict
        path, and either numbers and texts (as in `schemas.FEATURES`) or stage and error of the
        rejected file.
    """
    try:
        with open_audio(path) as file:
            texts = _texts(read_tags(file, name=path), path)
            excerpts, duration_s, info = _excerpts(file)
        _check_content(excerpts, duration_s, min_duration_s, info.n_channels)
        return {
            "path": path,
            "numbers": {"duration_s": duration_s, **describe(excerpts)},
            "texts": texts,
            "note": "; ".join(info.left_out) or None,
        }
    except DecodeError as error:
        return {"path": path, "stage": error.stage, "error": str(error)}
    except Exception as error:  # librosa may raise anything on unusual samples
        return {"path": path, "stage": "decode", "error": f"{type(error).__name__}: {error}"}


def _texts(tags: Tags, path: str) -> dict[str, str]:
    texts = {
        "title": tags.title,
        "artist": tags.artist,
        "album": tags.album,
        "genre": tags.genre,
        "release_date": tags.release_year and f"{tags.release_year:04d}",
        # Collections are often sorted into folders by genre or by artist.
        "folder": PurePosixPath(path).parent.name,
    }
    return {name: text for name, text in texts.items() if text}


def _excerpts(file: BinaryIO) -> tuple[NDArray[np.float32], float, AudioInfo]:
    """Return excerpts of a song, its length (s), and its properties."""
    info, blocks = _decode(file)
    places = excerpt_places(info.duration_s or 0.0)
    if len(places) > 1 and not info.left_out:
        sought = read_parts(file, places, sample_rate_hz=SAMPLE_RATE_HZ)
        if sought is not None:
            parts, duration_s = sought
            return np.concatenate(parts), duration_s, info
        info, blocks = _decode(file)
    # Files of unknown length (a few formats) are decoded twice rather than held in memory.
    announced_s = info.duration_s or sum(map(len, blocks)) / SAMPLE_RATE_HZ
    if not info.duration_s:
        info, blocks = _decode(file)
    n_samples = 0

    def counted() -> Iterator[NDArray[np.float32]]:
        nonlocal n_samples
        for block in blocks:
            n_samples += len(block)
            yield block

    excerpts = pick_excerpts(counted(), duration_s=announced_s)
    return excerpts, n_samples / SAMPLE_RATE_HZ, info


def _decode(file: BinaryIO) -> tuple:
    file.seek(0)
    return stream_mono(file, sample_rate_hz=SAMPLE_RATE_HZ)


def _check_content(
    excerpts: NDArray, duration_s: float, min_duration_s: float, n_channels: int
) -> None:
    if duration_s < min_duration_s:
        raise DecodeError(
            "content", f"too short: {duration_s:.2f} s, at least {min_duration_s:g} s needed"
        )
    if np.abs(excerpts).max(initial=0) < 10 ** (SILENCE_DBFS / 20):
        raise DecodeError("content", f"{silent_reason(n_channels)} in excerpts")
