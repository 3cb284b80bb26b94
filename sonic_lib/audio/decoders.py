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
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

import soundfile

from sonic_lib.audio.containers import sound_parts
from sonic_lib.audio.ffmpeg import open_ffmpeg
from sonic_lib.audio.info import AudioInfo, Blocks, error_reason
from sonic_lib.audio.libsndfile import open_libsndfile
from sonic_lib.audio.part import Part
from sonic_lib.audio.rest import rest_of
from sonic_lib.errors import DecodeError

__all__ = ["AudioInfo", "Blocks", "error_reason", "open_decoder"]

# Magic bytes of audio files, to find them behind junk such as the HTTP headers of a download.
_BEGINNINGS = re.compile(
    rb"RIFF....WAVE|RF64....WAVE|OggS\0\x02|fLaC\0|FORM....AIF|caff\0|\.snd\0|ID3[\x02-\x04]"
    rb"|\x1aE\xdf\xa3|\x30\x26\xb2\x75\x8e\x66\xcf\x11|wvpk|TTA1|MAC |riff\x2e\x91\xcf\x11"
    rb"|(?=\0\0\0.ftyp)|(?=\xff[\xe2-\xff][\x10-\xfe])",
    re.DOTALL,
)
_JUNK_BYTES = 262_144  # how far to search
_MAX_TRIES = 8
_MPEG_FRAMES = 3  # consecutive frames required to accept two bytes as an MPEG frame header
_KBIT_S = {
    (True, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


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
    parts, left_out = sound_parts(file)
    try:
        info, blocks = _open(parts[0])
        if len(parts) > 1:
            info = replace(info, duration_s=None)
            blocks = _joined(blocks, parts[1:], info)
        info.left_out.extend(left_out)
        return info, blocks
    except DecodeError as refusal:
        for start in _later_starts(file):
            try:
                info, blocks = _open(io.BufferedReader(Part(file, start)))
            except DecodeError:
                continue
            info.left_out.append(f"{start} bytes before the sound")
            return info, blocks
        raise refusal


def _joined(first: Blocks, others: list[BinaryIO], info: AudioInfo) -> Blocks:
    yield from first
    for number, part in enumerate(others, start=2):
        yield from rest_of(part, info, what=f"file {number} of {len(others) + 1} joined ones")


def _open(file: BinaryIO) -> tuple[AudioInfo, Blocks]:
    try:
        info, blocks = open_libsndfile(file)
    except soundfile.LibsndfileError as refusal:
        return open_ffmpeg(file, refusal=refusal.error_string)
    if info.duration_s == 0:  # from a recorder that crashed: FFmpeg looks behind the header
        try:
            return open_ffmpeg(file, refusal="it announces no samples")
        except DecodeError:
            pass
    return info, blocks


def _later_starts(file: BinaryIO) -> Iterator[int]:
    """Offsets after the first byte at which an audio file may begin, most likely first."""
    file.seek(0)
    head = file.read(_JUNK_BYTES)
    places = [found.start() for found in _BEGINNINGS.finditer(head, 1)]
    named = [place for place in places if head[place] != 0xFF]
    frames = (place for place in places if head[place] == 0xFF and _is_mpeg(head, place))
    yield from named[:_MAX_TRIES]
    if (first := next(frames, None)) is not None:
        yield first


def _is_mpeg(head: bytes, place: int) -> bool:
    """Whether consecutive MPEG audio frames start here."""
    for _ in range(_MPEG_FRAMES):
        length = _mpeg_frame_bytes(head[place : place + 4])
        if not length:
            return False
        place += length
    return True


def _mpeg_frame_bytes(header: bytes) -> int:
    if len(header) < 4 or header[0] != 0xFF or header[1] < 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    place, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or not layer or place in (0, 15) or rate == 3:
        return 0
    rate_hz = (44_100, 48_000, 32_000)[rate] // {3: 1, 2: 2, 0: 4}[version]
    bit_s = 1_000 * _KBIT_S[version == 3, layer][place - 1]
    padding = header[2] >> 1 & 1
    if layer == 3:
        return 4 * (12 * bit_s // rate_hz + padding)
    per_frame = 72 if layer == 1 and version != 3 else 144
    return per_frame * bit_s // rate_hz + padding
