"""Figures of models show the given numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sonic_lib.report.figures.models import (
    class_bars,
    confusion_heatmap,
    importance_bars,
    residual_map,
)


def test_most_frequent_genres_come_first_and_rows_are_shares():
    matrix = np.array([[1, 1, 0], [10, 30, 0], [0, 0, 0]])
    figure = confusion_heatmap(matrix, classes=["few", "many", "none"], title="Confusion")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["many", "few", "none"]
    shown = axes.images[0].get_array()
    np.testing.assert_allclose(shown, [[75, 25, 0], [50, 50, 0], [0, 0, 0]])


def test_only_the_most_frequent_genres_are_drawn(tmp_path):
    matrix = np.diag(np.arange(1, 101))
    figure = confusion_heatmap(
        matrix, classes=[f"$genre {i}" for i in range(100)], title="Many", n_shown=30
    )
    axes = figure.axes[0]
    assert len(axes.get_yticklabels()) == 30
    assert axes.get_yticklabels()[0].get_text() == "$genre 99"
    figure.savefig(tmp_path / "many.png")
    assert (tmp_path / "many.png").stat().st_size > 5000


def test_class_bars_have_all_three_scores():
    scores = pd.DataFrame(
        {
            "label": ["rock", "jazz"],
            "support": [9, 3],
            "precision": [0.5, 0.25],
            "recall": [0.75, 1.0],
            "f1": [0.6, 0.4],
        }
    )
    (axes,) = class_bars(scores, title="Scores").axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["jazz (3)", "rock (9)"]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([40, 60])
    assert [list(line.get_xdata()) for line in axes.lines] == [[25, 50], [100, 75]]


def test_residuals_are_drawn_in_their_bins():
    counts = pd.DataFrame({"predicted_bin": [0, 3], "target_bin": [1, 3], "n": [1, 100]})
    figure = residual_map(counts, low=0, high=100, n_bins=4, unit="popularity", title="Errors")
    shown = figure.axes[0].images[0].get_array()
    assert shown[1, 0] == 0
    assert shown[3, 3] == 2  # a hundred, on a log10 scale
    assert np.isfinite(shown).sum() == 2
    assert figure.axes[0].get_xlabel() == "Predicted popularity"


def test_importances_are_sorted_from_the_top():
    pairs = [(f"feature {i}", 1 / (i + 2)) for i in range(40)]
    (axes,) = importance_bars(pairs, title="Importances").axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert (names[-1], names[0], len(names)) == ("feature 0", "feature 24", 25)
    assert axes.patches[-1].get_width() == pytest.approx(50)
