"""Target encoding by kernel regression: similar songs of the same category weigh more.

As in `target`, a training row is encoded from the other folds only. `kernel` has the numpy part.

A category of more than 2,000 songs is split into parts by hash and a song is only compared within
its part, so time and memory are proportional to the number of songs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.ml import Estimator
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from sonic_lib.models.encoding import names
from sonic_lib.models.encoding.kernel import (
    MAX_PART_SONGS,
    RELEVANCE_SONGS,
    local_shares,
    ranks,
    relevance,
)
from sonic_lib.models.encoding.target import category_items, target_prior
from sonic_lib.models.stages import KEY, LABEL, StoredModel, fold_or_none
from sonic_lib.spark.columns import column

_GROUP_SONGS = 20_000  # rows per call of the Python function; one call per category is too slow
_GRID = [step / 100 for step in range(101)]
_ITEM = ("name", "item")
_NO_FOLD = -1


class LocalEncoder(Estimator):
    """Keeps the training rows by category, as kernel regression needs them all.

    Parameters
    ----------
    encoded, numbers : sequence of str
        Text columns; numbers that define similarity.
    n_classes : int
    output : str
        Name of the array that the model adds.
    """

    def __init__(
        self, encoded: Sequence[str], numbers: Sequence[str], *, n_classes: int, output: str
    ) -> None:
        super().__init__()
        self.settings: dict = {
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
        n_parts = F.ceil(F.count("*").over(songs) / MAX_PART_SONGS).cast("int")
        references = (
            _entries(frame, settings, F.col(LABEL).cast("int").alias("label"))
            .withColumn("n_parts", n_parts)
            .withColumn("part", _part())
            .drop(KEY)
            .persist()
        )
        # Whole categories, the same ones and in the same order on any cluster.
        order = (F.xxhash64(*_ITEM, "part"), "numbers", "label")
        sample = references.orderBy(*order).limit(RELEVANCE_SONGS)
        settings["weights"] = _sample_relevance(sample.toArrow(), settings["grids"]).tolist()
        return LocalEncoderModel(settings, references)


class LocalEncoderModel(StoredModel):
    """Adds an array of double: per column the shares of the classes and the total weight."""

    statistics: DataFrame  # never None here

    def _transform(self, frame: DataFrame) -> DataFrame:
        settings = self.settings
        sizes = self.statistics.groupBy(*_ITEM).agg(F.max("n_parts").alias("n_parts"))
        rows = (
            _entries(frame, settings)
            .join(sizes, list(_ITEM))
            .withColumn("part", _part())
            .withColumn("group", _group(settings["n_groups"]))
        )
        references = self.statistics.drop("n_parts").withColumn(
            "group", _group(settings["n_groups"])
        )
        encodings = (
            rows.groupBy("group")
            .cogroup(references.groupBy("group"))
            .applyInArrow(_encoder(settings), f"{KEY} long, name string, encoding array<float>")
            .groupBy(KEY)
            .agg(
                F.map_from_entries(F.collect_list(F.struct("name", "encoding"))).alias("_encodings")
            )
        )
        unknown = F.array(*map(F.lit, [*settings["prior"], 0.0])).cast("array<float>")
        found = [
            F.coalesce(F.try_element_at("_encodings", F.lit(name)), unknown)
            for name in settings["encoded"]
        ]
        output = F.concat(*found).cast("array<double>")
        return (
            frame.join(encodings, KEY, "left")
            .withColumn(settings["output"], output)
            .drop("_encodings")
        )

    def entry_names(self, classes: Sequence[str]) -> list[str]:
        """Name the entries, by the names of the classes."""
        return names.locally_encoded(self.settings["encoded"], classes=classes)


def _sample_relevance(sample: pa.Table, grids: list[list[float]]) -> NDArray[np.float64]:
    codes, _ = _codes(sample, sample.slice(0, 0))
    places = ranks(_matrix(sample, len(grids)), grids=[np.array(grid) for grid in grids])
    return relevance(codes=codes, labels=sample["label"].to_numpy(), places=places)


def _encoder(settings: dict) -> Callable[[pa.Table, pa.Table], pa.Table]:
    """Return the function that encodes the rows of a group, given its references."""
    grids = [np.array(grid) for grid in settings["grids"]]
    scales = np.sqrt(settings["weights"])
    prior = np.array(settings["prior"])
    schema = pa.schema({KEY: pa.int64(), "name": pa.string(), "encoding": pa.list_(pa.float32())})

    def encode(rows: pa.Table, references: pa.Table) -> pa.Table:
        if not len(rows):
            return schema.empty_table()
        codes, reference_codes = _codes(rows, references)
        shares, weights = local_shares(
            codes=codes,
            folds=rows["fold"].to_numpy(),
            places=ranks(_matrix(rows, len(grids)), grids=grids) * scales,
            reference_codes=reference_codes,
            reference_folds=references["fold"].to_numpy(),
            reference_places=ranks(_matrix(references, len(grids)), grids=grids) * scales,
            labels=references["label"].to_numpy(),
            prior=prior,
        )
        encodings = np.column_stack([shares, weights]).astype(np.float32)
        offsets = np.arange(0, encodings.size + 1, encodings.shape[1], dtype=np.int32)
        arrays = pa.ListArray.from_arrays(offsets, encodings.ravel())
        return pa.table([rows[KEY], rows["name"], arrays], schema=schema)

    return encode


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
    """Number the categories of both tables with the same codes."""
    keys = [
        list(zip(*(table[name].to_pylist() for name in (*_ITEM, "part")), strict=True))
        for table in (rows, references)
    ]
    numbered = {key: code for code, key in enumerate(dict.fromkeys([*keys[0], *keys[1]]))}
    first, second = (np.array([numbered[key] for key in side], np.int64) for side in keys)
    return first, second
