"""Figures of an exploration: small pandas frames in, matplotlib figures out, no I/O.

A figure shows as many columns or values as are legible, and its title says out of how many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from sonic_lib.models.exploration.projections import Bins
from sonic_lib.report.figures.style import BLUE, GREY, STYLE, VERMILION, headline, short

_PALE = "#C8C8C8"
_N_WITH_NUMBERS = 16  # larger matrices have no room for numbers in their cells
_ACROSS = 4


def value_bars(
    top: pd.DataFrame, *, n_values: int, n_songs: int, title: str, n_shown: int = 30
) -> Figure:
    """Plot the number of songs of each of the most frequent values.

    Parameters
    ----------
    top : pandas.DataFrame
        From `aggregates.top_values`: value, n.
    n_values, n_songs : int
        Total numbers of values and songs.
    """
    shown = top.head(n_shown)[::-1]
    shares = 100 * shown["n"] / n_songs
    labels = [f"{n:,} ({share:.2g} %)" for n, share in zip(shown["n"], shares, strict=True)]
    head = f"{title}: {_of(len(shown), n_values)} values, {n_songs:,} songs"
    return _bars(shown["value"], shown["n"], labels, unit="songs", title=head)


def missing_bars(missing: pd.DataFrame, *, n_songs: int) -> Figure:
    """Plot the share of missing values by column.

    Parameters
    ----------
    missing : pandas.DataFrame
        name, n_missing of all columns.
    n_songs : int
        Number of rows.
    """
    lacking = missing[missing["n_missing"] > 0].sort_values("n_missing", ascending=False)
    shown = lacking.head(30)[::-1]
    labels = [f"{n:,}" for n in shown["n_missing"]]
    head = f"Missing values: {_of(len(shown), len(lacking))} columns, {n_songs:,} songs"
    share = 100 * shown["n_missing"] / n_songs
    return _bars(shown["name"], share, labels, unit="songs without a value (%)", title=head)


def distributions(
    counts: pd.DataFrame, *, bins: Mapping[str, Bins], n_songs: int, n_shown: int = 24
) -> Figure:
    """Plot a histogram of each column.

    Parameters
    ----------
    counts : pandas.DataFrame
        From `aggregates.histograms`: name, bin, n.
    bins : mapping of str to Bins
        Bins of the counts; one panel each, in this order.
    n_songs : int
        Number of rows.
    """
    names = list(bins)[:n_shown]
    with rc_context(STYLE):
        figure, panels = _panels(len(names), height=1.45)
        for axes, name in zip(panels, names, strict=True):
            low, width, n_bins = bins[name]
            own = counts[counts["name"] == name]
            heights = np.bincount(own["bin"], own["n"], minlength=n_bins)
            gap = 0.8 if n_bins <= 12 else 1.0
            centres = low + width * (np.arange(n_bins) + 0.5)
            axes.bar(centres, heights, width * gap, color=BLUE)
            axes.set_title(short(name), fontsize=10)
            axes.tick_params(labelsize=8)
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=float(width).is_integer()))
            axes.xaxis.set_major_formatter(FuncFormatter(_number))
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.yaxis.set_major_formatter(FuncFormatter(_count))
        for axes in panels[::_ACROSS]:
            axes.set_ylabel("songs", fontsize=9)
        figure.supxlabel("the outer bars include all values beyond them", fontsize=9, color=GREY)
        headline(figure, f"Distributions: {_of(len(names), len(bins))} columns, {n_songs:,} songs")
    return figure


def correlation_heatmap(
    matrix: NDArray[np.float64], *, names: Sequence[str], title: str, n_shown: int = 40
) -> Figure:
    """Plot a correlation matrix, with correlated columns next to each other.

    Parameters
    ----------
    matrix : np.ndarray [shape=(p, p), -1 to 1 or NaN]
    names : sequence of str [length p]
    n_shown : int
        If there are more columns, those with the strongest correlations are shown.
    """
    strength = np.abs(np.nan_to_num(matrix))
    np.fill_diagonal(strength, 0)
    chosen = np.sort(np.argsort(-strength.max(axis=0), kind="stable")[:n_shown])
    chosen = chosen[_alike_together(matrix[np.ix_(chosen, chosen)])]
    shown = matrix[np.ix_(chosen, chosen)]
    labels = [short(names[i]) for i in chosen]
    with rc_context(STYLE):
        figure = Figure(figsize=(8.0, 6.8))
        axes = figure.subplots()
        image = axes.imshow(shown, cmap="PuOr_r", vmin=-1, vmax=1, aspect="auto")
        size = 9 if len(chosen) <= _N_WITH_NUMBERS else 6.5
        axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=size)
        axes.set_yticks(range(len(labels)), labels, fontsize=size)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        if len(chosen) <= _N_WITH_NUMBERS:
            for (row, column), value in np.ndenumerate(shown):
                if row != column and np.isfinite(value):
                    colour = "white" if abs(value) > 0.5 else "black"
                    text = f"{round(value, 2) + 0:.2f}".replace("0.", ".").replace("-", "−")
                    axes.text(column, row, text, color=colour, fontsize=7, ha="center", va="center")
        bar = figure.colorbar(image, shrink=0.8)
        bar.outline.set_visible(False)
        bar.set_label("correlation")
        headline(figure, f"{title}: {_of(len(chosen), len(names))} columns")
    return figure


def explained_variance(explained: NDArray[np.float64], *, n_shown: int = 20) -> Figure:
    """Plot the variance explained by each principal component, and cumulatively.

    Parameters
    ----------
    explained : np.ndarray [shape=(p,), sum 1]
        Shares, largest first.
    """
    shares = 100 * explained[:n_shown]
    places = np.arange(1, len(shares) + 1)
    with rc_context(STYLE):
        figure = Figure()
        axes = figure.subplots()
        axes.bar(places, shares, color=BLUE, label="each")
        axes.plot(places, np.cumsum(shares), "o-", color=VERMILION, label="together", markersize=4)
        axes.set_xticks(places)
        axes.set_ylim(0, 105)
        axes.set_xlabel("principal component")
        axes.set_ylabel("variance of the standardised columns (%)")
        axes.legend(loc="center right")
        head = f"Explained variance: {_of(len(shares), len(explained))} components"
        headline(figure, head)
    return figure


def song_map(
    points: NDArray[np.float64],
    values: pd.Series | None = None,
    *,
    axis_names: tuple[str, str],
    title: str,
    n_shown: int = 8,
) -> Figure:
    """Plot songs as points in a plane.

    Parameters
    ----------
    points : np.ndarray [shape=(n, 2)]
    values : pandas.Series [length n], optional
        Numbers become colours in one panel; the most frequent texts, or items of lists, become one
        panel each, since a dozen colours cannot be distinguished.
    axis_names : (str, str)
        Labels of the axes; empty if they have no meaning.
    """
    with rc_context(STYLE):
        if values is None or pd.api.types.is_numeric_dtype(values):
            figure, panels = _coloured_map(points, values)
        else:
            # A song with several genres appears in the panel of each.
            each = values.reset_index(drop=True).explode().dropna()
            figure, panels = _maps_by_value(points, each, n_shown)
            title = f"{title}: {_of(len(panels), each.nunique())} values"
        for axes in panels:
            axes.set_xticks([])
            axes.set_yticks([])
        figure.supxlabel(fill(axis_names[0], 90), fontsize=9)
        figure.supylabel(fill(axis_names[1], 50), fontsize=9)
        headline(figure, f"{title}, {len(points):,} songs")
    return figure


def _coloured_map(points: NDArray, values: pd.Series | None) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(8.0, 6.4))
    axes = figure.subplots()
    if values is None:
        axes.scatter(*points.T, s=7, color=BLUE, alpha=0.6, linewidth=0)
        return figure, [axes]
    known = values.notna().to_numpy()
    axes.scatter(*points[~known].T, s=7, color=_PALE, alpha=0.6, linewidth=0)
    if known.any():
        colours = values[known].to_numpy(float)
        dots = axes.scatter(*points[known].T, s=7, c=colours, cmap="cividis", linewidth=0)
        figure.colorbar(dots, shrink=0.8, label=values.name).outline.set_visible(False)
    return figure, [axes]


def _maps_by_value(points: NDArray, each: pd.Series, n_shown: int) -> tuple[Figure, list[Axes]]:
    """Plot one panel per value; `each` holds values by the position of their song."""
    counts = each.groupby(each).size().sort_values(ascending=False, kind="stable").head(n_shown)
    figure, panels = _panels(len(counts), height=2.1)
    for axes, (value, n) in zip(panels, counts.items(), strict=True):
        own = np.zeros(len(points), bool)
        own[each.index[each == value]] = True
        axes.scatter(*points[~own].T, s=2, color=_PALE, alpha=0.5, linewidth=0)
        axes.scatter(*points[own].T, s=6, color=BLUE, alpha=0.8, linewidth=0)
        axes.set_title(f"{short(value, 18)} ({n:,})", fontsize=10)
    return figure, panels


def _panels(n: int, *, height: float) -> tuple[Figure, list[Axes]]:
    """Return panels in rows of four; `height` is that of a row, in inches."""
    n_down = max(1, -(-n // _ACROSS))
    figure = Figure(figsize=(8.0, 0.6 + height * n_down))
    panels = list(figure.subplots(n_down, _ACROSS, squeeze=False).flat)
    for axes in panels[n:]:
        axes.remove()
    return figure, panels[:n]


def _bars(
    names: Sequence[str], lengths: Sequence[float], labels: list[str], *, unit: str, title: str
) -> Figure:
    with rc_context(STYLE):
        figure = Figure(figsize=(8.0, 1.1 + 0.24 * len(labels)))
        axes = figure.subplots()
        bars = axes.barh(range(len(labels)), lengths, color=BLUE)
        axes.bar_label(bars, labels, padding=4, color=GREY, fontsize=9)
        axes.set_yticks(range(len(labels)), map(short, names))
        axes.margins(x=0.14, y=0.01)
        axes.xaxis.set_major_formatter(FuncFormatter(_count))
        axes.set_xlabel(unit)
        headline(figure, title)
    return figure


def _alike_together(matrix: NDArray) -> NDArray[np.intp]:
    """Return an order with strongly correlated columns, of either sign, next to each other."""
    if len(matrix) < 3:
        return np.arange(len(matrix))
    distances = 1 - np.abs(np.nan_to_num(matrix))
    np.fill_diagonal(distances, 0)
    pairs = squareform((distances + distances.T) / 2, checks=False)
    return leaves_list(linkage(pairs, "average", optimal_ordering=True))


def _of(n_shown: int, n: int) -> str:
    return f"{n:,}" if n_shown >= n else f"{n_shown:,} of {n:,}"


def _number(value: float, _: object = None) -> str:
    """Abbreviate large numbers (200,000 ms are 200k), but not years."""
    return _count(value) if abs(value) >= 10_000 else f"{value:g}".replace("-", "−")


def _count(value: float, _: object = None) -> str:
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{name}".replace("-", "−")
    return f"{value:g}"
