"""Figures of conformal prediction: set sizes and coverage by confidence."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy import stats

from sonic_lib.report.figures.style import BLUE, GREY, STYLE, VERMILION, short

_MAX_GENRES = 40


def set_sizes(table: pd.DataFrame, *, n_genres: int, title: str) -> Figure:
    """Plot the size of sets by confidence.

    Parameters
    ----------
    table : DataFrame
        confidence (0 to 1) and mean_size, share_single (0 to 1), one row per confidence.
    n_genres : int
        Maximum size of a set.
    """
    table = table.sort_values("confidence")
    with rc_context(STYLE):
        figure = Figure()
        axes = figure.subplots()
        axes.plot(100 * table["confidence"], table["mean_size"], color=BLUE)
        axes.set(xlabel="Confidence (%)", ylabel="Mean genres in a set")
        axes.set(ylim=(0, 1.05 * n_genres))
        axes.axhline(n_genres, color=GREY, linewidth=0.8, linestyle=":")
        right = axes.twinx()
        right.plot(100 * table["confidence"], 100 * table["share_single"], color=VERMILION)
        right.set(ylabel="Sets with one genre (%)", ylim=(0, 105))
        right.yaxis.label.set_color(VERMILION)
        axes.yaxis.label.set_color(BLUE)
        axes.set_title(title)
        return figure


def coverages(table: pd.DataFrame, *, title: str) -> Figure:
    """Plot observed against requested coverage.

    Parameters
    ----------
    table : DataFrame
        confidence (0 to 1), n and n_covered, one row per confidence.  The band holds 95 % of such
        samples if the true coverage is exactly the confidence.
    """
    table = table.sort_values("confidence")
    asked = table["confidence"].to_numpy()
    low, high = (stats.binom.ppf(q, table["n"], asked) / table["n"] for q in (0.025, 0.975))
    with rc_context(STYLE):
        figure = Figure()
        axes = figure.subplots()
        axes.fill_between(100 * asked, 100 * low, 100 * high, color=GREY, alpha=0.25, linewidth=0)
        axes.plot(100 * asked, 100 * asked, color=GREY, linewidth=0.8)
        axes.plot(
            100 * asked, 100 * table["n_covered"] / table["n"], "o-", color=BLUE, markersize=3
        )
        axes.set(xlabel="Confidence (%)", ylabel="Observed coverage (%)")
        axes.set_title(title)
        return figure


def genre_coverages(table: pd.DataFrame, *, confidence: float, title: str) -> Figure:
    """Plot the coverage of up to 40 genres, most frequent first.

    Parameters
    ----------
    table : DataFrame
        genre, n, n_covered, mean_size.
    """
    table = table.sort_values("n", ascending=False).head(_MAX_GENRES).iloc[::-1]
    share = table["n_covered"] / table["n"]
    low, high = (stats.binom.ppf(q, table["n"], confidence) / table["n"] for q in (0.025, 0.975))
    with rc_context(STYLE):
        figure = Figure(figsize=(8.0, 1.2 + 0.22 * len(table)))
        axes = figure.subplots()
        places = np.arange(len(table))
        axes.hlines(places, 100 * low, 100 * high, color=GREY, alpha=0.35, linewidth=6)
        axes.plot(100 * share, places, "o", color=BLUE, markersize=4)
        axes.axvline(100 * confidence, color=GREY, linewidth=0.8)
        names = [
            f"{short(genre)} ({n})" for genre, n in zip(table["genre"], table["n"], strict=True)
        ]
        axes.set_yticks(places, names, fontsize=8)
        axes.set(xlabel="Observed coverage (%)", ylim=(-0.7, len(table) - 0.3))
        axes.set_title(title)
        return figure
