"""Choose between two decoders: libsndfile for most formats, FFmpeg for the rest.

Conventions
-----------
A decoder is opened on a seekable binary file. It returns an `AudioInfo` and an iterator over blocks
of samples: float32, shape ``(n_frames, n_channels)``, at the file's own rate. A block may be
overwritten by the next one.
"""

from __future__ import annotations

import io
import os
from dataclasses import replace
from typing import BinaryIO

import soundfile

from sonic_lib.audio.beginnings import later_starts, tags_end
from sonic_lib.audio.chunks import stated_duration_s
from sonic_lib.audio.containers import sound_parts
from sonic_lib.audio.ffmpeg import open_ffmpeg
from sonic_lib.audio.info import AudioInfo, Blocks, error_reason
from sonic_lib.audio.libsndfile import open_libsndfile
from sonic_lib.audio.part import Part
from sonic_lib.audio.rest import rest_of
from sonic_lib.errors import DecodeError

__all__ = ["AudioInfo", "Blocks", "error_reason", "open_decoder"]


def open_decoder(file: BinaryIO) -> tuple[AudioInfo, Blocks]:
    """Open a file with the first decoder that accepts it.

    Parameters
    ----------
    file : BinaryIO
        A seekable file.

    Returns
    -------
    info : AudioInfo
        The properties in the file's header.
    blocks : iterator of np.ndarray [shape=(n_frames, n_channels), dtype=float32]
        The samples.

    Raises
    ------
    DecodeError
        If no decoder accepts the file.
    """
    if file.seek(0, os.SEEK_END) == 0:
        raise DecodeError("decode", "the file is empty (0 bytes)")
    try:
        return _open_parts(file)
    except DecodeError as refusal:
        for start in later_starts(file):
            try:
                info, blocks = _open_parts(io.BufferedReader(Part(file, start)))
            except DecodeError:
                continue
            behind_tags = tags_end(file, 0)
            n_junk = start - behind_tags if behind_tags < start else start
            info.left_out.append(f"{n_junk} bytes before the sound")
            return info, blocks
        raise refusal


def _open_parts(file: BinaryIO) -> tuple[AudioInfo, Blocks]:
    parts, left_out = sound_parts(file)
    try:
        info, blocks = _open(parts[0])
    except DecodeError as refusal:  # what is missing may be why
        raise DecodeError(refusal.stage, "; ".join([*left_out, str(refusal)])) from refusal
    if len(parts) > 1:
        first, info = info, replace(info, duration_s=None)
        blocks = _joined(blocks, parts[1:], info, first)
    info.left_out.extend(left_out)
    return info, blocks


def _joined(blocks: Blocks, others: list[BinaryIO], info: AudioInfo, first: AudioInfo) -> Blocks:
    n_frames, of_all = 0, f"of {len(others) + 1} joined ones"
    for block in blocks:
        n_frames += len(block)
        yield block
    if note := first.missing_note(n_frames):
        info.left_out.append(f"file 1 {of_all}: {note}")
    for number, part in enumerate(others, start=2):
        yield from rest_of(part, info, what=f"file {number} {of_all}")


def _open(file: BinaryIO) -> tuple[AudioInfo, Blocks]:
    try:
        info, blocks = open_libsndfile(file)
    except soundfile.LibsndfileError as refusal:
        info, blocks = open_ffmpeg(file, refusal=error_reason(refusal))
        return _as_stated(file, info), blocks
    if info.duration_s == 0:  # from a recorder that crashed: FFmpeg looks behind the header
        try:
            return open_ffmpeg(file, refusal="it announces no samples")
        except DecodeError:
            pass
    return _as_stated(file, info), blocks


def _as_stated(file: BinaryIO, info: AudioInfo) -> AudioInfo:
    """Return an info with the duration that a WAV states beside the size of its samples."""
    stated_s = stated_duration_s(file)
    is_longer = stated_s is not None and stated_s > (info.duration_s or 0.0)
    return replace(info, duration_s=stated_s) if is_longer else info
