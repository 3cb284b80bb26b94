"""Explore a source of features with Spark aggregates and one collected sample, and write it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession

from sonic_lib.config import Config
from sonic_lib.errors import ModelError, UsageError
from sonic_lib.features.spark import profile, wide
from sonic_lib.models.exploration import aggregates as explore
from sonic_lib.models.exploration import projections
from sonic_lib.report.exploration import Exploration, figures_of, tables_of
from sonic_lib.report.figures.style import save
from sonic_lib.spark.caching import cache_scope, cached
from sonic_lib.storage.whole_file import write_csv
from sonic_lib.workflows.sources import chosen_numbers, read_source

_N_LISTED = 1000
_GENRE_NAMES = ("genre", "genres", "folder")
_MIN_SONGS, _MAX_SONGS = 10, 20_000


def check_sample(n_sample: int) -> None:
    """Check the number of songs in the projections.

    Raises
    ------
    UsageError
        If it is out of range.
    """
    if not _MIN_SONGS <= n_sample <= _MAX_SONGS:
        raise UsageError(
            f"n_sample {n_sample} (--sample): expected {_MIN_SONGS} to {_MAX_SONGS} songs."
        )


def explore_source(
    spark: SparkSession,
    config: Config,
    *,
    source: str | None,
    color: str | None,
    columns: Sequence[str] | None,
    n_sample: int,
    seed: int,
) -> Exploration:
    """Explore a source of features.

    Parameters and errors are those of `Warehouse.explore`.
    """
    check_sample(n_sample)
    _, features = read_source(spark, config.warehouse, source)
    return explored(features, color=color, columns=columns, n_sample=n_sample, seed=seed)


def write_exploration(found: Exploration, folder: Path) -> None:
    """Write tables and plots of an exploration to a folder, which is created if necessary."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables_of(found):
        write_csv(table, folder / f"{name}.csv", float_format="%.6g")
    for name, figure in figures_of(found):
        save(figure, folder / f"{name}.png")


def explored(
    features: DataFrame,
    *,
    color: str | None,
    columns: Sequence[str] | None,
    n_sample: int,
    seed: int,
) -> Exploration:
    """Compute distributions, correlations and projections of one source.

    Parameters
    ----------
    features : DataFrame [schemas.FEATURES]
    color : str or None
        Column that colors the projections; None: genre, genres or folder.
    columns : sequence of str or None
        Numeric columns to explore; None: all.
    n_sample : int in 10..20000
        Songs in the projections.
    seed : int
        Seed of the sample and of t-SNE.

    Raises
    ------
    UsageError
        If there is no such column.
    ModelError
        If there are fewer than ten songs, or fewer than two columns vary.
    """
    n_songs = features.count()
    described = profile(features).toPandas().sort_values(["kind", "name"], ignore_index=True)
    described["n_missing"] = n_songs - described["n"]
    numbers = chosen_numbers(described.loc[described["kind"] == "number", "name"].tolist(), columns)
    color, is_text = _color(described, color)
    if n_songs < _MIN_SONGS or len(numbers) < 2:
        raise ModelError(_too_little(n_songs, len(numbers)))
    shown = [color] if color else []
    read = list(dict.fromkeys([*numbers, *(shown if not is_text else [])]))
    with cache_scope():
        frame = cached(wide(features, numbers=read, texts=shown if is_text else []))
        summary = frame.transform(explore.summary, columns=numbers).toPandas()
        summary = summary.set_index("name").loc[numbers].reset_index()
        varied = summary[summary["max"] > summary["min"]]
        names = varied["name"].tolist()
        if len(names) < 2:
            raise ModelError(_too_little(n_songs, len(names)))
        bins = projections.choose_bins(summary)
        products = frame.transform(
            explore.moments, columns=names, centres=varied["mean"], scales=varied["std"]
        ).toPandas()
        components = projections.principal_components(products)
        drawn = frame.transform(explore.sample, key="song_id", n=n_sample, seed=seed)
        top, n_values = None, 0
        if color and is_text:
            drawn = drawn.withColumn(color, explore.items(color))
            top, n_values = _top(frame, color)
        return Exploration(
            n_songs=n_songs,
            columns=described,
            summary=summary,
            bins=bins,
            counts=frame.transform(explore.histograms, bins=bins).toPandas(),
            varied=names,
            correlations=projections.correlation_matrix(products),
            rank_correlations=_rank_correlations(frame, names),
            components=components,
            color=color,
            top=top,
            n_values=n_values,
            sample=_mapped(drawn.toPandas(), varied, components, color, seed=seed),
        )


def _color(described: pd.DataFrame, asked: str | None) -> tuple[str | None, bool]:
    """Return the column that colors the projections, and whether it is a text column."""
    kinds = dict(zip(described["name"], described["kind"], strict=True))
    if asked is not None and asked not in kinds:
        raise UsageError(f"color {asked!r} (--color): this source has {', '.join(kinds)}.")
    if asked is None:
        asked = next((name for name in _GENRE_NAMES if kinds.get(name) == "text"), None)
    return asked, kinds.get(asked) == "text"


def _too_little(n_songs: int, n_columns: int) -> str:
    return (
        f"{n_songs} songs with {n_columns} numeric columns that vary are not enough to explore; "
        f"expected {_MIN_SONGS} songs and 2 columns. Add more with `sonic features`."
    )


def _top(frame: DataFrame, column: str) -> tuple[pd.DataFrame, int]:
    top = frame.transform(explore.top_values, column=column, n=_N_LISTED).toPandas()
    return top, frame.transform(explore.value_counts, column=column).count()


def _rank_correlations(frame: DataFrame, names: list[str]) -> np.ndarray:
    rows = frame.transform(explore.rank_grids, columns=names).toPandas()
    grids = dict(zip(rows["name"], rows["grid"], strict=True))
    ranks = frame.transform(explore.ranks, grids={name: grids[name] for name in names})
    centres, scales = [0.5] * len(names), [12**-0.5] * len(names)  # of uniform ranks
    moments = ranks.transform(explore.moments, columns=names, centres=centres, scales=scales)
    return projections.correlation_matrix(moments.toPandas())


def _mapped(
    drawn: pd.DataFrame,
    varied: pd.DataFrame,
    components: projections.Components,
    color: str | None,
    *,
    seed: int,
) -> pd.DataFrame:
    """Compute both projections of the sampled songs."""
    drawn = drawn.sort_values("song_id", ignore_index=True)
    values = projections.standardise(
        drawn[varied["name"]].to_numpy(float),
        means=varied["mean"].to_numpy(float),
        stds=varied["std"].to_numpy(float),
    )
    # Rounded: the last digits depend on the order in which Spark sums, and t-SNE amplifies them.
    values = values.round(6)
    points = np.hstack([values @ components.axes[:, :2], projections.tsne(values, seed=seed)])
    placed = pd.DataFrame(points, columns=["pc_1", "pc_2", "tsne_1", "tsne_2"])
    placed.insert(0, "source_key", drawn["source_key"])
    if color:
        placed.insert(1, "color", drawn[color])
    return placed
