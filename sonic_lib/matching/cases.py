"""Degraded clips of a user's own songs, to measure how well they are identified.

A case is a clip that is never written to a file: an executor cuts it out of its song, degrades
it and fingerprints it.  Songs left out of the index serve as unknown songs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.accumulators import Accumulator
from pyspark.sql import DataFrame

from sonic_lib.audio import degradations
from sonic_lib.audio.decode import open_audio, stream_mono
from sonic_lib.audio.sandbox import Limits, packed
from sonic_lib.audio.spark import DEFAULT_LIMITS, read_in_helpers
from sonic_lib.errors import DecodeError, UsageError
from sonic_lib.fingerprint.params import SAMPLE_RATE_HZ, FingerprintParams
from sonic_lib.fingerprint.query import window_row
from sonic_lib.fingerprint.stream import stream_windows
from sonic_lib.fingerprint.variants import Probe
from sonic_lib.schemas import CLIP_EXTRACTS

_RATE = {"sample_rate_hz": SAMPLE_RATE_HZ}


def _noise(snr_db: float) -> Callable:
    return lambda x, rng: degradations.add_noise(x, snr_db=snr_db, rng=rng, **_RATE)


def _either(rng: np.random.Generator, share: float) -> float:
    """Return 1 + share or its counterpart below 1, with equal probability."""
    return (1 + share) ** rng.choice([-1, 1])


def _pitched(x: NDArray, rng: np.random.Generator, *, semitones: int) -> NDArray:
    return degradations.change_pitch(x, factor=_either(rng, 2 ** (semitones / 12) - 1), **_RATE)


# Functions of the samples of a passage at 12 kHz and a random generator.
CONDITIONS: dict[str, Callable[[NDArray, np.random.Generator], NDArray]] = {
    "clean": lambda x, rng: x,
    "noise 5 dB": _noise(5),
    "noise 0 dB": _noise(0),
    "noise -5 dB": _noise(-5),
    "room 0.4 s": lambda x, rng: degradations.reverberate(x, decay_s=0.4, rng=rng, **_RATE),
    "hall 1.5 s": lambda x, rng: degradations.reverberate(x, decay_s=1.5, rng=rng, **_RATE),
    "telephone": lambda x, rng: degradations.telephone(x, rng=rng, **_RATE),
    "vorbis 24k": lambda x, rng: degradations.low_bitrate(x, **_RATE),
    "tilt 6 dB": lambda x, rng: degradations.tilt(
        x, db_per_octave=6 * rng.choice([-1, 1]), **_RATE
    ),
    "speed 2 %": lambda x, rng: degradations.change_speed(x, factor=_either(rng, 0.02)),
    "speed 5 %": lambda x, rng: degradations.change_speed(x, factor=_either(rng, 0.05)),
    "speed 10 %": lambda x, rng: degradations.change_speed(x, factor=_either(rng, 0.10)),
    "speed 20 %": lambda x, rng: degradations.change_speed(x, factor=_either(rng, 0.20)),
    "tempo 5 %": lambda x, rng: degradations.change_tempo(x, factor=_either(rng, 0.05), **_RATE),
    "tempo 10 %": lambda x, rng: degradations.change_tempo(x, factor=_either(rng, 0.10), **_RATE),
    "tempo 20 %": lambda x, rng: degradations.change_tempo(x, factor=_either(rng, 0.20), **_RATE),
    "1 semitone": lambda x, rng: _pitched(x, rng, semitones=1),
    "2 semitones": lambda x, rng: _pitched(x, rng, semitones=2),
}
# Passages are longer than clips, so that enough is left under the fastest condition.
_SPARE = 1.25


def plan_cases(
    songs: pd.DataFrame, *, n_clips: int, lengths_s: list[float], seed: int
) -> pd.DataFrame:
    """Draw cases at random.

    Parameters
    ----------
    songs : pandas.DataFrame
        The songs to draw from: song_id, song_path, duration_s and is_known.
    n_clips : int
        Clips of known songs for each condition and length, and of unknown songs.
    lengths_s : list of float
        Clip lengths.
    seed : int
        Random seed.

    Returns
    -------
    pandas.DataFrame
        path (the case's name), song_id, song_path, start_s, length_s, condition, seed,
        is_known.  Songs too short for a length have no case of that length.

    Raises
    ------
    UsageError
        If no known or no unknown song is long enough for any length.
    """
    least_s = _SPARE * min(lengths_s)
    usable = songs[songs["duration_s"] > least_s]
    if usable["is_known"].nunique() < 2:
        raise UsageError(
            f"{len(usable)} songs with readable files of more than {least_s:g} s are too few to "
            "hold some of them out; index more, shorten lengths_s (--lengths), or change left_out "
            "(--left-out)."
        )
    rng = np.random.default_rng(seed)
    cases = []
    for is_known, group in songs.groupby("is_known"):
        for condition in CONDITIONS:
            for length_s in lengths_s:
                long_enough = group[group["duration_s"] > _SPARE * length_s]
                if long_enough.empty:
                    continue
                drawn = long_enough.sample(n_clips, replace=True, random_state=rng)
                latest_s = drawn["duration_s"] - _SPARE * length_s
                cases.append(
                    drawn[["song_id", "song_path"]].assign(
                        start_s=rng.uniform(0, latest_s),
                        length_s=length_s,
                        condition=condition,
                        seed=rng.integers(0, 2**31, n_clips),
                        is_known=bool(is_known),
                    )
                )
    drawn = pd.concat(cases, ignore_index=True)
    kind = drawn["is_known"].map({True: "", False: "unknown, "})
    number = drawn.index.astype(str)
    return drawn.assign(path=kind + drawn["condition"] + " #" + number, size_bytes=0)


def case_samples(case: dict) -> NDArray[np.float32]:
    """Return the samples of a case: cut out of its song, and degraded."""
    wanted_s = case["start_s"] + _SPARE * case["length_s"]
    held: list[NDArray] = []
    with open_audio(case["song_path"]) as file:
        _, blocks = stream_mono(file, sample_rate_hz=SAMPLE_RATE_HZ)
        for block in blocks:
            held.append(block)
            if sum(map(len, held)) >= wanted_s * SAMPLE_RATE_HZ:
                break
    song = np.concatenate(held)
    passage = degradations.cut(
        song, start_s=case["start_s"], length_s=_SPARE * case["length_s"], **_RATE
    )
    damaged = CONDITIONS[case["condition"]](passage, np.random.default_rng(case["seed"]))
    return damaged[: round(case["length_s"] * SAMPLE_RATE_HZ)]


def case_rows(case: dict, *, params: FingerprintParams, probes: Sequence[Probe]) -> Iterator[dict]:
    """Yield the query hashes of a case and a summary row, as `extract.clip_rows` does for files."""
    summary = {"path": case["path"], "duration_s": case["length_s"]}
    try:
        found = stream_windows(
            [case_samples(case)],
            params=params,
            probes=probes,
            windows=case.get("windows"),
        )
        for window in found:
            yield {"path": case["path"]} | window_row(window)
    except (DecodeError, OSError) as error:
        summary |= {"stage": getattr(error, "stage", "decode"), "error": str(error)}
    yield summary


def fingerprint_cases(
    cases: DataFrame,
    *,
    params: FingerprintParams,
    probes: Sequence[Probe],
    limits: Limits = DEFAULT_LIMITS,
    n_done: Accumulator | None = None,
) -> DataFrame:
    """Compute the query hashes of cases, as `fingerprint.spark.fingerprint_clips` does for files.

    Parameters
    ----------
    cases : DataFrame
        Rows of `plan_cases`; a column `windows` selects windows of a case.
    params, probes, n_done
        As in `fingerprint_clips`.
    limits : Limits
        Limits per case.

    Returns
    -------
    DataFrame [schemas.CLIP_EXTRACTS]
    """
    work = packed(case_rows, params=params, probes=probes)
    return cases.transform(
        read_in_helpers, work, CLIP_EXTRACTS, argument=None, limits=limits, n_done=n_done
    )
