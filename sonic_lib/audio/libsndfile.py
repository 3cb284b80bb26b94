"""Decode WAV and its relatives, FLAC, Ogg and MP3 with libsndfile, by far the faster decoder."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
from typing import Any, BinaryIO

import numpy as np
import soundfile

from sonic_lib.audio.beginnings import junk_before_mpeg
from sonic_lib.audio.chains import later_links
from sonic_lib.audio.chunks import PLACEHOLDER_BYTES
from sonic_lib.audio.containers import MAX_TAG_BYTES
from sonic_lib.audio.filled_ogg import filled_blocks
from sonic_lib.audio.info import BLOCK_FRAMES, AudioInfo, Blocks, error_reason
from sonic_lib.audio.last_frame import NOTE
from sonic_lib.audio.mpeg import stops_in_frame
from sonic_lib.audio.ogg import is_damaged as has_damaged_page
from sonic_lib.audio.part import Part
from sonic_lib.audio.rest import rest_of
from sonic_lib.audio.sizes import MAX_SLOPPY_BYTES, missing_bytes, missing_bytes_note
from sonic_lib.audio.stderr import quiet_stderr
from sonic_lib.errors import DecodeError

# In libsndfile's log: a WAV, AIFF, AU, W64 or RF64 file that announces more bytes than it has.
_SHORT_CONTAINER = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE
)
_SKIPPED = re.compile(r"^Ogg : Skipped (\d+) bytes looking for the next page", re.MULTILINE)

# An error after this share of the bytes of an MP3 of unknown length counts as its end.
_OPEN_END_SHARE = 0.9
_TAIL_BYTES = 16_384  # some frames of an MP3

# Packet formats: libsndfile reads only the first of several joined files, and an MP3 only as far as
# its header says.
_JOINABLE = {"MP3", "OGG", "FLAC"}


def open_libsndfile(file: BinaryIO) -> tuple[AudioInfo, Blocks]:
    """Open a file.

    Parameters
    ----------
    file : BinaryIO
        A seekable file.

    Returns
    -------
    info : AudioInfo
    blocks : iterator of np.ndarray [shape=(n_frames, n_channels), dtype=float32]
        If libsndfile stops before the end of the file, FFmpeg continues.

    Raises
    ------
    soundfile.LibsndfileError
        If libsndfile refuses the file.
    """
    with quiet_stderr:
        sound, source = _open_sound(file)
        n_frames = sound.frames
        is_announced = n_frames < 2**62  # FLAC may say "unknown"
        if sound.format == "MP3":
            # Without a Xing header, libsndfile guesses the length from the file's size and the bit
            # rate of the first frame, and stops there: a third of the way through some VBR files.
            # It was a guess if it changes when the file claims to be larger.
            longer_sound, longer_source = _open_sound(file, claimed_growth=100)
            if longer_sound.frames != n_frames:
                sound, source, is_announced = longer_sound, longer_source, False

    n_missing = missing_bytes(file) if sound.format in ("VOC", "NIST") else 0
    sizes = _SHORT_CONTAINER.search(sound.extra_info)
    is_noted = sound.format == "CAF"  # by `sound_parts`
    if sizes and not is_noted and int(sizes[1]) < PLACEHOLDER_BYTES:
        n_frames *= int(sizes[1]) / max(int(sizes[2]), 1)
        n_missing = int(sizes[1]) - int(sizes[2])

    codec = sound.format if sound.format in ("MP3", "FLAC") else sound.subtype
    info = AudioInfo(
        sample_rate_hz=sound.samplerate,
        n_channels=sound.channels,
        codec=codec.lower(),
        duration_s=n_frames / sound.samplerate if is_announced and sound.samplerate else None,
    )
    if sound.format == "MP3" and (n_bytes := junk_before_mpeg(file)):
        info.left_out.append(f"{n_bytes} bytes before the sound")
    has_open_end = sound.format == "MP3" and not is_announced
    if sound.format == "OGG":
        links = later_links(file, sound.format)
        filled = filled_blocks(_first_of(file, links), info, _open_sound)
        if filled is not None:
            return info, itertools.chain(filled, _later_blocks(file, links, info))
    blocks = _blocks(*(file, sound, source, info), has_open_end=has_open_end, n_missing=n_missing)
    return info, blocks


def open_seekable(file: BinaryIO) -> tuple[soundfile.SoundFile, _Source]:
    """Open a file to read parts of it, and return the arguments of `is_read`."""
    source = _Source(file, claimed_growth=1)
    with quiet_stderr:
        return soundfile.SoundFile(source), source


def is_damaged(sound: soundfile.SoundFile) -> bool:
    """Whether libsndfile reports that a file does not match its header."""
    log = sound.extra_info
    return (
        "Last page lacks an end-of-stream bit" in log
        or "Junk after the last page" in log
        or _SHORT_CONTAINER.search(log) is not None
    )


def is_read(file: BinaryIO, sound: soundfile.SoundFile, source: _Source) -> bool:
    """Whether nothing, such as another joined file, follows the last sample."""
    if source.error:
        return False
    if sound.format == "OGG":  # libsndfile may read its end at any time
        return not later_links(file, sound.format) and not has_damaged_page(file)
    return sound.format not in _JOINABLE or source.n_unread_bytes <= MAX_TAG_BYTES


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


def _blocks(
    file: BinaryIO,
    sound: soundfile.SoundFile,
    source: _Source,
    info: AudioInfo,
    *,
    has_open_end: bool,
    n_missing: int,
) -> Blocks:
    guard = quiet_stderr if sound.format == "MP3" else contextlib.nullcontext()
    buffer = np.empty((BLOCK_FRAMES, sound.channels), np.float32)
    n_frames, problem = 0, None
    with sound:
        is_joinable = sound.format in _JOINABLE
        while problem is None:
            try:
                with guard:
                    block = sound.read(out=buffer)
            except soundfile.LibsndfileError as error:
                if source.error:
                    raise source.error from None
                # Without an announced end, tags and half a frame after it are decoded as sound:
                # no damage, but libsndfile gives nothing of its last block.
                if has_open_end and source.share_read >= _OPEN_END_SHARE:
                    yield from rest_of(file, info, n_frames=n_frames)
                    return
                problem = error_reason(error)
                break
            if source.error:
                raise source.error
            if not len(block):
                break
            n_frames += len(block)
            yield block
        if skipped := _SKIPPED.findall(sound.extra_info):
            info.left_out.append(f"damaged Ogg pages, at least {max(map(int, skipped))} bytes")
    is_unread = is_joinable and source.n_unread_bytes > MAX_TAG_BYTES
    if not problem and not is_unread and not info.missing_note(n_frames):
        if n_missing > MAX_SLOPPY_BYTES:
            is_last_block = sound.format == "VOC"  # others, too, may be missing
            info.left_out.append(missing_bytes_note(n_missing, at_least=is_last_block))
        elif sound.format == "MP3" and stops_in_frame(_tail(file)):
            info.left_out.append(NOTE)
    if problem or is_unread or skipped:
        links = later_links(file, sound.format)
        if problem or (is_unread and not links):
            first = _first_of(file, links)
            yield from rest_of(first, info, n_frames=n_frames, problem=problem)
        yield from _later_blocks(file, links, info)


def _first_of(file: BinaryIO, links: list[int]) -> BinaryIO:
    return io.BufferedReader(Part(file, 0, links[0])) if links else file


def _later_blocks(file: BinaryIO, links: list[int], info: AudioInfo) -> Blocks:
    for number, start in enumerate(links):
        end = links[number + 1] if number + 1 < len(links) else None
        what = f"file {number + 2} of {len(links) + 1} joined ones"
        yield from rest_of(io.BufferedReader(Part(file, start, end)), info, what=what)


def _tail(file: BinaryIO) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    return file.read(_TAIL_BYTES)


class _ForwardSoundFile(soundfile.SoundFile):
    """A SoundFile that is only read from start to end.

    soundfile seeks after each block of a seekable file, which costs time, leaves glitches in MP3
    and loses the last block of a FLAC file of unknown length.
    """

    def seekable(self) -> bool:
        return False


class _Source:
    """A file as libsndfile sees it.

    It remembers I/O errors, which libsndfile would take for the end of the file, and can claim to
    be longer than it is.

    Parameters
    ----------
    file : BinaryIO
        A seekable file.
    claimed_growth : int > 0
        Factor by which the file claims to be larger than it is.
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

    @property
    def n_unread_bytes(self) -> int:
        return max(0, self._size - self._position)

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
