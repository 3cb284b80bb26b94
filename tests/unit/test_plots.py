"""Plots: what is drawn, not how it looks."""

from __future__ import annotations

import io
import struct

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection, PolyCollection

from sonic_lib.fingerprint.landmarks import FRAME, find_landmarks
from sonic_lib.fingerprint.params import FRAME_S, SAMPLE_RATE_HZ, FingerprintParams
from sonic_lib.report.figures.identification import (
    calibration_curve,
    constellation,
    explanation,
    robustness_bars,
)

PARAMS = FingerprintParams()
NONE = (np.zeros(0), np.zeros(0, int))


def beeps(rng: np.random.Generator, duration_s: float) -> np.ndarray:
    """Tones of 0.2 s at random frequencies, over some noise."""
    n = round(0.2 * SAMPLE_RATE_HZ)
    t_s = np.arange(n) / SAMPLE_RATE_HZ
    tones = [
        np.hanning(n) * np.sin(2 * np.pi * f_hz * t_s)
        for f_hz in rng.uniform(500, 5000, round(duration_s / 0.2))
    ]
    x = np.concatenate(tones)
    return (0.5 * x + 0.01 * rng.standard_normal(len(x))).astype(np.float32)


def png_size(figure) -> tuple[int, int]:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return struct.unpack(">II", file.getvalue()[16:24])


def test_constellation_holds_every_landmark_of_the_excerpt(rng):
    samples = beeps(rng, 12.0)
    figure = constellation(samples, params=PARAMS, start_s=2.0, length_s=8.0, title="Song")
    mesh, *dots = sorted(
        figure.axes[0].collections, key=lambda c: not isinstance(c, PolyCollection)
    )
    drawn_s = np.sort(np.concatenate([c.get_offsets()[:, 0] for c in dots]))
    found_s = find_landmarks(samples, params=PARAMS)[:, FRAME] * FRAME_S
    assert len(dots) == len(PARAMS.densities_per_s)
    # The centre of a frame is 32 ms after its start.
    np.testing.assert_allclose(drawn_s, found_s[(found_s >= 1.968) & (found_s <= 9.968)] + 0.032)
    sparse = {tuple(point) for point in dots[0].get_offsets()}
    corners = [tuple(v) for path in mesh.get_paths() for v in path.vertices]
    assert corners
    assert set(corners) <= sparse
    assert figure.axes[0].get_xlim() == (2.0, 10.0)
    assert figure.axes[0].get_ylim() == (PARAMS.min_hz / 1e3, PARAMS.max_hz / 1e3)


def test_excerpt_without_landmarks_can_be_drawn():
    silence = np.zeros(3 * SAMPLE_RATE_HZ, np.float32)
    figure = constellation(silence, params=PARAMS, start_s=0.0, length_s=3.0, title="Silence")
    assert png_size(figure)[0] == 1200


def test_explanation_has_a_row_per_song_with_its_line():
    answers = pd.DataFrame(
        {
            "rank": [1, 2],
            "song_id": [7, 8],
            "title": ["The answer", "$other$"],
            "clip_start_s": 0.0,
            "clip_end_s": 5.0,
            "offset_s": [40.0, 10.0],
            "speed": [1.1, 1.0],
        }
    )
    clip_s = np.linspace(0, 5, 20)
    hits = pd.DataFrame({"song_id": 7, "clip_s": clip_s, "song_s": 40 + 1.1 * clip_s})
    figure = explanation(hits, answers, title="clip.wav")
    places, offsets = figure.axes[0], figure.axes[1]
    assert len(figure.axes) == 4
    np.testing.assert_allclose(places.lines[0].get_xydata(), [[0, 40], [5, 45.5]])
    assert len(places.collections[0].get_offsets()) == 20
    (votes,) = (c for c in offsets.collections if isinstance(c, LineCollection))
    heights = [segment[1][1] for segment in votes.get_segments()]
    assert max(heights) == 20  # the drift is removed
    assert png_size(figure)[0] == 1200


def test_robustness_has_a_bar_for_every_condition_and_length():
    table = pd.DataFrame(
        {
            "condition": ["clean", "clean", "noise"],
            "length_s": [5.0, 10.0, 5.0],
            "top1": [100.0, 90.0, 80.0],
            "accepted": [95.0, 85.0, 40.0],
        }
    )
    axes = robustness_bars(table, title="Found").axes[0]
    assert sorted(bar.get_width() for bar in axes.patches) == [0, 0, 40, 80, 85, 90, 95, 100]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["noise", "clean"]


def test_calibration_shows_zero_although_rates_are_logarithmic():
    curve = pd.DataFrame(
        {"asked": [0.1, 0.001], "observed": [0.08, 0.0], "low": [0.05, 0], "high": [0.1, 0.01]}
    ).assign(n=100)
    figure = calibration_curve(curve, title="False accepts")
    _, observed = figure.axes[0].lines
    assert observed.get_ydata().tolist() == [0.08, 0.0]
    assert figure.axes[0].get_ylim()[0] == 0
    assert png_size(figure)[0] > 500
    legend, axes = figure.axes[0].get_legend(), figure.axes[0]
    assert not legend.get_window_extent().overlaps(axes.get_window_extent().shrunk(0.99, 0.99))
