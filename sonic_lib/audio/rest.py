"""What comes behind the sound that was read: FFmpeg goes on."""

from __future__ import annotations

from typing import BinaryIO

from sonic_lib.audio.ffmpeg import open_ffmpeg
from sonic_lib.audio.info import AudioInfo, Blocks
from sonic_lib.errors import DecodeError


def rest_of(
    file: BinaryIO,
    info: AudioInfo,
    *,
    n_frames: int = 0,
    problem: str | None = None,
    what: str | None = None,
) -> Blocks:
    """Read with FFmpeg what follows the first frames of a file, if possible.

    Parameters
    ----------
    file : BinaryIO
        A seekable file.
    info : AudioInfo
        Of what was read before; the blocks come in its rate and number of channels, and its
        `left_out` says what could not be read.
    n_frames : int
        What was read of this file.
    problem : str, optional
        Why no more was.
    what : str, optional
        What is lost if FFmpeg reads nothing; by default that is worth no word.

    Raises
    ------
    DecodeError
        If the file cannot be read at all.
    """
    damage = f"what is broken after {n_frames / info.sample_rate_hz:.1f} s ({problem})"
    try:
        found, blocks = open_ffmpeg(file, refusal=problem or "it is read to its end", like=info)
        n_given, n_passed = n_frames, 0
        for block in blocks:
            new = block[max(0, n_given - n_passed) :]
            n_passed += len(block)
            n_frames += len(new)
            if len(new):
                yield new
    except DecodeError as error:
        if error.stage == "open" or (problem and not n_frames):
            raise
        if problem:
            info.left_out.append(damage)
        elif what:
            info.left_out.append(f"{what}: {error}")
        return
    if found.left_out or problem:
        info.left_out.append("; ".join(found.left_out) or damage)
