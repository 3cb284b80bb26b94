"""The properties of an audio file, and notes about unusable parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from sonic_lib.errors import DecodeError

Blocks = Iterator[np.ndarray]

# A stereo block of this many frames (256 KiB) stays in the processor's cache while mixed to mono.
BLOCK_FRAMES = 32_768
# Float files may exceed full scale, with some writers up to that of 32-bit integers. Larger values
# are misread bytes whose power would overflow, and count as not finite.
MAX_LEVEL = np.float32(1e10)
# Larger differences from the announced duration are reported; encoders round it and pad the ends.
_MAX_MISSING_S, _MAX_MISSING_SHARE = 0.1, 0.002
_MIN_RATE_HZ, _MAX_RATE_HZ = 1_000, 2_822_400  # that of DSD512, as FFmpeg decodes it
_MAX_CHANNELS = 64


@dataclass(frozen=True)
class AudioInfo:
    """The properties of an audio file.

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
    left_out : list of str
        Notes for the file's owner about parts that could not be used. Complete once all samples
        have been read.
    jumps_s : list of float
        By how much timestamps jump ahead where that is not filled with silence, though the
        announced duration may count it. Complete as `left_out`.
    """

    sample_rate_hz: int
    n_channels: int
    codec: str
    duration_s: float | None
    left_out: list[str] = field(default_factory=list)
    jumps_s: list[float] = field(default_factory=list)

    def missing_note(self, n_frames: int) -> str | None:
        """Return a note if a file of so many frames has less than its header says."""
        if self.duration_s is None:
            return None
        decoded_s = n_frames / self.sample_rate_hz
        missing_s = self.duration_s - sum(self.jumps_s) - decoded_s
        if missing_s <= max(_MAX_MISSING_S, _MAX_MISSING_SHARE * decoded_s):
            return None
        besides = "without the jumps, " if self.jumps_s else ""
        return (
            f"truncated: {besides}the header says {missing_s + decoded_s:.1f} s, "
            f"the file has {decoded_s:.1f} s"
        )


def error_reason(error: Exception) -> str:
    """Return the reason for an error, without the object names and paths of str(error)."""
    if isinstance(error, MemoryError):
        return "needs more memory than index.file_memory_mb allows"
    reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or error
    return str(reason).removeprefix("Error : ").removesuffix(".") or type(error).__name__


def check_channels(n_channels: int) -> None:
    """Check the number of channels.

    Raises
    ------
    DecodeError
        If there are no channels, or more than 64.
    """
    if not 1 <= n_channels <= _MAX_CHANNELS:
        raise DecodeError("decode", f"{n_channels} channels; expected 1 to {_MAX_CHANNELS}")


def check_sample_rate(sample_rate_hz: int) -> None:
    """Check a sample rate.

    Raises
    ------
    DecodeError
        If it is not between 1 and 2,822.4 kHz.
    """
    if not _MIN_RATE_HZ <= sample_rate_hz <= _MAX_RATE_HZ:
        raise DecodeError("decode", f"invalid sample rate: {sample_rate_hz} Hz")
