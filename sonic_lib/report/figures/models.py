"""Figures of models: confusion, scores, residuals and importances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sonic_lib.report.figures.style import BLUE, GREY, STYLE, VERMILION, headline, short

_MAX_CLASSES = 40
_MAX_NAMES = 25


def confusion_heatmap(
    matrix: NDArray[np.int64], *, classes: Sequence[str], title: str, n_shown: int = _MAX_CLASSES
) -> Figure:
    """Plot a confusion matrix, most frequent genres first.

    Parameters
    ----------
    matrix : np.ndarray [shape=(K, K)]
        Rows are the truth.
    classes : sequence of str
    n_shown : int
        If there are more genres, only the most frequent are shown.
    """
    order = np.argsort(-matrix.sum(axis=1), kind="stable")[:n_shown]
    names = [short(classes[i]) for i in order]
    shares = matrix[np.ix_(order, order)] / np.maximum(matrix[order].sum(axis=1, keepdims=True), 1)
    size = 3.2 + 0.26 * len(names)
    with rc_context(STYLE):
        figure = Figure(figsize=(size + 1.2, size))
        axes = figure.subplots()
        image = axes.imshow(100 * shares, cmap="cividis", vmin=0, vmax=100)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set(xlabel="Predicted genre", ylabel="True genre")
        figure.colorbar(image, ax=axes, shrink=0.7, label="Songs of the genre (%)")
        headline(figure, title)
        return figure


def class_bars(scores: pd.DataFrame, *, title: str) -> Figure:
    """Plot precision, recall and F1 of each genre.

    Parameters
    ----------
    scores : DataFrame
        label, support, precision, recall, f1: from `metrics.class_scores`.
    """
    shown = scores.head(_MAX_CLASSES).iloc[::-1]
    places = np.arange(len(shown))
    with rc_context(STYLE):
        figure = Figure(figsize=(8.0, 1.2 + 0.24 * len(shown)))
        axes = figure.subplots()
        axes.barh(places, 100 * shown["f1"], color="#C8C8C8", label="F1")
        axes.plot(
            100 * shown["precision"], places, "o", color=BLUE, markersize=4, label="Precision"
        )
        axes.plot(100 * shown["recall"], places, "D", color=VERMILION, markersize=4, label="Recall")
        names = [f"{short(row.label)} ({row.support})" for row in shown.itertuples()]
        axes.set_yticks(places, names, fontsize=8)
        axes.set(xlabel="%", xlim=(0, 100), ylim=(-0.7, len(shown) - 0.3))
        axes.legend(loc="lower right")
        headline(figure, title)
        return figure


def residual_map(
    counts: pd.DataFrame, *, low: float, high: float, n_bins: int, unit: str, title: str
) -> Figure:
    """Plot the number of songs by predicted and true value.

    Parameters
    ----------
    counts : DataFrame
        predicted_bin, target_bin, n: from `metrics.residual_counts` with the same range and bins.
    """
    grid = np.zeros((n_bins, n_bins))
    grid[counts["target_bin"], counts["predicted_bin"]] = counts["n"]
    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 5.6))
        axes = figure.subplots()
        image = axes.imshow(
            np.where(grid > 0, np.log10(np.maximum(grid, 1)), np.nan),
            origin="lower",
            extent=(low, high, low, high),
            cmap="cividis",
        )
        axes.plot([low, high], [low, high], color=GREY, linewidth=0.8)
        axes.set(xlabel=f"Predicted {unit}", ylabel=f"True {unit}")
        bar = figure.colorbar(image, ax=axes, shrink=0.8, label="Songs")
        ticks = np.arange(0, int(np.log10(max(grid.max(), 1))) + 1)
        bar.set_ticks(ticks, labels=[f"{10 ** int(t):,}" for t in ticks])
        headline(figure, title)
        return figure


def importance_bars(pairs: Sequence[tuple[str, float]], *, title: str) -> Figure:
    """Plot the largest feature importances.

    Parameters
    ----------
    pairs : sequence of (name, share)
        Largest first.
    """
    shown = list(pairs[:_MAX_NAMES])[::-1]
    with rc_context(STYLE):
        figure = Figure(figsize=(8.0, 1.2 + 0.24 * len(shown)))
        axes = figure.subplots()
        axes.barh(range(len(shown)), [100 * share for _, share in shown], color=BLUE)
        axes.set_yticks(range(len(shown)), [short(name) for name, _ in shown], fontsize=8)
        axes.set(xlabel="Share of the total gain (%)", ylim=(-0.7, len(shown) - 0.3))
        headline(figure, title)
        return figure
