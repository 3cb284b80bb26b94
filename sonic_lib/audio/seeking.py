"""Decode parts of an audio file without what lies between, where its format permits that exactly.

The samples are those that `decode.stream_mono` gives for the same positions, up to the last digits:
for compressed formats a moment before each part is decoded as well, and the resampler starts where
input and output samples coincide.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, gcd
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from sonic_lib.audio.chunks import stated_duration_s
from sonic_lib.audio.containers import sound_parts
from sonic_lib.audio.info import MAX_LEVEL, AudioInfo, check_channels, check_sample_rate
from sonic_lib.audio.libsndfile import is_damaged, is_read, open_seekable
from sonic_lib.errors import DecodeError

# Not MP3: its frames depend on earlier ones, and its length may be a guess.
_FORMATS = {"WAV", "WAVEX", "RF64", "W64", "AIFF", "FLAC", "OGG"}
_MARGIN_FRAMES = 8_192  # longer than any resampling filter, and than Opus needs to settle


def read_parts(
    file: BinaryIO, places: Sequence[tuple[int, int]], *, sample_rate_hz: int
) -> tuple[list[NDArray[np.float32]], float] | None:
    """Decode some parts of a file.

    Parameters
    ----------
    file : BinaryIO
        A seekable file.
    places : sequence of (int, int)
        First sample of each part and the one after its last, at `sample_rate_hz`.
    sample_rate_hz : int > 0
        Rate of the parts.

    Returns
    -------
    parts : list of np.ndarray [shape=(stop - start,), dtype=float32]
        Mono.
    duration_s : float
        Of the whole file.

    None instead if the format does not permit it, or if anything about the file is unusual;
    decoding the whole file reports what.
    """
    wholes, left_out = sound_parts(file)
    if len(wholes) > 1 or left_out:
        return None
    file = wholes[0]
    file.seek(0)
    try:
        sound, source = open_seekable(file)
        with sound:
            if sound.format not in _FORMATS or is_damaged(sound) or not 0 < sound.frames < 2**40:
                return None
            stated = AudioInfo(sound.samplerate, sound.channels, "", stated_duration_s(file))
            if stated.missing_note(sound.frames):
                return None
            check_sample_rate(sound.samplerate)
            check_channels(sound.channels)
            parts = []
            for start, stop in places:
                part = _read_part(sound, start, stop, sample_rate_hz)
                if part is None:
                    return None
                parts.append(part)
            # Read the end, to make sure that it exists and nothing follows it.
            sound.seek(max(0, sound.frames - _MARGIN_FRAMES))
            tail = sound.read(_MARGIN_FRAMES, dtype="float32")
            if len(tail) != min(_MARGIN_FRAMES, sound.frames) or not is_read(file, sound, source):
                return None
            return parts, sound.frames / sound.samplerate
    except (soundfile.LibsndfileError, DecodeError, RuntimeError, ValueError):
        return None


def _read_part(
    sound: soundfile.SoundFile, start: int, stop: int, to_hz: int
) -> NDArray[np.float32] | None:
    from_hz = sound.samplerate
    common = gcd(from_hz, to_hz)
    step_in, step_out = from_hz // common, to_hz // common
    n_steps = max(0, start * from_hz // to_hz - _MARGIN_FRAMES) // step_in
    first_in, first_out = n_steps * step_in, n_steps * step_out
    last_in = min(sound.frames, ceil(stop * from_hz / to_hz) + _MARGIN_FRAMES)
    sound.seek(first_in)
    frames = sound.read(last_in - first_in, dtype="float32", always_2d=True)
    if len(frames) != last_in - first_in or not (np.abs(frames) <= MAX_LEVEL).all():
        return None
    mono = frames[:, 0].copy()  # many times as fast as mean(axis=1)
    for channel in range(1, frames.shape[1]):
        mono += frames[:, channel]
    mono *= np.float32(1 / frames.shape[1])
    # `stream_mono` handles channels that cancel each other.
    if frames.shape[1] > 1 and np.vdot(mono, mono) < 1e-2 * np.vdot(frames, frames):
        return None
    if from_hz != to_hz:
        mono = soxr.resample(mono, from_hz, to_hz)
    part = mono[start - first_out : stop - first_out]
    return part if len(part) == stop - start else None
