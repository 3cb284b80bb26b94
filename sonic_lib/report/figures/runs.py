"""Figures of a report: p-values of answers, and scores by model version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from sonic_lib.report.figures.style import BLUE, GREY, STYLE, VERMILION, headline
from sonic_lib.report.summary import MAX_DIGITS


def certainty_bars(counts: pd.DataFrame, *, asked: float | None, title: str) -> Figure:
    """Plot a histogram of the p-values of best answers.

    Parameters
    ----------
    counts : pandas.DataFrame
        From `summary.certainty_counts`: digits, accepted, n.
    asked : float or None
        The p-value up to which answers are accepted.
    """
    heights = {
        accepted: np.bincount(rows["digits"], rows["n"], minlength=MAX_DIGITS + 1)
        for accepted, rows in counts.groupby("accepted")
    }
    none = np.zeros(MAX_DIGITS + 1)
    yes, no = heights.get(True, none), heights.get(False, none)
    places = np.arange(MAX_DIGITS + 1)
    with rc_context(STYLE):
        figure = Figure(figsize=(8.0, 3.6))
        axes = figure.subplots()
        axes.bar(places, yes, 0.85, color=BLUE, label="accepted", align="edge")
        axes.bar(places, no, 0.85, bottom=yes, color=VERMILION, label="not accepted", align="edge")
        if asked:
            axes.axvline(-np.log10(asked), color=GREY, linewidth=1, linestyle=":")
        ticks = np.arange(0, MAX_DIGITS + 1, 5)
        labels = ["1", *(f"1e-{tick}" for tick in ticks[1:-1]), f"below 1e-{ticks[-1]}"]
        axes.set_xticks(ticks, labels)
        axes.set(xlabel="p-value of the best answer", ylabel="passages")
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.legend(loc="upper center", ncols=2)
        headline(figure, title)
    return figure


def score_lines(
    made_at: Sequence[datetime],
    scores: Mapping[str, Sequence[float]],
    *,
    champions: Sequence[bool],
    unit: str,
    title: str,
) -> Figure:
    """Plot the scores of a model's versions over time.

    Parameters
    ----------
    made_at : sequence of datetime
        When each version was created.
    scores : dict of str to sequence of float
        One score per version, by the data that it was measured on.
    champions : sequence of bool
        Whether each version has been champion.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(8.0, 3.6))
        axes = figure.subplots()
        for (name, values), colour in zip(scores.items(), (BLUE, VERMILION), strict=False):
            axes.plot(made_at, values, "-", color=colour, linewidth=1, label=name)
            for at, value, is_champion in zip(made_at, values, champions, strict=True):
                face = colour if is_champion else "white"
                axes.plot(at, value, "o", color=colour, markerfacecolor=face)
        locator = AutoDateLocator()
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.set(ylabel=unit, xlabel="version created (filled: has been champion)")
        axes.legend(loc="best")
        headline(figure, title)
    return figure
