"""Encode and decode a short sound in each common format, to test a machine's decoders."""

from __future__ import annotations

import io

import numpy as np
import soundfile

from sonic_lib.audio.decode import stream_mono
from sonic_lib.errors import DecodeError, install_command

RATE_HZ = 44_100
DURATION_S = 0.5

# Format and subtype for libsndfile; container and codec for FFmpeg.
_BY_LIBSNDFILE = {
    "WAV": ("WAV", "PCM_16"),
    "FLAC": ("FLAC", "PCM_16"),
    "AIFF": ("AIFF", "PCM_16"),
    "Ogg Vorbis": ("OGG", "VORBIS"),
    "Opus": ("OGG", "OPUS"),
    "MP3": ("MP3", "MPEG_LAYER_III"),
}
_BY_FFMPEG = {"M4A": ("ipod", "aac"), "AAC": ("adts", "aac"), "WMA": ("asf", "wmav2")}
FORMATS = (*_BY_LIBSNDFILE, *_BY_FFMPEG)


def try_format(name: str) -> str | None:
    """Encode a short sound and decode it again.

    Parameters
    ----------
    name : str
        One of FORMATS.

    Returns
    -------
    str or None
        What went wrong, if anything.
    """
    try:
        content = _encode_ffmpeg(name) if name in _BY_FFMPEG else _encode_libsndfile(name)
    except ImportError:
        return f"needs PyAV: {install_command('av')}"
    except Exception as error:  # libraries may raise anything
        return f"cannot be tested, as it cannot be written here: {error}"
    try:
        _, blocks = stream_mono(io.BytesIO(content), sample_rate_hz=RATE_HZ)
        heard = np.concatenate(list(blocks))
    except DecodeError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if abs(heard.size / RATE_HZ - DURATION_S) > 0.2 or np.abs(heard).max() < 0.1:
        return f"gives {heard.size / RATE_HZ:.2f} s instead of {DURATION_S} s"
    return None


def _tone(rate_hz: int) -> np.ndarray:
    t_s = np.arange(round(DURATION_S * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * 440 * t_s)).astype(np.float32)


def _encode_libsndfile(name: str) -> bytes:
    container, subtype = _BY_LIBSNDFILE[name]
    rate_hz = 48_000 if subtype == "OPUS" else RATE_HZ
    file = io.BytesIO()
    soundfile.write(file, _tone(rate_hz), rate_hz, format=container, subtype=subtype)
    return file.getvalue()


def _encode_ffmpeg(name: str) -> bytes:
    import av

    container, codec = _BY_FFMPEG[name]
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=RATE_HZ)
        stream.layout, stream.bit_rate = "mono", 64_000
        tone = _tone(RATE_HZ)[None]
        for start in range(0, tone.shape[1], 1_024):
            part = np.ascontiguousarray(tone[:, start : start + 1_024])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE_HZ, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return file.getvalue()
