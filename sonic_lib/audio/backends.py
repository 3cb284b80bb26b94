"""The two decoders: libsndfile for most formats, FFmpeg (by PyAV, optional) for the rest.

Conventions
-----------
A decoder is opened on a binary, seekable file and gives what the file says of itself, an
`AudioInfo`, and an iterator over blocks of samples: float32, shape ``(n_frames, n_channels)``, at
the file's own rate. A block may be overwritten by the next one.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import soundfile

from sonic_lib.audio.stderr import quiet_stderr
from sonic_lib.errors import DecodeError

Blocks = Iterator[np.ndarray]

# A stereo block of this many frames (256 KiB) stays in the processor's cache on its way to mono.
_BLOCK_FRAMES = 32_768

# libsndfile knows the format but not this file, for example a truncated CAF.
_SFE_MALFORMED_FILE = 3

# In libsndfile's log: a WAV, AIFF, AU, W64 or RF64 file that announces more bytes than it has.
_SHORT_CONTAINER = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE
)
# Writers that stream put a size near 2 or 4 GiB in the header: it announces nothing.
_PLACEHOLDER_BYTES = 0x7FFF_0000

# An MP3 of unknown length has ended if what stops it comes after this share of its bytes.
_OPEN_END_SHARE = 0.9

# Containers whose header holds a duration; FFmpeg guesses that of the others from the bit rate.
_FFMPEG_MEASURED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "asf"}

# Sample entries of MP4 whose content is encrypted: of iTunes, and of ISO 14496-12.
_PROTECTED = {"drms", "enca"}


@dataclass(frozen=True)
class AudioInfo:
    """What an audio file says of itself.

    Attributes
    ----------
    sample_rate_hz : int
        Rate of the samples in the file.
    n_channels : int
        Channels in the file.
    codec : str
        Coding of the samples, for example ``"vorbis"``, ``"mp3"``, ``"flac"`` or ``"pcm_16"``.
    duration_s : float or None
        Announced duration; None where the format does not announce one.
    """

    sample_rate_hz: int
    n_channels: int
    codec: str
    duration_s: float | None


def open_decoder(file: BinaryIO) -> tuple[AudioInfo, Blocks]:
    """Open a file with the first decoder that accepts it.

    Parameters
    ----------
    file : BinaryIO
        A seekable file.

    Returns
    -------
    info : AudioInfo
        What the file says of itself.
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
        return _open_libsndfile(file)
    except soundfile.LibsndfileError as refusal:
        if refusal.code == _SFE_MALFORMED_FILE:
            raise DecodeError("decode", "malformed or truncated") from refusal
        return _open_ffmpeg(file, refusal=refusal.error_string)


def error_reason(error: Exception) -> str:
    """Say what went wrong without the names of objects and paths that str(error) may hold."""
    return str(getattr(error, "error_string", None) or getattr(error, "strerror", None) or error)


def _open_libsndfile(file: BinaryIO) -> tuple[AudioInfo, Blocks]:
    with quiet_stderr:
        sound, source = _open_sound(file)
        n_frames = sound.frames
        is_announced = n_frames < 2**62  # FLAC may say "unknown"
        if sound.format == "MP3":
            # Without a Xing header the length is a guess from the size of the file and the bit
            # rate of the first frame, and libsndfile stops reading there: a third of the way
            # through some VBR files. If a file that claims to be longer is thought to be, it was
            # a guess.
            longer_sound, longer_source = _open_sound(file, claimed_growth=100)
            if longer_sound.frames != n_frames:
                sound, source, is_announced = longer_sound, longer_source, False

    log = sound.extra_info
    if "Last page lacks an end-of-stream bit" in log and "Junk after the last page" in log:
        raise DecodeError("decode", "truncated: the file ends in the middle of an Ogg page")
    if (sizes := _SHORT_CONTAINER.search(log)) and int(sizes[1]) < _PLACEHOLDER_BYTES:
        n_frames *= int(sizes[1]) / max(int(sizes[2]), 1)

    codec = sound.format if sound.format in ("MP3", "FLAC") else sound.subtype
    info = AudioInfo(
        sample_rate_hz=sound.samplerate,
        n_channels=sound.channels,
        codec=codec.lower(),
        duration_s=n_frames / sound.samplerate if is_announced and sound.samplerate else None,
    )
    has_open_end = sound.format == "MP3" and not is_announced
    return info, _read_libsndfile(sound, source, has_open_end=has_open_end)


def _open_sound(file: BinaryIO, *, claimed_growth: int = 1) -> tuple[soundfile.SoundFile, _Source]:
    source = _Source(file, claimed_growth=claimed_growth)
    try:
        sound = _ForwardSoundFile(source)
    except soundfile.LibsndfileError:
        if source.error:
            raise source.error from None
        raise
    if source.error:
        raise source.error
    return sound, source


def _read_libsndfile(sound: soundfile.SoundFile, source: _Source, *, has_open_end: bool) -> Blocks:
    guard = quiet_stderr if sound.format == "MP3" else contextlib.nullcontext()
    buffer = np.empty((_BLOCK_FRAMES, sound.channels), np.float32)
    with sound:
        while True:
            try:
                with guard:
                    block = sound.read(out=buffer)
            except soundfile.LibsndfileError:
                # Without an announced end, tags and half a frame after it are taken for sound.
                if has_open_end and source.share_read >= _OPEN_END_SHARE:
                    return
                raise
            if source.error:
                raise source.error
            if not len(block):
                return
            yield block


class _ForwardSoundFile(soundfile.SoundFile):
    """A SoundFile that is only read from start to end.

    soundfile seeks after each block of a seekable file. That costs time, leaves seams in MP3 and
    loses the last block of a FLAC file of unknown length.
    """

    def seekable(self) -> bool:
        return False


class _Source:
    """A file as libsndfile sees it.

    It keeps an error of reading, which libsndfile would take for the end of the file, and can claim
    to be longer than it is.

    Parameters
    ----------
    file : BinaryIO
        A seekable file.
    claimed_growth : int > 0
        How many times its real size the file claims to have.
    """

    def __init__(self, file: BinaryIO, *, claimed_growth: int = 1) -> None:
        self.error: DecodeError | None = None
        self._file: Any = file  # typing knows no BinaryIO with readinto
        self._size = file.seek(0, os.SEEK_END)
        self._claimed_size = self._size * claimed_growth
        self._position = 0

    @property
    def share_read(self) -> float:
        return self._position / self._size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = (0, self._position, self._claimed_size)[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:
        position = self._position
        if position >= self._claimed_size - 128:  # mpg123 looks for an ID3v1 tag at the end
            position -= self._claimed_size - self._size
        try:
            self._file.seek(max(0, min(position, self._size)))
            n_read = self._file.readinto(buffer)
        except Exception as error:
            self.error = DecodeError("open", f"cannot be read: {error_reason(error)}")
            return 0
        self._position += n_read
        return n_read


def _open_ffmpeg(file: BinaryIO, *, refusal: str) -> tuple[AudioInfo, Blocks]:
    try:
        import av
    except ImportError as error:
        raise DecodeError(
            "decode",
            f"libsndfile cannot read it ({refusal}); M4A, AAC, WMA and the sound of videos need "
            "PyAV: pip install 'sonic-signature[m4a]'",
        ) from error

    file.seek(0)
    try:
        container = av.open(file, metadata_errors="ignore")
    except (av.FFmpegError, ValueError) as error:
        both = f"libsndfile ({refusal}) or FFmpeg ({error_reason(error)})"
        raise DecodeError("decode", f"not audio that {both} can read") from error
    if not container.streams.audio:
        raise DecodeError("decode", "the file has no audio stream")
    stream = container.streams.audio[0]
    if stream.codec_context.codec_tag in _PROTECTED:
        raise DecodeError("decode", "copy-protected (DRM): only its shop's player can read it")
    try:
        frames = container.decode(stream)
        first = next(frames)
    except (av.FFmpegError, StopIteration) as error:
        raise DecodeError("decode", "the audio stream holds nothing that can be decoded") from error

    duration_s = None
    if container.format.name in _FFMPEG_MEASURED:
        if stream.duration is not None:
            duration_s = float(stream.duration * stream.time_base)
        elif container.duration is not None and len(container.streams) == 1:
            duration_s = container.duration / av.time_base
    # The first frame is asked, not the stream: HE-AAC has twice the rate that its header says.
    info = AudioInfo(
        sample_rate_hz=first.sample_rate,
        n_channels=first.layout.nb_channels,
        codec=stream.codec_context.codec.canonical_name,
        duration_s=duration_s,
    )
    return info, _read_ffmpeg(container, first, frames)


def _read_ffmpeg(container, first, frames) -> Blocks:
    import av

    to_float = av.AudioResampler(
        format="flt", layout=first.layout, rate=first.sample_rate, frame_size=_BLOCK_FRAMES
    )
    with container:
        for frame in itertools.chain([first], frames, [None]):
            for part in to_float.resample(frame):
                yield part.to_ndarray().reshape(-1, first.layout.nb_channels)
