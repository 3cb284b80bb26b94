"""Tell whether the last packet of a stream without a header stops in the middle of a frame.

Decoders conceal the missing half of MPEG and AC-3 frames, and report nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from sonic_lib.audio.mpeg import frame_bytes

NOTE = "the end: the file stops in the middle of a frame"

_AC3_KBIT_S = (
    *(32, 40, 48, 56, 64, 80, 96, 112, 128, 160),
    *(192, 224, 256, 320, 384, 448, 512, 576, 640),
)
_AC3_SYNC, _AC3_BLOCKS = b"\x0b\x77", 1_536
_FIRST_EAC3_VERSION, _LAST_EAC3_VERSION = 11, 16


def stops_in_frame(codec: str, packet: bytes) -> bool:
    """Whether a packet is shorter than its frames say.

    Parameters
    ----------
    codec : str
        FFmpeg's name of the codec; of those not known here, nothing can be told.
    packet : bytes
        One or more frames.
    """
    length_of = _LENGTHS.get(codec)
    place = 0
    while length_of is not None and place < len(packet):
        n_bytes = length_of(packet[place : place + 6])
        if not n_bytes:
            return False
        place += n_bytes
    return place > len(packet)


def _ac3_bytes(header: bytes) -> int:
    """Return the size of an AC-3 or E-AC-3 frame (ATSC A/52), 0 if none begins here."""
    if len(header) < 6 or not header.startswith(_AC3_SYNC):
        return 0
    version = header[5] >> 3
    if version >= _FIRST_EAC3_VERSION:
        words = ((header[2] & 7) << 8 | header[3]) + 1
        return 2 * words if version <= _LAST_EAC3_VERSION else 0
    rate, size = header[4] >> 6, header[4] & 63
    if rate == 3 or size // 2 >= len(_AC3_KBIT_S):
        return 0
    words = _AC3_BLOCKS * _AC3_KBIT_S[size // 2] * 1_000 // (16 * (48_000, 44_100, 32_000)[rate])
    return 2 * (words + (size & 1 if rate == 1 else 0))


_LENGTHS: dict[str, Callable[[bytes], int]] = {
    **dict.fromkeys(("ac3", "eac3"), _ac3_bytes),
    **dict.fromkeys(("mp1", "mp2", "mp3"), frame_bytes),
}
