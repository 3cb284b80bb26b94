"""Cut audio excerpts of an answer from clip and song, and find their landmarks.

Executors do this, so only they need access to the files.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy.spatial import cKDTree

from sonic_lib.audio.decode import open_audio, stream_mono
from sonic_lib.audio.sandbox import Limits, packed
from sonic_lib.audio.spark import read_in_helpers
from sonic_lib.errors import DecodeError
from sonic_lib.fingerprint.landmarks import BIN, FRAME, RANK, find_landmarks
from sonic_lib.fingerprint.params import BIN_HZ, FRAME_S, SAMPLE_RATE_HZ, FingerprintParams
from sonic_lib.schemas import EXCERPTS

LENGTH_S = 10.0
HEARD_RATE_HZ = 24_000
_SMALLEST = 0.85  # LAME's compression level: 10 s take about 30 kB
_REACH_FRAMES, _REACH_BINS = 1.5, 1.5


def with_excerpts(answers: DataFrame, *, params: FingerprintParams, limits: Limits) -> DataFrame:
    """Cut and compare the excerpts of answers.

    Parameters
    ----------
    answers : DataFrame with clip_path, song_path, clip_start_s, clip_end_s, offset_s, speed, pitch
        One row per clip; all but clip_path may be null.
    limits : Limits
        Limits per answer.

    Returns
    -------
    DataFrame [schemas.EXCERPTS]
        One row per answer; null where a file cannot be read.
    """
    work = packed(excerpt_rows, params=params)
    return answers.withColumn("path", F.col("clip_path")).transform(
        read_in_helpers, work, EXCERPTS, argument=None, keep=["clip_path"], limits=limits
    )


def excerpt_rows(answer: dict, *, params: FingerprintParams) -> Iterator[dict]:
    """Yield the row of `excerpt`, as work for the helper process."""
    yield excerpt(answer, params=params)


def excerpt(answer: dict, *, params: FingerprintParams) -> dict:
    """Cut the matched passages out of a clip and its song, and compare their landmarks.

    Parameters
    ----------
    answer : dict
        A row of the input of `with_excerpts`.

    Returns
    -------
    dict
        Columns of `schemas.EXCERPTS`, except those of a file that cannot be read.
    """
    start_s = answer["clip_start_s"] or 0.0
    length_s = min(LENGTH_S, (answer["clip_end_s"] or LENGTH_S) - start_s)
    speed = answer["speed"] or 1.0
    clip = _passage(answer["clip_path"], start_s, length_s)
    song = _passage(answer["song_path"], answer["offset_s"] or 0.0, length_s * speed)
    row: dict = {"length_s": length_s}
    points = landmark_points(clip, params=params)
    others = landmark_points(song, params=params) / [speed, 1 / (answer["pitch"] or 1.0)]
    for name, samples, found in (("clip", clip, points), ("song", song, others)):
        if len(samples):
            row[f"{name}_audio"] = encoded(samples)
            row[f"{name}_time_s"], row[f"{name}_khz"] = found.T.tolist()
    if len(clip):
        row["clip_is_shared"] = shared(points, others).tolist()
    return row


def landmark_points(samples: NDArray[np.float32], *, params: FingerprintParams) -> NDArray:
    """Find the landmarks of a passage, at the middle density.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), float32]
        Mono samples at 24 kHz.

    Returns
    -------
    np.ndarray [shape=(n_landmarks, 2), float64]
        Time (s) and frequency (kHz).
    """
    if not len(samples):
        return np.zeros((0, 2))
    found = find_landmarks(soxr.resample(samples, HEARD_RATE_HZ, SAMPLE_RATE_HZ), params=params)
    density = params.densities_per_s[len(params.densities_per_s) // 2]
    found = found[found[:, RANK] < 2 * density]
    return found[:, [FRAME, BIN]] * [FRAME_S, BIN_HZ / 1e3]


def shared(points: NDArray, others: NDArray) -> NDArray[np.bool_]:
    """Whether each landmark is within one and a half frames and bins of one of the others.

    Parameters
    ----------
    points, others : np.ndarray [shape=(n, 2)]
        Times (s) and frequencies (kHz).

    Returns
    -------
    np.ndarray [shape=(len(points),), bool]
    """
    if not len(points) or not len(others):
        return np.zeros(len(points), dtype=bool)
    reach = [_REACH_FRAMES * FRAME_S, _REACH_BINS * BIN_HZ / 1e3]
    distance, _ = cKDTree(others / reach).query(points / reach, p=np.inf)
    return distance <= 1.0


def encoded(samples: NDArray[np.float32]) -> bytes:
    """Encode samples at 24 kHz as MP3, which every browser can play."""
    file = io.BytesIO()
    soundfile.write(
        file,
        np.clip(samples, -1, 1),
        HEARD_RATE_HZ,
        format="MP3",
        compression_level=_SMALLEST,
        bitrate_mode="VARIABLE",
    )
    return file.getvalue()


def _passage(path: str | None, start_s: float, length_s: float) -> NDArray[np.float32]:
    """Read a passage; empty if the file cannot be read."""
    if path is None or length_s <= 0:
        return np.zeros(0, np.float32)
    first, end = (round(s * HEARD_RATE_HZ) for s in (max(start_s, 0.0), start_s + length_s))
    held, n_read = [], 0
    try:
        with open_audio(path) as file:
            _, blocks = stream_mono(file, sample_rate_hz=HEARD_RATE_HZ)
            for block in blocks:
                held.append(block[max(first - n_read, 0) : max(end - n_read, 0)])
                n_read += len(block)
                if n_read >= end:
                    break
    except (DecodeError, OSError):
        return np.zeros(0, np.float32)
    return np.concatenate(held)
