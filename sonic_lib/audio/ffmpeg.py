"""Decode with FFmpeg (PyAV) what libsndfile cannot read, or gives up on half-way.

Like a player, FFmpeg continues after a packet that cannot be decoded.
"""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO

from sonic_lib.audio.beginnings import junk_before_mpeg, tags_end
from sonic_lib.audio.chunks import missing_samples
from sonic_lib.audio.frames import Losses, read_blocks, read_frames
from sonic_lib.audio.info import AudioInfo, Blocks, check_channels, error_reason
from sonic_lib.audio.sizes import asf_duration_s, missing_bytes
from sonic_lib.errors import DecodeError, install_command

# Containers with a duration in the header; for others, FFmpeg guesses it from the bit rate.
_MEASURED = {
    *("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "asf", "flac", "flv"),
    *("tta", "wv", "ape", "tak", "dsf", "mpc", "mpc8"),
}
# Those in which FFmpeg gives a stream the duration of the file.
_OF_ALL_STREAMS = {"asf", "matroska,webm"}

# Formats of video games without magic bytes, for which FFmpeg takes samples without a header.
_GUESSED = {"adp", "ea_cdata"}

_DEFAULT = 1  # FFmpeg's AV_DISPOSITION_DEFAULT
_MIN_DELAY_S = 0.5
_FROM_START = "matroska,webm"  # durations there count from the start of the file

# MP4 sample entries with encrypted content: iTunes', and that of ISO 14496-12.
_PROTECTED = {"drms", "enca"}


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
    container = _opened(file, source, refusal)
    stream = _sound(container)
    losses = Losses()
    frames = read_frames(container, stream, source, losses)
    first = next(frames, None)
    if first is None:
        message = f"nothing in its audio stream can be decoded (libsndfile: {refusal})"
        raise DecodeError("decode", message)

    n_missing = missing_bytes(file) or missing_samples(file)
    duration_s = _duration_s(container, stream, av.time_base)
    if duration_s is not None and n_missing and container.format.name == "asf":
        duration_s = asf_duration_s(file)  # FFmpeg estimates how long the rest is
    delay_s = _delay_s(container, first, av.time_base)
    if duration_s is not None and container.format.name == _FROM_START:
        duration_s -= delay_s
    # From the first frame, not the stream: HE-AAC has twice the rate of its header.
    info = AudioInfo(
        sample_rate_hz=like.sample_rate_hz if like else first.sample_rate,
        n_channels=like.n_channels if like else first.layout.nb_channels,
        codec=stream.codec_context.codec.canonical_name,
        duration_s=duration_s,
    )
    tracks = container.streams.audio
    if len(tracks) > 1:
        info.left_out.append(
            f"only audio track {tracks.index(stream) + 1} of {len(tracks)} is read"
        )
    if delay_s:
        info.left_out.append(f"times count from the sound, which begins at {delay_s:.1f} s")
    if like is None and (n_junk := _junk_bytes(file, container, losses.first_at)):
        info.left_out.append(f"{n_junk} bytes before the sound")
    blocks = read_blocks(container, first, frames, source, losses, info, n_missing=n_missing)
    return info, blocks


def metadata(file: BinaryIO) -> dict[str, str | None]:
    """Return the tags of a file by their names, in lower case.

    Raises
    ------
    ImportError, av.FFmpegError, OSError, ValueError
        If FFmpeg is missing, or cannot read the file.
    """
    with _open(_Source(file)) as container:
        found = dict(container.metadata)
    tags = {name.lower(): text for name, text in found.items()}
    return {"album": tags.get("product")} | tags  # the name in AVI


def _opened(file: BinaryIO, source: _Source, refusal: str):
    import av

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
    if container.format.name in _GUESSED:
        container.close()
        message = f"not audio that libsndfile ({refusal}) or FFmpeg (no known format) can read"
        raise DecodeError("decode", message)
    return container


def _sound(container):
    """Return the first audio stream, if it can be decoded."""
    if not container.streams.audio:
        raise DecodeError("decode", "the file has no audio stream")
    stream = min(container.streams.audio, key=lambda each: not _is_default(each))
    if stream.codec_context is None:
        raise DecodeError("decode", "FFmpeg does not support the codec of its sound")
    if _codec_tag(stream) in _PROTECTED:
        raise DecodeError("decode", "copy-protected (DRM): only the vendor's player can read it")
    if stream.codec_context.channels:  # 0 if only the frames have the number
        check_channels(stream.codec_context.channels)
    return stream


def _is_default(stream) -> bool:
    """Whether a file with several tracks marks one as that to play."""
    flags = stream.disposition  # an enumeration that is no number until PyAV 17
    return bool(getattr(flags, "value", flags) & _DEFAULT)


def _junk_bytes(file: BinaryIO, container, first_at: int | None) -> int:
    """Count the bytes that FFmpeg skipped before MP3 or AAC, except tags; keeps the position."""
    position, n_bytes = file.tell(), 0
    if container.format.name == "mp3":
        n_bytes = junk_before_mpeg(file)
    elif container.format.name == "aac" and first_at:
        n_bytes = max(0, first_at - tags_end(file, 0))
    file.seek(position)
    return n_bytes


def _delay_s(container, first, time_base: int) -> float:
    """Return by how much the first frame begins after the file does, as after silent pictures."""
    if first.time is None or container.start_time is None:
        return 0.0
    delay_s = first.time - container.start_time / time_base
    return delay_s if delay_s > _MIN_DELAY_S else 0.0


def _duration_s(container, stream, time_base: int) -> float | None:
    """Return the duration of the sound in the header, if that is measured."""
    name = container.format.name
    if name not in _MEASURED:
        return None
    # That of a file may be of its picture, which may be longer than its sound.
    is_of_sound = len(container.streams) == 1
    if stream.duration is not None and (is_of_sound or name not in _OF_ALL_STREAMS):
        return float(stream.duration * stream.time_base)
    if container.duration is not None and is_of_sound:
        return container.duration / time_base
    return None


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
