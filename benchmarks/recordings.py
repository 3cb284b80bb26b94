"""Simulated long recordings of known and unknown songs, with the truth of what plays when.

dj     songs cross-faded over 4 to 10 s, each played up to 4 % faster or slower, with its pitch
radio  excerpts of songs of 20 to 120 s, separated by noise, a voice, or jingles of unknown songs
film   music 5 to 10 dB above the mean noise of its scene, and long passages of noise only

In each, every fifth song is unknown, one song occurs twice, and two known songs overlap once.
Fades are quarter sines, so that cross-fades keep their power; a song counts as audible from where
its amplitude passes one half, a third into the fade.
"""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import soundfile
import soxr
from scipy import signal

TRUTH = ["recording", "song", "start_s", "end_s", "song_start_s", "speed"]
MUSIC_LEVEL, NOISE_LEVEL = 0.1, 0.03  # RMS
MIN_LEFT_S = 30.0  # no sound starts later than this before the end


def make_recordings(
    folder: Path,
    *,
    songs: Path,
    known: list[str],
    unknown: list[str],
    noise: Path,
    hours: float,
    n_recordings: int,
    seed: int,
) -> list[dict]:
    """Write FLAC files, and truth.csv next to their folder; return the truth with unknown songs."""
    folder.mkdir(parents=True)
    truth = []
    for i, (kind, style) in zip(range(n_recordings), itertools.cycle(STYLES.items())):
        make, rate_hz, speeds = style
        rng = np.random.default_rng([seed, i])
        mix = Mix(f"{kind}_{i}.flac", hours * 3600, rate_hz, songs=songs, speeds=speeds, rng=rng)
        make(mix, Deck(known, unknown, rng), sorted(noise.glob("*.flac")), rng)
        peak = max(mix.samples.max(), -mix.samples.min())
        mix.samples *= 0.9 / peak
        soundfile.write(folder / mix.name, mix.samples, rate_hz, "PCM_16")
        truth += mix.truth
    with open(folder.parent / "truth.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, TRUTH)
        writer.writeheader()
        writer.writerows(truth)
    return truth


class Deck:
    """Draws songs: a song repeats only after all others have been drawn, except for one."""

    def __init__(self, known: list[str], unknown: list[str], rng: np.random.Generator):
        self._known = itertools.cycle(rng.permutation(known).tolist())
        self._unknown = itertools.cycle(rng.permutation(unknown).tolist())
        self._n_dealt = 0
        self._again: str | None = None
        self._pair_is_due = True

    def draw(self, done: float) -> str:
        """Draw a song for a point of the recording (0..1)."""
        self._n_dealt += 1
        if self._again and done > 0.6:
            song, self._again = self._again, ""
        elif self._n_dealt % 5 == 0:
            song = self.unknown()
        else:
            song = self.known()
            self._again = song if self._again is None else self._again
        return song

    def known(self) -> str:
        return next(self._known)

    def unknown(self) -> str:
        return next(self._unknown)

    def pair_is_due(self, done: float) -> bool:
        """Whether two songs should overlap now: once, after a third of the recording."""
        due = self._pair_is_due and done > 1 / 3
        self._pair_is_due &= not due
        return due


class Mix:
    """A recording under construction."""

    def __init__(self, name, length_s, rate_hz, *, songs, speeds, rng):
        self.name, self.length_s, self.rate_hz = name, length_s, rate_hz
        self.samples = np.zeros(round(length_s * rate_hz), np.float32)
        self.truth: list[dict] = []
        self._songs, self._speeds, self._rng = songs, speeds, rng

    def play(self, song: str, at_s: float, length_s: float, *, fades_s, level=MUSIC_LEVEL) -> float:
        """Mix in an excerpt of a song; return when it ends."""
        speed = self._rng.uniform(*self._speeds)
        x, from_hz = read_mono(self._songs / song)
        x, song_start_s = _passage(x, from_hz, length_s * speed, self._rng)
        x = soxr.resample(x, from_hz * speed, self.rate_hz)
        end_s = self.add(x * (level / rms(x)), at_s, fades_s)
        late_s, early_s = fades_s[0] / 3, fades_s[1] / 3
        row = [self.name, song, at_s + late_s, end_s - early_s, song_start_s + late_s * speed]
        self.truth.append(dict(zip(TRUTH, [*row, speed], strict=True)))
        return end_s

    def play_pair(self, deck: Deck, at_s: float, *, fades_s, level=MUSIC_LEVEL) -> float:
        """Mix in two known songs that overlap for about 30 s; return when both end."""
        how = {"fades_s": fades_s, "level": level}
        middle_s = self.play(deck.known(), at_s, self._rng.uniform(70, 100), **how)
        start_s = max(at_s, middle_s - self._rng.uniform(32, 40))
        return max(middle_s, self.play(deck.known(), start_s, self._rng.uniform(70, 100), **how))

    def add(self, x: np.ndarray, at_s: float, fades_s: tuple[float, float]) -> float:
        """Mix in a sound, truncated at the end of the recording; return when it ends."""
        start = round(at_s * self.rate_hz)
        x = x[: len(self.samples) - start].copy()
        n_in, n_out = (min(round(s * self.rate_hz), len(x)) for s in fades_s)
        x[:n_in] *= np.sin(np.linspace(0, np.pi / 2, n_in))
        x[len(x) - n_out :] *= np.cos(np.linspace(0, np.pi / 2, n_out))
        self.samples[start : start + len(x)] += x
        return at_s + len(x) / self.rate_hz


def dj_set(mix: Mix, deck: Deck, noises: list[Path], rng: np.random.Generator) -> None:
    at_s, fade_s = 0.0, 4.0
    while at_s < mix.length_s - MIN_LEFT_S:
        fades_s = fade_s, rng.uniform(4, 10)
        if deck.pair_is_due(at_s / mix.length_s):
            fades_s = fade_s, fade_s
            end_s = mix.play_pair(deck, at_s, fades_s=fades_s)
        else:
            song = deck.draw(at_s / mix.length_s)
            end_s = mix.play(song, at_s, rng.uniform(60, 180), fades_s=fades_s)
        fade_s = fades_s[1]
        at_s = end_s - fade_s


def radio_hour(mix: Mix, deck: Deck, noises: list[Path], rng: np.random.Generator) -> None:
    at_s = 0.0
    while at_s < mix.length_s - MIN_LEFT_S:
        fades_s = tuple(rng.uniform(0.3, 3.0, 2))
        if deck.pair_is_due(at_s / mix.length_s):
            at_s = mix.play_pair(deck, at_s, fades_s=fades_s)
        else:
            song = deck.draw(at_s / mix.length_s)
            at_s = mix.play(song, at_s, rng.uniform(20, 120), fades_s=fades_s)
        length_s, between = rng.uniform(5, 60), rng.integers(3)
        n_frames = round(length_s * mix.rate_hz)
        if at_s > mix.length_s - 1:
            break
        if between == 0:
            at_s = mix.play(deck.unknown(), at_s, min(length_s, 15.0), fades_s=(0.3, 0.3))
        elif between == 1:
            at_s = mix.add(NOISE_LEVEL * noise(n_frames, mix.rate_hz, noises, rng), at_s, (1, 1))
        else:
            at_s = mix.add(MUSIC_LEVEL * voice(n_frames, mix.rate_hz, rng), at_s, (0.1, 0.1))


def film(mix: Mix, deck: Deck, noises: list[Path], rng: np.random.Generator) -> None:
    at_s = 0.0
    while at_s < mix.length_s - 1:
        scene = noise(round(rng.uniform(60, 300) * mix.rate_hz), mix.rate_hz, noises, rng)
        at_s = mix.add(NOISE_LEVEL * scene, at_s, (0.1, 0.1))
    at_s = rng.uniform(10, 60)
    while at_s < mix.length_s - MIN_LEFT_S:
        how = {
            "fades_s": tuple(rng.uniform(1, 5, 2)),
            "level": NOISE_LEVEL * 10 ** (rng.uniform(5, 10) / 20),
        }
        if deck.pair_is_due(at_s / mix.length_s):
            at_s = mix.play_pair(deck, at_s, **how)
        else:
            at_s = mix.play(deck.draw(at_s / mix.length_s), at_s, rng.uniform(20, 150), **how)
        at_s += rng.uniform(20, 240)


STYLES = {
    "dj": (dj_set, 44_100, (0.96, 1.04)),
    "radio": (radio_hour, 22_050, (1.0, 1.0)),
    "film": (film, 22_050, (1.0, 1.0)),
}


def noise(n_frames: int, rate_hz: int, paths: list[Path], rng: np.random.Generator) -> np.ndarray:
    """Repeat one of the noises, at an RMS of 1."""
    x, from_hz = read_mono(paths[rng.integers(len(paths))])
    x = soxr.resample(x, from_hz, rate_hz)
    return np.resize(np.roll(x / rms(x), rng.integers(len(x))), n_frames)


def voice(n_frames: int, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    """Synthesise a voice-like sound: a gliding buzz with another vowel for each syllable."""
    x = np.zeros(n_frames, np.float32)
    voice_hz, at = rng.uniform(90, 220), 0
    while at < n_frames:
        n = round(rng.uniform(0.1, 0.3) * rate_hz)
        first, last = rng.normal(0, 0.2, 2)
        pitch_hz = voice_hz * 2 ** np.linspace(first, last, n)
        buzz = signal.sawtooth(2 * np.pi * np.cumsum(pitch_hz) / rate_hz)
        vowel_hz = rng.uniform([250, 900, 2300], [800, 2200, 3300])
        syllable = sum(signal.lfilter(*signal.iirpeak(f, 8, rate_hz), buzz) for f in vowel_hz)
        x[at : at + n] = (syllable * np.hanning(n))[: n_frames - at]
        pause_s = rng.uniform(0.3, 0.8) if rng.random() < 0.1 else rng.uniform(0.0, 0.08)
        at += n + round(pause_s * rate_hz)
    return x / rms(x)


def read_mono(path: Path) -> tuple[np.ndarray, int]:
    x, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return x.mean(axis=1), rate_hz


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) + 1e-9


def _passage(
    x: np.ndarray, rate_hz: int, length_s: float, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Draw an excerpt that is not silent at its start or end, so that the truth is audible."""
    n = min(round(length_s * rate_hz), len(x) * 4 // 5)
    for _ in range(30):
        start = int(rng.integers(len(x) - n))
        piece = x[start : start + n]
        if min(rms(piece[:rate_hz]), rms(piece[-rate_hz:])) > 0.2 * rms(piece):
            break
    return piece, start / rate_hz
