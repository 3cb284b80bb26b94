"""Fingerprint one audio file, inside an executor.

I/O, without Spark.  Any failure becomes a row that reports it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sonic_lib.audio.decode import AudioInfo, open_audio, stream_mono
from sonic_lib.audio.info import error_reason
from sonic_lib.audio.tags import read_tags
from sonic_lib.errors import DecodeError
from sonic_lib.fingerprint.params import SAMPLE_RATE_HZ, FingerprintParams
from sonic_lib.fingerprint.query import window_row
from sonic_lib.fingerprint.stream import stream_hashes, stream_windows
from sonic_lib.fingerprint.variants import Probe

MIN_CLIP_S = 0.5  # shorter clips contain no useful triangle
SILENCE_DBFS = -60.0  # recordings with a lower peak are rejected as silent


def song_rows(path: str, *, params: FingerprintParams, min_duration_s: float) -> Iterator[dict]:
    """Fingerprint a song.

    Parameters
    ----------
    path : str
        A local path or URI.
    min_duration_s : float
        Shorter files are rejected.

    Yields
    ------
    dict
        Rows of `schemas.EXTRACTS`: hashes chunk by chunk, then a summary row, with stage and
        error if the file is rejected (and its hashes are to be dropped).
    """

    def rows(blocks: Iterable[NDArray[np.float32]]) -> Iterator[dict]:
        for hashes, frames, descriptors in stream_hashes(blocks, params=params):
            yield {"hashes": hashes, "frames": frames, "descriptors": descriptors}

    yield from _rows(path, rows, min_duration_s=min_duration_s)


def clip_rows(
    path: str,
    *,
    params: FingerprintParams,
    probes: Sequence[Probe],
    windows: Collection[int] | None = None,
) -> Iterator[dict]:
    """Compute the query hashes of a clip.

    Parameters
    ----------
    path : str
        A local path or URI; clips shorter than `MIN_CLIP_S` are rejected.
    probes, windows
        As in `stream.stream_windows`.

    Yields
    ------
    dict
        Rows of `schemas.CLIP_EXTRACTS`: the queries of each window, then a summary row.
    """

    def rows(blocks: Iterable[NDArray[np.float32]]) -> Iterator[dict]:
        for window in stream_windows(blocks, params=params, probes=probes, windows=windows):
            yield window_row(window)

    yield from _rows(path, rows, min_duration_s=MIN_CLIP_S)


def _rows(
    path: str,
    rows_of: Callable[[Iterable[NDArray[np.float32]]], Iterator[dict]],
    *,
    min_duration_s: float,
) -> Iterator[dict]:
    """Yield rows with hashes, then the summary row, which reports any failure."""
    summary: dict = {"path": path}
    try:
        with open_audio(path) as file:
            summary |= vars(read_tags(file, name=path))
            file.seek(0)
            info, blocks = stream_mono(file, sample_rate_hz=SAMPLE_RATE_HZ)
            summary |= {"sample_rate_hz": info.sample_rate_hz, "codec": info.codec}
            meter = _Meter(blocks)
            n_fingerprints = 0
            for row in rows_of(meter):
                n_fingerprints += row["n_queries"] if "queries" in row else len(row["hashes"])
                yield {"path": path} | row
            note = "; ".join(info.left_out) or None
            summary |= {"duration_s": meter.duration_s, "n_fingerprints": n_fingerprints}
            _check_content(meter, n_fingerprints, min_duration_s, info)
            summary["note"] = note
    except DecodeError as error:
        summary |= {"stage": error.stage, "error": str(error)}
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        summary |= {"stage": "decode", "error": error_reason(error)}
    yield summary


class _Meter:
    """Pass blocks through, measuring their duration and peak."""

    def __init__(self, blocks: Iterable[NDArray[np.float32]]) -> None:
        self._blocks = blocks
        self._n_samples = 0
        self.peak = 0.0

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for block in self._blocks:
            self._n_samples += block.size
            if block.size:
                self.peak = max(self.peak, float(block.max()), -float(block.min()))
            yield block

    @property
    def duration_s(self) -> float:
        return self._n_samples / SAMPLE_RATE_HZ


def silent_reason(n_channels: int) -> str:
    """Say that a file is silent, of which all channels are mixed: one of many may be louder."""
    whose = f"the mean of its {n_channels} channels has no" if n_channels > 1 else "no"
    return f"silent: {whose} sample above {SILENCE_DBFS:g} dBFS"


def _check_content(
    meter: _Meter, n_fingerprints: int, min_duration_s: float, info: AudioInfo
) -> None:
    left_out = f" ({'; '.join(info.left_out)})" if info.left_out else ""
    if meter.duration_s < min_duration_s:
        raise DecodeError(
            "content",
            f"too short: {meter.duration_s:.2f} s, at least {min_duration_s:g} s needed{left_out}",
        )
    if meter.peak < 10 ** (SILENCE_DBFS / 20):
        raise DecodeError("content", silent_reason(info.n_channels) + left_out)
    if n_fingerprints == 0:
        raise DecodeError("content", "no landmarks: the sound has no recognisable structure")
