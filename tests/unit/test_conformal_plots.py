"""Figures of conformal prediction show the given numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sonic_lib.report.figures.conformal import coverages, genre_coverages, set_sizes

LEVELS = pd.DataFrame(
    {
        "confidence": [0.95, 0.8],  # unsorted
        "n": [200, 200],
        "n_covered": [188, 165],
        "mean_size": [5.5, 2.25],
        "share_single": [0.1, 0.4],
    }
)


def test_sizes_grow_with_confidence():
    axes, right = set_sizes(LEVELS, n_genres=22, title="Sets").axes
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[80, 2.25], [95, 5.5]])
    np.testing.assert_allclose(right.lines[0].get_xydata(), [[80, 40], [95, 10]])
    assert axes.get_title() == "Sets"


def test_coverage_is_within_its_band():
    (axes,) = coverages(LEVELS, title="Coverage").axes
    np.testing.assert_allclose(axes.lines[1].get_xydata(), [[80, 82.5], [95, 94]])
    band = axes.collections[0].get_paths()[0].get_extents()
    assert 70 < band.y0 < 80
    assert 95 < band.y1 < 100


def test_genres_are_labelled_with_their_songs(tmp_path):
    genres = pd.DataFrame(
        {"genre": ["rock", "$lo-fi$"], "n": [90, 10], "n_covered": [80, 10], "mean_size": [3, 2]}
    )
    figure = genre_coverages(genres, confidence=0.9, title="Genres")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["$lo-fi$ (10)", "rock (90)"]
    assert axes.lines[0].get_xdata() == pytest.approx([100, 100 * 80 / 90])
    figure.savefig(tmp_path / "genres.png")
    assert (tmp_path / "genres.png").stat().st_size > 5000
