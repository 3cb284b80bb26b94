"""Decode a damaged Ogg file in its intact runs, with silence for what is missing between them."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import soundfile

from sonic_lib.audio.gaps import MAX_GAP_S, silence
from sonic_lib.audio.info import BLOCK_FRAMES, AudioInfo, Blocks, error_reason
from sonic_lib.audio.ogg import Damage, find_damage
from sonic_lib.audio.part import Ranges

_MAX_SILENCE_S = 3_600.0  # in one file, as a few bytes may claim much

# Opens a file with libsndfile, as a sound and its source of bytes.
Opener = Callable[[BinaryIO], tuple[soundfile.SoundFile, Any]]


def filled_blocks(file: BinaryIO, info: AudioInfo, open_sound: Opener) -> Blocks | None:
    """Return the blocks of an Ogg file in which pages are missing.

    Parameters
    ----------
    file : BinaryIO
        A seekable file of Vorbis or Opus.
    info : AudioInfo
        Its properties; gets notes about what is missing.
    open_sound : callable
        Opens a part of it with libsndfile.

    Returns
    -------
    blocks : iterator of np.ndarray [shape=(n_frames, n_channels), dtype=float32]
        None if no page is damaged or missing, or if the file has several streams.
    """
    n_decoded = partial(_count_frames, open_sound)
    damage = find_damage(file, sample_rate_hz=info.sample_rate_hz, n_decoded=n_decoded)
    return None if damage is None else _filled(info, damage, open_sound)


def _filled(info: AudioInfo, damage: Damage, open_sound: Opener) -> Blocks:
    n_silent = 0
    for run in damage.runs:
        is_long = run.gap_frames >= MAX_GAP_S * info.sample_rate_hz
        if not is_long and n_silent + run.gap_frames <= _MAX_SILENCE_S * info.sample_rate_hz:
            yield from silence(run.gap_frames, info.n_channels)
            n_silent += run.gap_frames
        else:
            info.jumps_s.append(run.gap_frames / info.sample_rate_hz)
        try:
            yield from _sound_blocks(run.content, open_sound)
        except soundfile.LibsndfileError as error:
            note = f"a damaged part ({error_reason(error)})"
            info.left_out.extend([note] * (note not in info.left_out))
    info.left_out.extend(_notes(info, damage.n_bytes, n_silent / info.sample_rate_hz))


def _notes(info: AudioInfo, n_bytes: int, silent_s: float) -> list[str]:
    notes = [f"damaged Ogg pages, {n_bytes} bytes"] * (n_bytes > 0)
    if silent_s:
        notes.append(f"{silent_s:.2f} s missing in between, replaced by silence")
    if info.jumps_s:
        notes.append(f"{sum(info.jumps_s):.0f} s missing, not filled with silence")
    return notes


def _count_frames(open_sound: Opener, ranges: Ranges) -> int:
    try:
        return sum(len(block) for block in _sound_blocks(ranges, open_sound))
    except soundfile.LibsndfileError:
        return 0


def _sound_blocks(ranges: Ranges, open_sound: Opener) -> Blocks:
    sound, source = open_sound(io.BufferedReader(ranges))
    buffer = np.empty((BLOCK_FRAMES, sound.channels), np.float32)
    with sound:
        while len(block := sound.read(out=buffer)):
            yield block
        if source.error:
            raise source.error
