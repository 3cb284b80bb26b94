"""What happens to a clip on its way from the loudspeaker to us: cuts, noise, a poor codec.

Conventions
-----------
Signals are float32 with shape ``(n_frames,)`` or ``(n_frames, n_channels)``.
"""

from __future__ import annotations

import io

import numpy as np
import soundfile
import soxr
from scipy import fft

_POOR_RATE_HZ = 16_000
_TALKERS_HZ = (300, 3_000)
_SYLLABLES_HZ = 4.0
_N_TALKERS = 6
_WHITE_LEVEL = 0.3  # beside pink noise and babble, both at 1


def cut(x: np.ndarray, *, start_s: float, length_s: float, sample_rate_hz: int) -> np.ndarray:
    """Take a passage out of a signal.

    Parameters
    ----------
    x : np.ndarray [shape=(n_frames,) or (n_frames, n_channels)]
        The signal.
    start_s, length_s : float >= 0
        Where the passage starts and how long it is.
    sample_rate_hz : int > 0
        Rate of the signal.

    Returns
    -------
    passage : np.ndarray [shape=(round(length_s * sample_rate_hz), ...)]
        A copy; shorter if the signal ends before.
    """
    start = round(start_s * sample_rate_hz)
    return x[start : start + round(length_s * sample_rate_hz)].copy()


def add_noise(
    x: np.ndarray, *, snr_db: float, sample_rate_hz: int, rng: np.random.Generator
) -> np.ndarray:
    """Mix in the noise of a crowded room: pink noise, some hiss and people talking.

    Parameters
    ----------
    x : np.ndarray [shape=(n_frames,) or (n_frames, n_channels)]
        The signal.
    snr_db : float
        Power of the signal over that of the noise.
    sample_rate_hz : int > 0
        Rate of the signal.
    rng : np.random.Generator
        Source of the noise.

    Returns
    -------
    noisy : np.ndarray [shape=x.shape, dtype=float32]
        The mix, scaled down where it would leave -1 to 1. All channels get the same noise.
    """
    n_frames = fft.next_fast_len(len(x), real=True)
    f_hz = fft.rfftfreq(n_frames, 1 / sample_rate_hz)
    pink = _shaped_noise(1 / np.sqrt(np.maximum(f_hz, 20.0)), n_frames, rng)
    white = rng.standard_normal(n_frames)
    speech_band = (f_hz > _TALKERS_HZ[0]) & (f_hz < _TALKERS_HZ[1])
    babble = np.zeros(n_frames)
    for _ in range(_N_TALKERS):
        loudness = np.maximum(_shaped_noise(f_hz < _SYLLABLES_HZ, n_frames, rng), 0)
        babble += loudness * _shaped_noise(speech_band / np.maximum(f_hz, 1.0), n_frames, rng)

    noise = (pink + _WHITE_LEVEL * white + babble / babble.std())[: len(x)]
    noise *= np.sqrt(np.mean(x**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    noisy = x + (noise if x.ndim == 1 else noise[:, None])
    return (noisy / max(1.0, np.abs(noisy).max())).astype(np.float32)


def _shaped_noise(gain: np.ndarray, n_frames: int, rng: np.random.Generator) -> np.ndarray:
    noise = fft.irfft(fft.rfft(rng.standard_normal(n_frames)) * gain, n_frames)
    return noise / noise.std()


def low_bitrate(x: np.ndarray, *, sample_rate_hz: int) -> np.ndarray:
    """Send a signal through Ogg Vorbis at 16 kHz, mono, some 24 kbit/s, and back.

    Parameters
    ----------
    x : np.ndarray [shape=(n_frames,) or (n_frames, n_channels)]
        The signal.
    sample_rate_hz : int > 0
        Rate of the signal and of the result.

    Returns
    -------
    poor : np.ndarray [shape=(n_frames,), dtype=float32]
        What is left of it, not delayed.
    """
    mono = x if x.ndim == 1 else x.mean(axis=1)
    coded = io.BytesIO()
    soundfile.write(
        coded,
        soxr.resample(mono, sample_rate_hz, _POOR_RATE_HZ),
        _POOR_RATE_HZ,
        format="OGG",
        compression_level=1.0,
    )
    coded.seek(0)
    decoded, _ = soundfile.read(coded, dtype="float32")
    poor = soxr.resample(decoded, _POOR_RATE_HZ, sample_rate_hz)[: len(mono)]
    return np.pad(poor, (0, len(mono) - len(poor)))
