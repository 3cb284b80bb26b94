"""Target encoding by likeness: of songs of the same category, those that sound alike count most.

An album's songs share their release date, and so do those of a thousand other albums. Among songs
of one date (or artist) each counts by exp(-7.5 d), d being the mean squared difference of their
ranks in every number, in units of a rank's variance: kernel regression (E. Nadaraya, On estimating
regression, 1964) within categories. As in `target_encoding`, a training row sees other folds only.

A category of more than 2,000 songs is split in parts by hash, and a song is compared with those
of its own part: cost and memory stay in proportion to the songs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.ml import Estimator
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from sonic_lib.models.stages import KEY, LABEL, StoredModel, column, fold_or_none
from sonic_lib.models.target_encoding import category_items, target_prior

_SHARPNESS = 7.5
_SMOOTHING = 1.0  # equal songs that the shares of all rows count for
_MAX_PART_SONGS = 2_000
_GROUP_SONGS = 20_000  # what a task looks at together, so that Python is not called for each date
_CHUNK_ROWS = 500
_GRID = [step / 100 for step in range(101)]
_ITEM = ("name", "item")
_NO_FOLD = -1


class LocalEncoder(Estimator):
    """Keep the training rows, by category.

    Parameters
    ----------
    encoded, numbers : sequence of str
        Texts; numbers by which songs are alike.
    n_classes : int
    output : str
        Name of the array that the model adds.
    """

    def __init__(
        self, encoded: Sequence[str], numbers: Sequence[str], *, n_classes: int, output: str
    ) -> None:
        super().__init__()
        self.settings = {
            "encoded": list(encoded),
            "numbers": list(numbers),
            "n_classes": n_classes,
            "output": output,
        }

    def _fit(self, frame: DataFrame) -> LocalEncoderModel:
        grids = [
            F.percentile_approx(column(name), _GRID, 10_000) for name in self.settings["numbers"]
        ]
        n_rows, *grids = frame.agg(F.count("*"), *grids).first()
        settings = self.settings | {
            "grids": [grid or [0.0] for grid in grids],
            "n_groups": 1 + n_rows * len(self.settings["encoded"]) // _GROUP_SONGS,
            "prior": target_prior(frame, n_classes=self.settings["n_classes"]),
        }
        songs = Window.partitionBy(*_ITEM)
        n_parts = F.ceil(F.count("*").over(songs) / _MAX_PART_SONGS).cast("int")
        references = (
            _entries(frame, settings, F.col(LABEL).cast("int").alias("label"))
            .withColumn("n_parts", n_parts)
            .withColumn("part", _part())
            .drop(KEY)
        )
        return LocalEncoderModel(settings, references.persist())


class LocalEncoderModel(StoredModel):
    """Adds an array of double: for each column the shares of the classes and the weight seen."""

    def _transform(self, frame: DataFrame) -> DataFrame:
        given = self.settings
        sizes = self.statistics.groupBy(*_ITEM).agg(F.max("n_parts").alias("n_parts"))
        rows = (
            _entries(frame, given)
            .join(sizes, list(_ITEM))
            .withColumn("part", _part())
            .withColumn("group", _group(given["n_groups"]))
        )
        references = self.statistics.drop("n_parts").withColumn("group", _group(given["n_groups"]))
        grids = [np.array(grid) for grid in given["grids"]]
        prior = np.array(given["prior"])
        said_schema = pa.schema(
            {KEY: pa.int64(), "name": pa.string(), "said": pa.list_(pa.float32())}
        )

        def encode(rows: pa.Table, references: pa.Table) -> pa.Table:
            if not len(rows):
                return said_schema.empty_table()
            codes, reference_codes = _codes(rows, references)
            shares, weights = local_shares(
                codes=codes,
                folds=rows["fold"].to_numpy(),
                places=ranks(_matrix(rows, len(grids)), grids=grids),
                reference_codes=reference_codes,
                reference_folds=references["fold"].to_numpy(),
                reference_places=ranks(_matrix(references, len(grids)), grids=grids),
                labels=references["label"].to_numpy(),
                prior=prior,
            )
            said = np.column_stack([shares, weights]).astype(np.float32)
            offsets = np.arange(0, said.size + 1, said.shape[1], dtype=np.int32)
            arrays = pa.ListArray.from_arrays(offsets, said.ravel())
            return pa.table([rows[KEY], rows["name"], arrays], schema=said_schema)

        said = (
            rows.groupBy("group")
            .cogroup(references.groupBy("group"))
            .applyInArrow(encode, f"{KEY} long, name string, said array<float>")
            .groupBy(KEY)
            .agg(F.map_from_entries(F.collect_list(F.struct("name", "said"))).alias("_said"))
        )
        unknown = F.array(*map(F.lit, [*given["prior"], 0.0])).cast("array<float>")
        found = [
            F.coalesce(F.try_element_at("_said", F.lit(name)), unknown) for name in given["encoded"]
        ]
        output = F.concat(*found).cast("array<double>")
        return frame.join(said, KEY, "left").withColumn(given["output"], output).drop("_said")

    def entry_names(self, classes: Sequence[str]) -> list[str]:
        """Name the entries, by the names of the classes."""
        encoded = self.settings["encoded"]
        return [f"{name}, alike: {part}" for name in encoded for part in (*classes, "weight")]


def ranks(values: NDArray[np.float64], *, grids: Sequence[NDArray]) -> NDArray[np.float64]:
    """Place values among those of the training rows.

    Parameters
    ----------
    values : np.ndarray [shape=(n, p)]
        NaN where missing.
    grids : sequence of p np.ndarray
        Ascending quantiles of each column.

    Returns
    -------
    np.ndarray [shape=(n, p)]
        Ranks in units of their standard deviation, 0 to sqrt(12); missing values in the middle.
    """
    placed = np.full(values.shape, 0.5)
    for place, grid in enumerate(grids):
        column_values = values[:, place]
        known = np.isfinite(column_values)
        below = np.searchsorted(grid, column_values[known], "left")
        upto = np.searchsorted(grid, column_values[known], "right")
        placed[known, place] = (below + upto) / (2 * len(grid))
    return placed * np.sqrt(12)


def local_shares(
    *,
    codes: NDArray[np.int64],
    folds: NDArray[np.int64],
    places: NDArray[np.float64],
    reference_codes: NDArray[np.int64],
    reference_folds: NDArray[np.int64],
    reference_places: NDArray[np.float64],
    labels: NDArray[np.int64],
    prior: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of the classes among the songs of the same category, by likeness.

    Parameters
    ----------
    codes : np.ndarray [shape=(n,), int]
        Category of each row.
    folds : np.ndarray [shape=(n,), int]
        References of the same fold do not count; -1 of rows that all references count for.
    places : np.ndarray [shape=(n, p)]
        From `ranks`.
    reference_codes, reference_folds, reference_places, labels
        The same of the m songs whose class is known, and their classes.
    prior : np.ndarray [shape=(K,)]
        Shares of the classes in all rows.

    Returns
    -------
    shares : np.ndarray [shape=(n, K)]
    weights : np.ndarray [shape=(n,)]
        How much was seen; equal songs weigh 1.
    """
    shares = np.tile(prior, (len(codes), 1))
    weights = np.zeros(len(codes))
    order = np.argsort(codes, kind="stable")
    reference_order = np.argsort(reference_codes, kind="stable")
    sorted_codes, starts = np.unique(codes[order], return_index=True)
    stops = np.append(starts[1:], len(codes))
    first_known = np.searchsorted(reference_codes[reference_order], sorted_codes, "left")
    last_known = np.searchsorted(reference_codes[reference_order], sorted_codes, "right")
    for category in np.flatnonzero(last_known > first_known):
        known = reference_order[first_known[category] : last_known[category]]
        is_class = np.eye(len(prior))[labels[known]]
        for first in range(starts[category], stops[category], _CHUNK_ROWS):
            rows = order[first : min(first + _CHUNK_ROWS, stops[category])]
            alike = _likeness(places[rows], reference_places[known])
            alike[folds[rows][:, None] == reference_folds[known][None]] = 0.0
            weights[rows] = alike.sum(axis=1)
            drawn = alike @ is_class + _SMOOTHING * prior
            shares[rows] = drawn / (weights[rows] + _SMOOTHING)[:, None]
    return shares, weights


def _likeness(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    return np.exp(-_SHARPNESS * np.maximum(squares, 0.0) / a.shape[1])


def _entries(frame: DataFrame, settings: dict, *extra: Column) -> DataFrame:
    numbers = F.array(*(column(name).cast("double") for name in settings["numbers"]))
    return frame.select(
        KEY,
        F.coalesce(fold_or_none(frame), F.lit(_NO_FOLD)).alias("fold"),
        F.transform(numbers, lambda x: F.coalesce(x, F.lit(float("nan")))).alias("numbers"),
        *extra,
        F.inline(category_items(settings["encoded"], [])),
    )


def _part() -> Column:
    return F.pmod(F.xxhash64(KEY), F.col("n_parts")).cast("int")


def _group(n_groups: int) -> Column:
    return F.pmod(F.xxhash64(*_ITEM, "part"), F.lit(n_groups)).cast("int")


def _matrix(table: pa.Table, n_columns: int) -> NDArray[np.float64]:
    flat = table["numbers"].combine_chunks().flatten()
    return flat.to_numpy(zero_copy_only=False).reshape(-1, n_columns)


def _codes(rows: pa.Table, references: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the categories of both, alike."""
    keys = [
        list(zip(*(table[name].to_pylist() for name in (*_ITEM, "part")), strict=True))
        for table in (rows, references)
    ]
    numbered = {key: code for code, key in enumerate(dict.fromkeys([*keys[0], *keys[1]]))}
    return tuple(np.array([numbered[key] for key in side], dtype=np.int64) for side in keys)
