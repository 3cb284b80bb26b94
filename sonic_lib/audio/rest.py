"""Continue with FFmpeg where libsndfile stopped."""

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
    """Decode with FFmpeg what follows the first frames of a file, if possible.

    Parameters
    ----------
    file : BinaryIO
        A seekable file.
    info : AudioInfo
        Properties of what was read before: blocks get its rate and number of channels, and notes
        about what cannot be read are added to its `left_out`.
    n_frames : int
        Number of frames already read.
    problem : str, optional
        Why reading stopped there.
    what : str, optional
        What is lost if FFmpeg cannot read it, for a note; by default nothing is noted.  If given,
        it is also noted if less can be read than the header says.

    Raises
    ------
    DecodeError
        If the file cannot be read at all.
    """
    damage = f"a damaged part after {n_frames / info.sample_rate_hz:.1f} s ({problem})"
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
    if what is None:
        info.jumps_s.extend(found.jumps_s)
    announced = (info.duration_s or 0.0) * info.sample_rate_hz
    is_whole = abs(n_frames - announced) < 1  # libsndfile stopped at a tag behind the last frame
    if what and (note := found.missing_note(n_frames)):
        found.left_out.append(f"{what}: {note}")
    if found.left_out or (problem and not is_whole):
        info.left_out.append("; ".join(found.left_out) or damage)
