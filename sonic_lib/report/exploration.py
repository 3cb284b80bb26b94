"""Present the result of an exploration as figures, tables and text; no Spark, no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sonic_lib.models.exploration import projections
from sonic_lib.report.figures import exploration as plots


class Exploration(NamedTuple):
    """The result of exploring a source; small enough for one machine.

    Attributes
    ----------
    n_songs : int
    columns : pandas.DataFrame
        name, kind (number or text), n, n_distinct, n_missing of every column.
    summary : pandas.DataFrame
        From `aggregates.summary`, in the order of `columns`.
    bins : dict of str to Bins
    counts : pandas.DataFrame
        From `aggregates.histograms`.
    varied : list of str
        Columns that are not constant, as used for correlations and components.
    correlations, rank_correlations : np.ndarray [shape=(p, p)]
    components : Components
    color : str or None
        The column that colors the projections.
    top : pandas.DataFrame or None
        The most frequent values of `color`, if it is a text column.
    n_values : int
        Number of distinct values of `color`.
    sample : pandas.DataFrame
        source_key, color, pc_1, pc_2, tsne_1, tsne_2 of the songs in the projections.
    """

    n_songs: int
    columns: pd.DataFrame
    summary: pd.DataFrame
    bins: dict[str, projections.Bins]
    counts: pd.DataFrame
    varied: list[str]
    correlations: np.ndarray
    rank_correlations: np.ndarray
    components: projections.Components
    color: str | None
    top: pd.DataFrame | None
    n_values: int
    sample: pd.DataFrame


def figures_of(found: Exploration) -> Iterator[tuple[str, Figure]]:
    """Plot an exploration; yields (file name without suffix, figure)."""
    n_songs = found.n_songs
    if found.top is not None:
        yield (
            "top_values",
            plots.value_bars(
                found.top, n_values=found.n_values, n_songs=n_songs, title=f"Top {found.color}"
            ),
        )
    if found.columns["n_missing"].any():
        yield "missing", plots.missing_bars(found.columns, n_songs=n_songs)
    yield "distributions", plots.distributions(found.counts, bins=found.bins, n_songs=n_songs)
    for name, matrix, title in (
        ("correlations", found.correlations, "Correlations (Pearson)"),
        ("rank_correlations", found.rank_correlations, "Correlations of ranks (Spearman)"),
    ):
        yield name, plots.correlation_heatmap(matrix, names=found.varied, title=title)
    yield "explained_variance", plots.explained_variance(found.components.explained)
    values = found.sample["color"].rename(found.color) if found.color else None
    by = f" by {found.color}" if found.color else ""
    axis_names = (_axis_name(found, 0), _axis_name(found, 1))
    pca, tsne = (found.sample[[f"{m}_1", f"{m}_2"]].to_numpy() for m in ("pc", "tsne"))
    yield "pca_map", plots.song_map(pca, values, axis_names=axis_names, title=f"Main axes{by}")
    yield "tsne_map", plots.song_map(tsne, values, axis_names=("", ""), title=f"t-SNE{by}")


def tables_of(found: Exploration) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the data behind the figures: (file name without suffix, table)."""
    yield "columns", found.columns
    yield "summary", found.summary
    if found.top is not None:
        yield "top_values", found.top
    bins = pd.DataFrame.from_dict(found.bins, orient="index", columns=projections.Bins._fields)
    low = bins.loc[found.counts["name"], "low"].to_numpy()
    width = bins.loc[found.counts["name"], "width"].to_numpy()
    low = low + width * found.counts["bin"]
    histograms = found.counts.assign(low=low, high=low + width)
    yield "distributions", histograms.sort_values(["name", "bin"])
    for name in ("correlations", "rank_correlations"):
        matrix = pd.DataFrame(getattr(found, name), columns=found.varied)
        matrix.insert(0, "name", found.varied)
        yield name, matrix
    axes = pd.DataFrame(found.components.axes.T, columns=found.varied)
    axes.insert(0, "explained", found.components.explained)
    yield "components", axes
    placed = found.sample
    if found.top is not None:
        placed = placed.assign(color=placed["color"].map("; ".join))
    yield "maps", placed


def text_of(found: Exploration) -> Iterator[str]:
    """Summarise an exploration in lines of text."""
    n_constant = len(found.summary) - len(found.varied)
    constant = f"; {n_constant} constant, not in correlations and projections" if n_constant else ""
    yield f"Exploration of {found.n_songs:,} songs"
    yield f"  numbers     {len(found.summary)} columns{constant}"
    if found.top is not None:
        top = ", ".join(f"{row.value} {row.n:,}" for row in found.top.head(5).itertuples())
        yield f"  {found.color:<11} {found.n_values:,} values: {top}"
    lacking = found.columns[found.columns["n_missing"] > 0].nlargest(5, "n_missing")
    missing = ", ".join(f"{row.name} {row.n_missing:,}" for row in lacking.itertuples(index=False))
    yield f"  missing     {missing or 'nothing'}"
    yield f"  alike       {'; '.join(_strongest(found))}"
    explained = 100 * found.components.explained
    yield (
        f"  components  2 explain {explained[:2].sum():.0f} % of the variance, "
        f"{1 + int(np.searchsorted(explained.cumsum(), 90))} explain 90 %"
    )
    yield f"  projections {len(found.sample):,} songs, sampled by the hash of song_id"


def _axis_name(found: Exploration, place: int) -> str:
    """Describe a principal component by its largest weights."""
    weights = found.components.axes[:, place]
    parts = [
        f"{'+' if weights[i] > 0 else '−'}\N{NO-BREAK SPACE}{found.varied[i]}"
        for i in np.argsort(-np.abs(weights), kind="stable")[:4]
    ]
    share = 100 * found.components.explained[place]
    return f"component {place + 1} ({share:.0f} % of variance): {' '.join(parts)}"


def _strongest(found: Exploration) -> Iterator[str]:
    strength = np.triu(np.abs(np.nan_to_num(found.correlations)), 1)
    for place in np.argsort(-strength, axis=None, kind="stable")[:3]:
        i, j = np.unravel_index(place, strength.shape)
        yield f"{found.varied[i]} and {found.varied[j]} {found.correlations[i, j]:+.2f}"
