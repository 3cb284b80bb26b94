"""Decode an audio file to mono float32 samples at a given rate, in constant memory.

Conventions
-----------
Rates are in Hz, times in s. Samples are float32 with full scale at -1 and 1. Every failure is a
`DecodeError` whose stage is ``"open"`` (the file cannot be reached) or ``"decode"`` (no usable
sound). Callers check whether the sound is too short or silent.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import soxr

from sonic_lib.audio.decoders import AudioInfo, Blocks, error_reason, open_decoder
from sonic_lib.audio.info import MAX_LEVEL, check_channels, check_sample_rate
from sonic_lib.errors import DecodeError
from sonic_lib.spark.uris import local_path, open_remote

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["AudioInfo", "content_sha256", "open_audio", "stream_mono"]

# The escape for a byte of a path that is not UTF-8 (`listing.list_audio`).
_ESCAPED_BYTE = re.compile(r"\\u(dc[89a-f][0-9a-f])")
# Most songs: tags, damage and samples are looked for one after the other, each over all bytes.
_WHOLE_REMOTE_BYTES = 32 << 20
_REMOTE_BUFFER_BYTES = 1 << 20  # decoders read a few kB at a time; unbuffered, each is a request
_HASH_BYTES = 1 << 20

# Channels with less of their power in the mean cancel each other, as with a miswired cable; in a
# block of fewer frames, they may do so by chance.
_MIN_MEAN_POWER, _MIN_JUDGED_FRAMES = 1e-3, 64
_MAX_NON_FINITE_SHARE = 0.01


def open_audio(uri: str) -> BinaryIO:
    """Open a file for reading, wherever it is.

    Parameters
    ----------
    uri : str
        A local path, ``file:/path``, ``file:///path`` or a URI of a filesystem that Arrow supports
        (``s3a://bucket/key``, ``gs://…``, ``hdfs://…``, ``abfss://…``; credentials come from the
        environment). The path is taken literally, as Spark writes it: ``%20`` is three characters.

    Returns
    -------
    file : BinaryIO
        The file, seekable.

    Raises
    ------
    DecodeError
        If it does not exist, cannot be read or is not a regular file; its stage is ``"open"``.
    """
    try:
        path = local_path(uri)
        if path is None:
            return _fetched(open_remote(uri))
        return _open_local(path)
    except (OSError, ValueError, NotImplementedError, ImportError) as error:
        raise DecodeError("open", f"cannot be opened: {error_reason(error)}") from error


def _fetched(remote: pa.NativeFile) -> BinaryIO:
    """Return a remote file, as a whole unless it is large."""
    if remote.size() <= _WHOLE_REMOTE_BYTES:
        with remote:
            return io.BytesIO(remote.read())
    return io.BufferedReader(remote, _REMOTE_BUFFER_BYTES)


def _open_local(path: str) -> BinaryIO:
    if not os.path.lexists(path):
        path = _ESCAPED_BYTE.sub(lambda byte: chr(int(byte[1], 16)), path)
    # Opening a named pipe would wait forever for a writer.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("not a regular file")
    return open(path, "rb")


def content_sha256(file: BinaryIO) -> str:
    """Hash the content of a file from its start, and rewind it.

    Parameters
    ----------
    file : BinaryIO
        A seekable file.

    Returns
    -------
    digest : str
        SHA-256 in 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    file.seek(0)
    while piece := file.read(_HASH_BYTES):
        digest.update(piece)
    file.seek(0)
    return digest.hexdigest()


def stream_mono(
    file: BinaryIO, *, sample_rate_hz: int, block_s: float = 30.0
) -> tuple[AudioInfo, Iterator[np.ndarray]]:
    """Decode a file to mono blocks at a given rate.

    The header is read immediately, the samples as blocks are taken; whether a file is complete is
    only known after its last block. Joined, the blocks equal the mean over channels, resampled in
    one piece; where channels cancel each other, the strongest one is used.

    Parameters
    ----------
    file : BinaryIO
        A seekable file, for example from `open_audio`; it must stay open while blocks are taken.
    sample_rate_hz : int > 0
        Rate of the blocks.
    block_s : float > 0
        Duration of a block.

    Returns
    -------
    info : AudioInfo
        The properties in the file's header.
    blocks : iterator of np.ndarray [shape=(round(block_s * sample_rate_hz),), dtype=float32]
        The samples; the last block may be shorter. Samples that are not finite, or absurdly large,
        become 0.

    Raises
    ------
    DecodeError
        If the file is not audio or its header is invalid; while blocks are taken, if it has no
        samples, or more than 1 % of them are not finite.

    Notes
    -----
    A truncated or damaged file gives all samples that can be decoded. After the last block,
    `AudioInfo.left_out` says what is missing.
    """
    info, blocks = open_decoder(file)
    check_sample_rate(info.sample_rate_hz)
    check_channels(info.n_channels)
    mono = _checked_mono(blocks, info)
    resampled = _resample(mono, from_hz=info.sample_rate_hz, to_hz=sample_rate_hz)
    return info, _regroup(resampled, block_frames=max(1, round(block_s * sample_rate_hz)))


def _checked_mono(blocks: Blocks, info: AudioInfo) -> Iterator[np.ndarray]:
    n_frames = n_non_finite = 0
    is_broken = False
    try:
        for block in blocks:
            mono = _one_channel(block)
            non_finite = ~(np.abs(mono) <= MAX_LEVEL)
            if non_finite.any():
                n_non_finite += int(np.count_nonzero(non_finite))
                mono[non_finite] = 0.0
            n_frames += len(mono)
            yield mono
    except DecodeError:
        raise
    except Exception as error:  # decoders may raise anything; one file must not stop the job
        decoded_s = n_frames / info.sample_rate_hz
        where = f"{decoded_s:.1f} s" + (f" of {info.duration_s:.1f} s" if info.duration_s else "")
        reason = error_reason(error) or type(error).__name__
        # What was read is not used after errors that may be due to this machine, not to the file.
        if not n_frames or isinstance(error, (OSError, MemoryError)):
            raise DecodeError("decode", f"broken after {where}: {reason}") from error
        info.left_out.append(f"everything after {where} ({reason})")
        is_broken = True

    if n_frames == 0:
        raise DecodeError("decode", "the file has no samples")
    if not is_broken and (note := info.missing_note(n_frames)):
        info.left_out.append(note)
    if n_non_finite > _MAX_NON_FINITE_SHARE * n_frames:
        share = n_non_finite / n_frames
        raise DecodeError("decode", f"{share:.0%} of the samples are not finite numbers")


@np.errstate(over="ignore", invalid="ignore")
def _one_channel(block: np.ndarray) -> np.ndarray:
    """Average the channels, or take the strongest if they cancel each other."""
    # Ten times as fast as block.mean(axis=1), whose inner loop is over two numbers.
    mono = block[:, 0].copy()
    for channel in range(1, block.shape[1]):
        mono += block[:, channel]
    if block.shape[1] > 1:
        mono *= np.float32(1 / block.shape[1])
        if len(block) < _MIN_JUDGED_FRAMES:
            return mono
        least = _MIN_MEAN_POWER / block.shape[1] * float(np.vdot(block, block))
        if (power := _power(mono)) < least < np.inf:  # seldom; the rest takes longer
            powers = [_power(channel) for channel in block.T]
            if power < _MIN_MEAN_POWER * np.mean(powers):
                # The first of those about as strong: the same one in all blocks.
                strong = int(np.argmax(np.array(powers) > 0.9 * max(powers)))
                return block[:, strong].copy()
    return mono


def _power(samples: np.ndarray) -> float:
    """Return the sum of the squares of samples without their direct current."""
    mean = float(samples.mean())
    return float(np.vdot(samples, samples)) - mean * mean * len(samples)


def _resample(chunks: Iterator[np.ndarray], *, from_hz: int, to_hz: int) -> Iterator[np.ndarray]:
    if from_hz == to_hz:
        yield from chunks
        return
    # soxr's default quality, HQ, takes 4 % longer than MQ; both are fast compared with decoding.
    stream = soxr.ResampleStream(from_hz, to_hz, num_channels=1, dtype="float32")
    for chunk in chunks:
        yield stream.resample_chunk(chunk)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def _regroup(chunks: Iterator[np.ndarray], *, block_frames: int) -> Iterator[np.ndarray]:
    block, n_filled = np.empty(block_frames, np.float32), 0
    for chunk in chunks:
        while len(chunk):
            n_taken = min(block_frames - n_filled, len(chunk))
            block[n_filled : n_filled + n_taken] = chunk[:n_taken]
            n_filled += n_taken
            chunk = chunk[n_taken:]
            if n_filled == block_frames:
                yield block
                block, n_filled = np.empty(block_frames, np.float32), 0
    if n_filled:
        yield block[:n_filled]
