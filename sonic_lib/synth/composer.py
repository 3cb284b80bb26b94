"""Compose songs in eight styles from a seed, so that the demo and the tests need no recordings.

Conventions
-----------
Times in s, tempo in beats per minute, pitch in semitones with 60 at middle C. A seed and a style
give the same song on every run. A song has its own key (between the keys of a piano), scale, tempo,
chords, melody and instrument timbres. Its sections return with variations and slightly uneven
timing, so that no passage occurs twice.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.signal import oaconvolve

from sonic_lib.synth.styles import STYLES, Layer, Style
from sonic_lib.synth.voices import VOICES

_FORM = "ABACBDAC"  # one letter is one phrase
_PHRASE_BARS = 4
_CHORD_DEGREES = (0, 1, 2, 3, 4, 5, -1, -2)
_MELODY_STEPS = (-2, -1, -1, 0, 1, 1, 2, 4, -3)
_VARIED_SHARE = 0.35  # of the melody, when a section comes back
_UNEVENNESS_S = 0.006
_LOUDNESS = 0.2  # root mean square before the limiter


def synth_song(
    seed: int, *, style: str, duration_s: float, sample_rate_hz: int = 22_050
) -> np.ndarray:
    """Compose and play one song.

    Parameters
    ----------
    seed : int >= 0
        Distinguishes it from the other songs of its style.
    style : str
        A key of `STYLES`.
    duration_s : float > 0
        Its duration; the last second fades out.
    sample_rate_hz : int > 0
        Rate of the samples.

    Returns
    -------
    song : np.ndarray [shape=(n_frames, 2), dtype=float32]
        Stereo samples within -1 and 1.
    """
    rng = np.random.default_rng([seed, zlib.crc32(style.encode())])
    plan = STYLES[style]
    n_frames = round(duration_s * sample_rate_hz)
    colors = rng.random(len(plan.layers))
    parts = np.zeros((len(plan.layers), n_frames), np.float32)
    played: dict[tuple, np.ndarray] = {}
    for note in _compose(plan, duration_s, rng):
        key = (note.layer, note.pitch)
        if key not in played:
            layer = plan.layers[note.layer]
            played[key] = _play(layer, note, colors[note.layer], sample_rate_hz, rng)
        start = max(0, round(note.start_s * sample_rate_hz))
        wave = played[key][: max(0, n_frames - start)]
        parts[note.layer, start : start + len(wave)] += np.float32(note.level) * wave
    return _mix(parts, plan, sample_rate_hz, rng)


@dataclass(frozen=True)
class _Note:
    layer: int
    start_s: float
    pitch: float
    held_s: float
    level: float


def _compose(plan: Style, duration_s: float, rng: np.random.Generator) -> Iterator[_Note]:
    key = 60 + rng.uniform(-6, 6)
    scale = plan.scales[rng.integers(len(plan.scales))]
    beat_s = 60 / rng.uniform(*plan.bpm)
    bar_s = beat_s * plan.beats_per_bar
    sections: dict[str, tuple[np.ndarray, list[np.ndarray]]] = {}

    for bar in range(int(duration_s / bar_s) + 1):
        phrase, bar_of_phrase = divmod(bar, _PHRASE_BARS)
        if bar_of_phrase == 0:
            letter = _FORM[phrase % len(_FORM)]
            chords, melodies = sections[letter] = _section(plan, sections.get(letter), rng)
            resting = rng.integers(1, 2 * len(plan.layers))  # beyond the last layer: none rests
            arpeggio = rng.permutation((0, 2, 4, 7))
        chord = chords[bar_of_phrase]
        for i, layer in enumerate(plan.layers):
            if i == resting:
                continue
            step_s = bar_s / len(layer.pattern)
            for step, mark in enumerate(layer.pattern):
                if mark == "." or (mark == "o" and rng.random() < 0.5):
                    continue
                degrees = {
                    "chord": (chord, chord + 2, chord + 4),
                    "arpeggio": (chord + arpeggio[step % len(arpeggio)],),
                    "melody": (melodies[i][bar_of_phrase, step],),
                    "root": (chord,),
                    "drum": (0,),
                }[layer.role]
                start_s = bar * bar_s + step * step_s + rng.normal(0, _UNEVENNESS_S)
                level = layer.level * rng.uniform(0.6, 1.0) / len(degrees) ** 0.5
                for degree in degrees:
                    octave, tone = divmod(int(degree), len(scale))
                    pitch = key + 12 * (layer.octave + octave) + scale[tone]
                    yield _Note(i, start_s, pitch, layer.held_beats * beat_s, level)


def _section(
    plan: Style, earlier: tuple[np.ndarray, list[np.ndarray]] | None, rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Compose a section's chords and a melody for each layer, or vary the earlier ones."""
    chords = rng.choice(_CHORD_DEGREES, _PHRASE_BARS)
    chords[0] = rng.choice((0, 0, 3, 5))
    melodies = []
    for layer in plan.layers:
        shape = (_PHRASE_BARS, len(layer.pattern))
        walk = rng.integers(0, 7) + np.cumsum(rng.choice(_MELODY_STEPS, shape)).reshape(shape)
        melodies.append(8 - np.abs(walk % 20 - 10))  # turns back at -2 and at 8
    if earlier is None:
        return chords, melodies
    varied = [
        np.where(rng.random(new.shape) < _VARIED_SHARE, new, old)
        for new, old in zip(melodies, earlier[1], strict=True)
    ]
    return np.where(rng.random(_PHRASE_BARS) < _VARIED_SHARE, chords, earlier[0]), varied


def _play(
    layer: Layer, note: _Note, color: float, sample_rate_hz: int, rng: np.random.Generator
) -> np.ndarray:
    voice = VOICES[layer.voice]
    t_s = np.arange(round((note.held_s + voice.tail_s) * sample_rate_hz)) / sample_rate_hz
    f_hz = 440 * 2 ** ((note.pitch - 69) / 12)
    return voice.render(f_hz, t_s, note.held_s, color, rng).astype(np.float32)


def _mix(
    parts: np.ndarray, plan: Style, sample_rate_hz: int, rng: np.random.Generator
) -> np.ndarray:
    angles = np.pi / 4 + rng.uniform(-0.4, 0.4, len(parts))  # constant power, mildly off centre
    dry = np.stack([np.cos(angles), np.sin(angles)]).astype(np.float32) @ parts

    t_s = np.arange(round(plan.reverb_s * sample_rate_hz)) / sample_rate_hz
    room = rng.standard_normal((2, len(t_s))) * np.exp(-6.9 * t_s / plan.reverb_s)
    room *= 0.4 / np.linalg.norm(room, axis=1, keepdims=True)
    mix = dry + oaconvolve(dry, room.astype(np.float32), axes=1)[:, : dry.shape[1]]

    mix *= _LOUDNESS / np.sqrt(np.mean(mix**2))
    n_fade = min(sample_rate_hz, mix.shape[1])
    mix[:, mix.shape[1] - n_fade :] *= np.linspace(1, 0, n_fade, dtype=np.float32)
    return np.ascontiguousarray(np.tanh(mix).T)
