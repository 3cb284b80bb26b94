"""The instruments of the synthesiser; each renders single notes.

Conventions
-----------
A voice is called with the note's frequency (Hz), the times since its start (s, from 0 to the end
of its tail), how long it is held (s), a `color` from 0 to 1 that varies the instrument's timbre
from song to song, and a random generator. It returns mono float samples of about unit level, one
per time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RenderNote = Callable[[float, np.ndarray, float, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Voice:
    """One instrument.

    Attributes
    ----------
    render : callable
        See the conventions of this module.
    tail_s : float
        How long a note sounds after its release.
    """

    render: RenderNote
    tail_s: float


def _struck(t_s: np.ndarray, *, decay_s: float, attack_s: float = 0.003) -> np.ndarray:
    return (1 - np.exp(-t_s / attack_s)) * np.exp(-t_s / decay_s)


def _held(t_s: np.ndarray, held_s: float, *, attack_s: float, release_s: float) -> np.ndarray:
    return np.clip(t_s / attack_s, 0, 1) * np.clip((held_s - t_s) / release_s + 1, 0, 1)


def _buzz(phase: np.ndarray, brightness: np.ndarray | float, *, odd: bool = False) -> np.ndarray:
    """Sum sin(k * phase) * brightness**k over all k > 0, or all odd k, in closed form."""
    z = brightness * np.exp(1j * phase)
    return np.imag(z / (1 - z * z) if odd else z / (1 - z))


def _pad(f_hz, t_s, held_s, color, rng):
    detuned_hz = f_hz * (1 + 0.004 * np.array([-1, 0, 1]) * (0.5 + color))
    phases = 2 * np.pi * detuned_hz[:, None] * t_s + rng.uniform(0, 2 * np.pi, (3, 1))
    tone = _buzz(phases, 0.35 + 0.3 * color).sum(axis=0) / 2
    return tone * _held(t_s, held_s, attack_s=0.5, release_s=1.2)


def _square(f_hz, t_s, held_s, color, rng):
    vibrato = 0.15 * np.sin(2 * np.pi * 6 * t_s) * np.clip(t_s - 0.1, 0, 1)
    tone = _buzz(2 * np.pi * f_hz * t_s + vibrato, 0.7 + 0.2 * color, odd=True)
    return tone * _held(t_s, held_s, attack_s=0.004, release_s=0.04)


def _bass(f_hz, t_s, held_s, color, rng):
    tone = _buzz(2 * np.pi * f_hz * t_s, (0.45 + 0.35 * color) * np.exp(-2 * t_s))
    return tone * _held(t_s, held_s, attack_s=0.005, release_s=0.06) * np.exp(-t_s)


def _brass(f_hz, t_s, held_s, color, rng):
    envelope = _held(t_s, held_s, attack_s=0.06, release_s=0.1)
    vibrato = 0.1 * np.sin(2 * np.pi * 5 * t_s)
    return _buzz(2 * np.pi * f_hz * t_s + vibrato, (0.4 + 0.3 * color) * envelope) * envelope


def _piano(f_hz, t_s, held_s, color, rng):
    index = (1 + 2 * color) * np.exp(-4 * t_s)
    phase = 2 * np.pi * f_hz * t_s
    tone = np.sin(phase + index * np.sin(phase)) + 0.3 * np.sin(phase + index * np.sin(7 * phase))
    return tone * _struck(t_s, decay_s=0.8) * _held(t_s, held_s, attack_s=1e-3, release_s=0.25)


def _bell(f_hz, t_s, held_s, color, rng):
    ratios = np.array([1.0, 2.0 + 0.1 * color, 2.76, 3.8 + 1.2 * color, 5.4])
    decays_s = np.array([1.2, 0.7, 0.6, 0.3, 0.2])
    levels = np.array([1.0, 0.5, 0.6, 0.35, 0.25])
    partials = np.sin(2 * np.pi * f_hz * ratios[:, None] * t_s) * np.exp(-t_s / decays_s[:, None])
    return levels @ partials * (1 - np.exp(-t_s / 0.002))


def _pluck(f_hz, t_s, held_s, color, rng):
    # Karplus-Strong, one period at a time: a burst of noise circulates and loses its treble.
    rate_hz = 1 / (t_s[1] - t_s[0])
    n_period = max(2, round(rate_hz / f_hz))
    loss = 0.5 * 0.01 ** (1 / (f_hz * (1.5 + color)))  # down to 1 % in 1.5 to 2.5 s
    period = rng.uniform(-1, 1, n_period)
    string = np.empty((len(t_s) // n_period + 1, n_period))
    for i in range(len(string)):
        string[i] = period
        period = loss * (period + np.roll(period, 1))
    return 1.5 * string.ravel()[: len(t_s)] * _held(t_s, held_s, attack_s=1e-3, release_s=0.2)


def _kick(f_hz, t_s, held_s, color, rng):
    phase = 2 * np.pi * (45 + 20 * color) * (t_s - 0.12 * np.exp(-t_s / (0.02 + 0.02 * color)))
    return 1.5 * np.sin(phase) * _struck(t_s, decay_s=0.12)


def _snare(f_hz, t_s, held_s, color, rng):
    tone = np.sin(2 * np.pi * (160 + 80 * color) * t_s) * np.exp(-t_s / 0.05)
    return (tone + 0.6 * rng.standard_normal(len(t_s))) * _struck(t_s, decay_s=0.06 + 0.06 * color)


def _hat(f_hz, t_s, held_s, color, rng):
    hiss = np.diff(rng.standard_normal(len(t_s)), prepend=0.0)
    return 0.4 * hiss * _struck(t_s, decay_s=0.02 + 0.06 * color, attack_s=0.001)


VOICES = {
    "pad": Voice(_pad, tail_s=1.2),
    "square": Voice(_square, tail_s=0.04),
    "bass": Voice(_bass, tail_s=0.06),
    "brass": Voice(_brass, tail_s=0.1),
    "piano": Voice(_piano, tail_s=0.25),
    "bell": Voice(_bell, tail_s=1.5),
    "pluck": Voice(_pluck, tail_s=0.2),
    "kick": Voice(_kick, tail_s=0.4),
    "snare": Voice(_snare, tail_s=0.3),
    "hat": Voice(_hat, tail_s=0.2),
}
