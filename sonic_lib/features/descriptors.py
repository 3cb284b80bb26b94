"""Compute the descriptors of a sound: numpy and librosa, no I/O.

Conventions
-----------
Spectra are magnitudes of shape (n_bins, n_frames): sound at 22,050 Hz, a Hann window of 2048
samples, a hop of 512.

The quantities are librosa's (McFee et al., SciPy 2015), with the same values up to rounding. They
share one spectrogram, which librosa's own functions would compute again each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from sonic_lib.features.catalog import DESCRIPTORS, FAMILIES
from sonic_lib.features.librosa_import import load_librosa

SAMPLE_RATE_HZ = 22_050
# 6 x 10 s represent a song well compared with differences between songs: benchmarks/features.py.
N_EXCERPTS = 6
EXCERPT_S = 10.0

_FFT_SAMPLES = 2048
_HOP_SAMPLES = 512
_MIN_FRAMES = 16  # the deltas of the MFCCs need 9
_FLOOR_DB = -100.0
_ROLLOFF_SHARE = 0.85
_TEMPI_BPM = (30.0, 300.0)


def excerpt_places(
    duration_s: float, *, n_excerpts: int = N_EXCERPTS, excerpt_s: float = EXCERPT_S
) -> list[tuple[int, int]]:
    """Return the first and the end sample of each excerpt of a song.

    Parameters
    ----------
    duration_s, n_excerpts, excerpt_s
        As in `pick_excerpts`.
    """
    n_each = round(excerpt_s * SAMPLE_RATE_HZ)
    n_song = duration_s * SAMPLE_RATE_HZ
    if n_song <= n_excerpts * n_each:
        return [(0, n_excerpts * n_each)]
    middles = (np.arange(n_excerpts) + 0.5) / n_excerpts * n_song
    return [(start, start + n_each) for start in (middles - n_each / 2).astype(int).tolist()]


def pick_excerpts(
    blocks: Iterable[NDArray[np.float32]],
    *,
    duration_s: float,
    n_excerpts: int = N_EXCERPTS,
    excerpt_s: float = EXCERPT_S,
) -> NDArray[np.float32]:
    """Join evenly spaced excerpts of a song; a short song is kept whole.

    Parameters
    ----------
    blocks : iterable of np.ndarray [shape=(any,), dtype=float32]
        The song at SAMPLE_RATE_HZ, in pieces.
    duration_s : float >= 0
        Length of the song according to its file.
    n_excerpts, excerpt_s
        Number and length of the excerpts.

    Returns
    -------
    np.ndarray [shape=(<= n_excerpts * excerpt_s * SAMPLE_RATE_HZ,), dtype=float32]
        The middles of `n_excerpts` equal parts of the song, joined.
    """
    wanted = excerpt_places(duration_s, n_excerpts=n_excerpts, excerpt_s=excerpt_s)
    kept, n_passed = [np.empty(0, np.float32)], 0
    for block in blocks:
        for start, stop in wanted:
            kept.append(block[max(0, start - n_passed) : max(0, stop - n_passed)].copy())
        n_passed += len(block)
    return np.concatenate(kept)


def describe(
    samples: NDArray[np.float32], sample_rate_hz: int = SAMPLE_RATE_HZ
) -> dict[str, float]:
    """Compute all descriptors of a sound.

    Parameters
    ----------
    samples : np.ndarray [shape=(n_samples,), dtype=float32]
        Mono, finite. Sounds shorter than 0.4 s are padded with silence.
    sample_rate_hz : int > 0
        Values are comparable only between sounds of the same rate.

    Returns
    -------
    dict of str to float
        A finite value for each of `catalog.DESCRIPTORS`, in that order.

    Raises
    ------
    SetupError
        If librosa is not installed.
    """
    n_missing = _MIN_FRAMES * _HOP_SAMPLES - len(samples)
    if n_missing > 0:
        samples = np.pad(samples, (0, n_missing))
    measured = _measure(samples, sample_rate_hz)
    values = []
    for family in FAMILIES:
        for part in np.atleast_2d(measured[family.name]):
            values += _statistics(part, family.statistics)
    return dict(zip(DESCRIPTORS, map(float, values), strict=True))


def _statistics(part: NDArray, names: Iterable[str]) -> list[float]:
    of: dict[str, Callable] = {
        "mean": np.mean,
        "std": np.std,
        "delta_std": lambda frames: np.std(load_librosa().feature.delta(frames)),
    }
    return [of[name](part) for name in names] or [part[0]]


def _measure(samples: NDArray[np.float32], rate_hz: int) -> dict[str, NDArray]:
    """Compute each family, with shape (n_parts, n_frames), or as one number."""
    librosa = load_librosa()
    spectrum = np.abs(librosa.stft(samples, n_fft=_FFT_SAMPLES, hop_length=_HOP_SAMPLES))
    power = spectrum**2
    mel_db = librosa.power_to_db(librosa.feature.melspectrogram(S=power, sr=rate_hz))
    chroma = librosa.feature.chroma_stft(S=power, sr=rate_hz, tuning=0.0)
    centroid_hz, bandwidth_hz = _moments_hz(spectrum, rate_hz)
    rms = librosa.feature.rms(y=samples, frame_length=_FFT_SAMPLES, hop_length=_HOP_SAMPLES)
    loudness_db = 20 * np.log10(np.maximum(rms, 10 ** (_FLOOR_DB / 20)))
    onsets = librosa.onset.onset_strength(S=mel_db, sr=rate_hz)
    n_onsets = len(librosa.onset.onset_detect(onset_envelope=onsets, sr=rate_hz))
    tempo_bpm, beat_strength = _beat(onsets, rate_hz)
    return {
        "mfcc": librosa.feature.mfcc(S=mel_db, n_mfcc=20),
        "chroma": chroma,
        "tonnetz": librosa.feature.tonnetz(chroma=chroma),
        "spectral_centroid_hz": centroid_hz,
        "spectral_bandwidth_hz": bandwidth_hz,
        "spectral_rolloff_hz": _rolloff_hz(spectrum, rate_hz),
        "spectral_flatness": librosa.feature.spectral_flatness(S=spectrum),
        "spectral_contrast_db": librosa.feature.spectral_contrast(S=spectrum, sr=rate_hz),
        "zero_crossing_rate": _zero_crossing_rates(samples),
        "loudness_db": loudness_db,
        "loudness_range_db": np.ptp(np.percentile(loudness_db, (10, 95))),
        "onset_strength": onsets,
        "onset_rate_hz": n_onsets * rate_hz / len(samples),
        "tempo_bpm": tempo_bpm,
        "beat_strength": beat_strength,
    }


def _bins_hz(rate_hz: int) -> NDArray[np.floating]:
    return np.fft.rfftfreq(_FFT_SAMPLES, 1 / rate_hz)


def _moments_hz(spectrum: NDArray, rate_hz: int) -> tuple[NDArray, NDArray]:
    """Centroid and bandwidth from two products, ten times as fast as from |f - centroid|."""
    bins_hz = _bins_hz(rate_hz)
    spectrum = spectrum.astype(np.float64)
    total = np.maximum(spectrum.sum(axis=0), np.finfo(np.float32).tiny)
    centroid = bins_hz @ spectrum / total
    variance = bins_hz**2 @ spectrum / total - centroid**2
    return centroid, np.sqrt(np.maximum(variance, 0))


def _rolloff_hz(spectrum: NDArray, rate_hz: int) -> NDArray:
    summed = np.cumsum(spectrum, axis=0)
    n_below = np.count_nonzero(summed < _ROLLOFF_SHARE * summed[-1], axis=0)
    return _bins_hz(rate_hz)[n_below]


def _zero_crossing_rates(samples: NDArray[np.float32]) -> NDArray:
    """Share of sign changes per frame, without overlap."""
    n_frames = len(samples) // _HOP_SAMPLES
    negative = np.signbit(samples[: n_frames * _HOP_SAMPLES])
    changes = np.diff(negative, prepend=negative[0])
    return changes.reshape(n_frames, _HOP_SAMPLES).mean(axis=1)


def _beat(onsets: NDArray, rate_hz: int) -> tuple[float, float]:
    """Tempo (beats per minute), and how far its lag stands out in the onset autocorrelation."""
    librosa = load_librosa()
    tempogram = librosa.feature.tempogram(onset_envelope=onsets, sr=rate_hz)
    tempo_bpm = float(librosa.feature.tempo(tg=tempogram, sr=rate_hz)[0])
    by_lag = tempogram.mean(axis=1)
    frames_per_minute = 60 * rate_hz / _HOP_SAMPLES
    slowest, fastest = (round(frames_per_minute / bpm) for bpm in _TEMPI_BPM)
    others = by_lag[fastest : slowest + 1].mean()
    return tempo_bpm, float(by_lag[round(frames_per_minute / tempo_bpm)] - others)
