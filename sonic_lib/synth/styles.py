"""The eight styles of the synthesiser, as data."""

from __future__ import annotations

from dataclasses import dataclass

_MAJOR = (0, 2, 4, 5, 7, 9, 11)
_MINOR = (0, 2, 3, 5, 7, 8, 10)
_DORIAN = (0, 2, 3, 5, 7, 9, 10)
_LYDIAN = (0, 2, 4, 6, 7, 9, 11)
_PENTATONIC = (0, 2, 4, 7, 9)
_PELOG = (0, 1, 3, 7, 8)


@dataclass(frozen=True)
class Layer:
    """One instrument's part.

    Attributes
    ----------
    voice : str
        Key of `VOICES`.
    role : str
        ``"chord"``, ``"arpeggio"``, ``"melody"``, ``"root"`` or ``"drum"``.
    octave : int
        Octaves above the song's key.
    pattern : str
        One bar in equal steps: x plays, o plays half of the time, . rests.
    held_beats : float
        How long a note is held.
    level : float
        Loudness in the mix.
    """

    voice: str
    role: str
    octave: int
    pattern: str
    held_beats: float
    level: float


@dataclass(frozen=True)
class Style:
    """Properties shared by the songs of a style.

    Attributes
    ----------
    bpm : tuple of float
        Slowest and fastest tempo, in beats per minute.
    beats_per_bar : int
        Beats in a bar.
    scales : tuple of tuple of int
        Scales to choose from, in semitones above the key.
    reverb_s : float
        Time in which an echo falls by 60 dB.
    layers : tuple of Layer
        The instruments' parts; the first one never rests.
    """

    bpm: tuple[float, float]
    beats_per_bar: int
    scales: tuple[tuple[int, ...], ...]
    reverb_s: float
    layers: tuple[Layer, ...]


STYLES = {
    "ambient": Style(
        (54, 76),
        4,
        (_MAJOR, _LYDIAN),
        2.5,
        (
            Layer("pad", "chord", 0, "x.o.", 2.5, 0.5),
            Layer("pad", "root", -1, "x...", 4.0, 0.6),
            Layer("bell", "melody", 1, "o.oo.o.o", 1.0, 0.25),
            Layer("pad", "melody", 1, "x.oo", 1.5, 0.4),
        ),
    ),
    "chiptune": Style(
        (120, 165),
        4,
        (_MAJOR, _MINOR),
        0.1,
        (
            Layer("square", "arpeggio", 0, "xxxxxxxxxxxxxxxx", 0.2, 0.3),
            Layer("square", "melody", 1, "x.xox.oox.xoxo.o", 0.4, 0.4),
            Layer("square", "root", -1, "x.x.x.x.x.x.x.x.", 0.3, 0.4),
            Layer("hat", "drum", 0, "..x...x...x..ox.", 0.1, 0.5),
        ),
    ),
    "techno": Style(
        (122, 140),
        4,
        (_MINOR, _DORIAN),
        0.4,
        (
            Layer("kick", "drum", 0, "x...x...x...x..o", 0.2, 0.9),
            Layer("hat", "drum", 0, "..x...x...x.o.xo", 0.1, 0.4),
            Layer("snare", "drum", 0, "....x.......x...", 0.1, 0.4),
            Layer("bass", "root", -2, "o.xo..xo.oxo..xx", 0.3, 0.7),
            Layer("square", "melody", 0, "xo.oxo.ox.oo.xoo", 0.2, 0.25),
            Layer("pad", "chord", 0, "x..o....", 1.5, 0.3),
        ),
    ),
    "folk": Style(
        (84, 120),
        4,
        (_MAJOR, _PENTATONIC, _DORIAN),
        0.5,
        (
            Layer("pluck", "arpeggio", 0, "xoxxxoxx", 1.0, 0.6),
            Layer("pluck", "root", -1, "x...x...", 1.5, 0.8),
            Layer("pluck", "melody", 1, "x.oxo.xo", 1.2, 0.8),
            Layer("pluck", "chord", 0, "..x...xo", 0.8, 0.3),
        ),
    ),
    "waltz": Style(
        (92, 160),
        3,
        (_MAJOR, _MINOR),
        0.9,
        (
            Layer("piano", "root", -1, "x.....", 1.5, 0.6),
            Layer("piano", "chord", 0, "..x.x.", 0.7, 0.3),
            Layer("piano", "melody", 1, "xoxoxx", 1.2, 0.6),
            Layer("piano", "melody", 0, "o..o.o", 1.0, 0.3),
        ),
    ),
    "breakbeat": Style(
        (160, 178),
        4,
        (_MINOR, _DORIAN),
        0.3,
        (
            Layer("kick", "drum", 0, "x.o.......x.o..o", 0.2, 0.9),
            Layer("snare", "drum", 0, "....x..o.o..x.oo", 0.2, 0.4),
            Layer("hat", "drum", 0, "x.xox.xox.xoxox.", 0.1, 0.2),
            Layer("bass", "melody", -2, "x..o..o.x...o.o.", 0.8, 0.8),
            Layer("pad", "chord", 0, "x...", 3.5, 0.35),
            Layer("bell", "melody", 1, "o..o.o..", 0.5, 0.35),
        ),
    ),
    "march": Style(
        (100, 124),
        2,
        (_MAJOR, _MINOR),
        0.8,
        (
            Layer("brass", "melody", 0, "x.xoxoxo", 0.45, 0.6),
            Layer("brass", "root", -2, "x...x...", 0.5, 0.6),
            Layer("brass", "chord", -1, "..x...x.", 0.25, 0.3),
            Layer("snare", "drum", 0, "x.xox.xx", 0.1, 0.15),
            Layer("kick", "drum", 0, "x...o...", 0.1, 0.6),
        ),
    ),
    "gamelan": Style(
        (66, 104),
        4,
        (_PELOG, _PENTATONIC),
        1.5,
        (
            Layer("bell", "melody", 0, "x.xoxox.xoxox.xo", 0.5, 0.6),
            Layer("bell", "arpeggio", 1, "oxoxoxoxoxoxoxox", 0.25, 0.35),
            Layer("bell", "root", -2, "x.......", 3.0, 0.9),
            Layer("bell", "root", -1, "..x...o.", 1.5, 0.5),
        ),
    ),
}
