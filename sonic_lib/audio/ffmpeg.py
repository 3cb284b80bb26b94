"""Decode with FFmpeg (PyAV) what libsndfile cannot read, or gives up on half-way.

Like a player, FFmpeg continues after a packet that cannot be decoded.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from sonic_lib.audio.info import BLOCK_FRAMES, AudioInfo, Blocks, check_channels, error_reason
from sonic_lib.errors import DecodeError, install_command

# Containers with a duration in the header; for others, FFmpeg guesses it from the bit rate.
_MEASURED = {
    *("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "asf", "flac", "flv"),
    *("tta", "wv", "ape", "dsf", "mpc", "mpc8"),
}

# MP4 sample entries with encrypted content: iTunes', and that of ISO 14496-12.
_PROTECTED = {"drms", "enca"}

# Reading stops after this many consecutive errors without a packet in between.
_MAX_READ_ERRORS = 64
# A gap is filled with silence up to this length, so that what follows keeps its position.
_MAX_GAP_S = 60.0
_MIN_GAP_S = 0.005

# The parts of a chained stream may differ from the first in their channels.
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


def open_ffmpeg(
    file: BinaryIO, *, refusal: str, like: AudioInfo | None = None
) -> tuple[AudioInfo, Blocks]:
    """Open a file.

    Parameters
    ----------
    file : BinaryIO
        A seekable file.
    refusal : str
        Why libsndfile does not read it.
    like : AudioInfo, optional
        Info from libsndfile, which read the beginning; blocks get its rate and channels.

    Returns
    -------
    info : AudioInfo
    blocks : iterator of np.ndarray [shape=(n_frames, n_channels), dtype=float32]

    Raises
    ------
    DecodeError
        If FFmpeg is missing, or finds nothing to decode.
    """
    try:
        import av
    except ImportError as error:
        raise DecodeError(
            "decode",
            f"libsndfile cannot read it ({refusal}); M4A, AAC, WMA and the sound of videos require "
            f"PyAV: {install_command('av')}",
        ) from error

    source = _Source(file)
    try:
        container = _open(source)
    except (av.FFmpegError, OSError, ValueError) as error:
        source.check()
        if _is_mp4(file):
            raise DecodeError(
                "decode",
                "truncated: the table of its parts (moov), which belongs at the end, is missing",
            ) from error
        both = f"libsndfile ({refusal}) or FFmpeg ({error_reason(error)})"
        raise DecodeError("decode", f"not audio that {both} can read") from error
    if not container.streams.audio:
        raise DecodeError("decode", "the file has no audio stream")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise DecodeError("decode", "FFmpeg does not support the codec of its sound")
    if _codec_tag(stream) in _PROTECTED:
        raise DecodeError("decode", "copy-protected (DRM): only the vendor's player can read it")
    if stream.codec_context.channels:  # 0 if only the frames have the number
        check_channels(stream.codec_context.channels)
    losses = _Losses()
    frames = _frames(container, stream, source, losses)
    first = next(frames, None)
    if first is None:
        message = f"nothing in its audio stream can be decoded (libsndfile: {refusal})"
        raise DecodeError("decode", message)

    duration_s = None
    if container.format.name in _MEASURED:
        if stream.duration is not None:
            duration_s = float(stream.duration * stream.time_base)
        elif container.duration is not None and len(container.streams) == 1:
            duration_s = container.duration / av.time_base
    # From the first frame, not the stream: HE-AAC has twice the rate of its header.
    info = AudioInfo(
        sample_rate_hz=like.sample_rate_hz if like else first.sample_rate,
        n_channels=like.n_channels if like else first.layout.nb_channels,
        codec=stream.codec_context.codec.canonical_name,
        duration_s=duration_s,
    )
    return info, _blocks(container, first, frames, source, losses, info)


@dataclass
class _Losses:
    """Counts of what could not be decoded in a stream."""

    n_bad: int = 0
    n_good: int = 0
    gap_s: float = 0.0

    def __str__(self) -> str:
        packets = f"{self.n_bad} damaged packet{'s' if self.n_bad > 1 else ''}"
        return f"{packets}, replaced by {self.gap_s:.2f} s of silence" if self.gap_s else packets


class _Source(io.RawIOBase):
    """A file as FFmpeg reads it; I/O errors are remembered, so as not to be taken for damage."""

    def __init__(self, file: BinaryIO) -> None:
        self._file: Any = file
        self._error: Exception | None = None
        file.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except Exception as error:
            self._error = error
            raise

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def unread_fragments(self) -> int:
        """Count the bytes that were not read, if they include fragments of an MP4."""
        rest = self._file.read()
        return len(rest) if b"moof" in rest else 0

    def check(self) -> None:
        """Raise if reading failed."""
        if self._error:
            reason = error_reason(self._error)
            raise DecodeError("open", f"cannot be read: {reason}") from self._error


def _open(source: _Source):
    import av

    # A playlist, whatever its name, could make FFmpeg open other files of this machine.
    options = {"protocol_whitelist": "none"}
    try:  # tags in another encoding are no reason to reject the sound
        return av.open(source, metadata_errors="ignore", options=options)
    except TypeError:  # PyAV 19 and newer never reject them
        source.seek(0)
        return av.open(source, options=options)


def _is_mp4(file: BinaryIO) -> bool:
    file.seek(4)
    return file.read(4) == b"ftyp"


def _codec_tag(stream) -> str:
    try:
        return stream.codec_context.codec_tag
    except UnicodeDecodeError:  # AVI and WAV allow any four bytes
        return ""


def _frames(container, stream, source: _Source, losses: _Losses) -> Iterator[Any]:
    """Yield frames, and None where packets were lost before the next frame."""
    import av

    n_errors = 0
    while n_errors <= _MAX_READ_ERRORS:
        try:
            for packet in container.demux(stream):
                n_errors = 0
                try:
                    frames = packet.decode()
                except (av.FFmpegError, OSError):
                    source.check()
                    losses.n_bad += 1
                    if losses.n_good:
                        yield None
                    continue
                losses.n_good += bool(frames)
                yield from frames
            return
        except (av.FFmpegError, OSError) as error:
            source.check()
            if isinstance(error, av.EOFError):
                return
            n_errors += 1
            losses.n_bad += n_errors == 1


def _blocks(container, first, frames, source: _Source, losses: _Losses, info: AudioInfo) -> Blocks:
    to_float = _Converter(info)
    n_frames, is_after_loss = 0, False
    start_s = _time_s(first)
    with container:
        for frame in _chain(first, frames):
            if frame is None:
                is_after_loss = True
                continue
            if is_after_loss:
                is_after_loss = False
                n_lost = _lost_frames(frame, start_s, n_frames, info)
                losses.gap_s += n_lost / info.sample_rate_hz
                for start in range(0, n_lost, BLOCK_FRAMES):
                    silent = min(BLOCK_FRAMES, n_lost - start)
                    yield np.zeros((silent, info.n_channels), np.float32)
                n_frames += n_lost
            n_frames += round(frame.samples * info.sample_rate_hz / frame.sample_rate)
            yield from to_float(frame)
        yield from to_float.rest()
        if n_unread := source.unread_fragments():
            info.left_out.append(f"the last {n_unread} bytes, after a damaged fragment")
    if losses.n_bad > losses.n_good:
        raise DecodeError(
            "decode",
            f"broken: {losses.n_bad} of {losses.n_bad + losses.n_good} packets cannot be decoded",
        )
    if losses.n_bad:
        info.left_out.append(str(losses))


def _chain(first, rest) -> Iterator[Any]:
    yield first
    yield from rest


def _time_s(frame) -> float | None:
    return None if frame.pts is None or frame.time_base is None else float(frame.time)


def _lost_frames(frame, start_s: float | None, n_frames: int, info: AudioInfo) -> int:
    """Count the frames missing before this one, by the container's timestamps."""
    time_s = _time_s(frame)
    if start_s is None or time_s is None:
        return 0
    gap_s = time_s - start_s - n_frames / info.sample_rate_hz
    return round(gap_s * info.sample_rate_hz) if _MIN_GAP_S < gap_s < _MAX_GAP_S else 0


class _Converter:
    """Converts frames of any kind to blocks with the rate and channels of the first.

    The parts of a chained stream may differ.
    """

    def __init__(self, info: AudioInfo) -> None:
        self._info = info
        self._kind: tuple | None = None
        self._resampler: Any = None

    def __call__(self, frame) -> Blocks:
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self._kind:
            yield from self.rest()
            self._start(frame, kind)
        yield from self._converted(frame)

    def rest(self) -> Blocks:
        """Return the samples that are still buffered."""
        if self._resampler is not None:
            yield from self._converted(None)
            self._resampler = None

    def _start(self, frame, kind: tuple) -> None:
        import av

        self._kind = kind
        is_alike = frame.layout.nb_channels == self._info.n_channels
        self._resampler = av.AudioResampler(
            format="flt",
            layout=frame.layout if is_alike else _LAYOUTS[self._info.n_channels],
            rate=self._info.sample_rate_hz,
            frame_size=BLOCK_FRAMES,
        )

    def _converted(self, frame) -> Blocks:
        for part in self._resampler.resample(frame):
            yield part.to_ndarray().reshape(-1, self._info.n_channels)
