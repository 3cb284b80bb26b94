"""Degrade clips as when recorded from a loudspeaker: cuts, noise, rooms, a poor codec.

Conventions
-----------
Signals are float32 with shape ``(n_frames,)`` or ``(n_frames, n_channels)``.
"""

from __future__ import annotations

import io

import numpy as np
import soundfile
import soxr
from scipy import fft, signal

_POOR_RATE_HZ = 16_000
_TALKERS_HZ = (300, 3_000)
_SYLLABLES_HZ = 4.0
_N_TALKERS = 6
_WHITE_LEVEL = 0.3  # relative to pink noise and babble, both at 1


def cut(x: np.ndarray, *, start_s: float, length_s: float, sample_rate_hz: int) -> np.ndarray:
    """Take a passage out of a signal.

    Parameters
    ----------
    x : np.ndarray [shape=(n_frames,) or (n_frames, n_channels)]
        The signal.
    start_s, length_s : float >= 0
        Start and length of the passage.
    sample_rate_hz : int > 0
        Rate of the signal.

    Returns
    -------
    passage : np.ndarray [shape=(round(length_s * sample_rate_hz), ...)]
        A copy; shorter if the signal ends earlier.
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
        Ratio of the power of the signal to that of the noise.
    sample_rate_hz : int > 0
        Rate of the signal.
    rng : np.random.Generator
        Source of randomness.

    Returns
    -------
    noisy : np.ndarray [shape=x.shape, dtype=float32]
        The mix, scaled down if it would exceed -1 to 1. All channels get the same noise.
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
    """Encode a signal as Ogg Vorbis at 16 kHz, mono, about 24 kbit/s, and decode it again.

    Parameters
    ----------
    x : np.ndarray [shape=(n_frames,) or (n_frames, n_channels)]
        The signal.
    sample_rate_hz : int > 0
        Rate of the signal and of the result.

    Returns
    -------
    poor : np.ndarray [shape=(n_frames,), dtype=float32]
        The decoded signal, without delay.
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


def reverberate(
    x: np.ndarray, *, decay_s: float, sample_rate_hz: int, rng: np.random.Generator
) -> np.ndarray:
    """Simulate a room: direct sound plus decaying noise as impulse response (Moorer 1979).

    Parameters
    ----------
    x : np.ndarray [shape=(n_frames,)]
        The signal.
    decay_s : float > 0
        Time in which the reverberation falls by 60 dB.
    sample_rate_hz : int > 0
        Rate of the signal.
    rng : np.random.Generator
        Source of the impulse response.

    Returns
    -------
    np.ndarray [shape=x.shape, dtype=float32]
        As loud as before, without delay.
    """
    t_s = np.arange(round(decay_s * sample_rate_hz)) / sample_rate_hz
    room = rng.standard_normal(t_s.size) * 10 ** (-3 * t_s / decay_s)
    room *= 0.7 / np.sqrt(np.sum(room**2))  # the direct sound is a little louder than the rest
    room[0] += 1.0
    return _as_loud(signal.fftconvolve(x, room)[: len(x)], x)


def telephone(x: np.ndarray, *, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    """Simulate a telephone across a room: reverberation, noise, 300-3400 Hz, clipping.

    Parameters
    ----------
    x : np.ndarray [shape=(n_frames,)]
        The signal.
    sample_rate_hz : int > 6800
        Rate of the signal.
    rng : np.random.Generator
        Source of the room and the noise.

    Returns
    -------
    np.ndarray [shape=x.shape, dtype=float32]
    """
    in_room = reverberate(x, decay_s=0.4, sample_rate_hz=sample_rate_hz, rng=rng)
    noisy = add_noise(in_room, snr_db=10, sample_rate_hz=sample_rate_hz, rng=rng)
    band = signal.butter(4, (300, 3400), "bandpass", fs=sample_rate_hz, output="sos")
    heard = signal.sosfilt(band, noisy)
    return np.tanh(heard / max(2 * float(np.sqrt(np.mean(heard**2))), 1e-9)).astype(np.float32)


def tilt(x: np.ndarray, *, db_per_octave: float, sample_rate_hz: int) -> np.ndarray:
    """Tilt the spectrum by a number of dB per octave around 1 kHz."""
    n_frames = fft.next_fast_len(len(x), real=True)
    f_hz = np.maximum(fft.rfftfreq(n_frames, 1 / sample_rate_hz), 50.0)
    gain = 10 ** (db_per_octave * np.log2(f_hz / 1000) / 20)
    return _as_loud(fft.irfft(fft.rfft(x, n_frames) * gain, n_frames)[: len(x)], x)


def change_speed(x: np.ndarray, *, factor: float) -> np.ndarray:
    """Play a signal faster: 1.05 is 5 % shorter and higher."""
    return soxr.resample(x, factor, 1.0).astype(np.float32)


def change_tempo(x: np.ndarray, *, factor: float, sample_rate_hz: int) -> np.ndarray:
    """Play a signal faster at the same pitch, by a phase vocoder (Flanagan & Golden 1966).

    Parameters
    ----------
    x : np.ndarray [shape=(n_frames,)]
        The signal.
    factor : float > 0
        1.05 is 5 % shorter.
    sample_rate_hz : int > 0
        Rate of the signal.

    Returns
    -------
    np.ndarray [shape=(about n_frames / factor,), dtype=float32]
    """
    n_window = 2 * round(0.04 * sample_rate_hz)
    n_hop = n_window // 8
    window = signal.windows.hann(n_window, sym=False)
    transform = signal.ShortTimeFFT(window, n_hop, sample_rate_hz)
    spectrum = transform.stft(x)
    steps = np.arange(0, spectrum.shape[1] - 1, factor)
    left = np.floor(steps).astype(int)
    share = steps - left
    level = (1 - share) * np.abs(spectrum[:, left]) + share * np.abs(spectrum[:, left + 1])
    # Between two frames, a partial's phase advances as it did in the original.
    moved = np.angle(spectrum[:, left + 1]) - np.angle(spectrum[:, left])
    phase = np.angle(spectrum[:, :1]) + np.cumsum(moved, axis=1) - moved
    stretched = transform.istft(level * np.exp(1j * phase))
    return _as_loud(stretched[: round(len(x) / factor)], x)


def change_pitch(x: np.ndarray, *, factor: float, sample_rate_hz: int) -> np.ndarray:
    """Play a signal higher at the same tempo: 1.06 is a semitone."""
    slower = change_tempo(x, factor=1 / factor, sample_rate_hz=sample_rate_hz)
    return change_speed(slower, factor=factor)


def _as_loud(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    loudness = np.sqrt(np.mean(y**2))
    return (y * (np.sqrt(np.mean(x**2)) / max(float(loudness), 1e-12))).astype(np.float32)
