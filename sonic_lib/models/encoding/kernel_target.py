"""Target encoding by kernel regression: similar songs of the same category weigh more.

As in `target`, a training row is encoded from the other folds only. `kernel` has the numpy part.

A category of more than 500 songs is split into parts by hash and a song is only compared within
its part, so time and memory are proportional to the number of songs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.ml import Estimator
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from sonic_lib.models.columns import Columns
from sonic_lib.models.encoding import names
from sonic_lib.models.encoding.kernel import (
    MAX_PART_SONGS,
    SAMPLE_SONGS,
    Songs,
    fit_metric,
    local_means,
    ranks,
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
    columns : Columns
        Its encoded columns; numbers and categories are what songs are compared by.
    n_classes : int
        0 for a regression.
    output : str
        Name of the array that the model adds.
    """

    def __init__(self, columns: Columns, *, n_classes: int, output: str) -> None:
        super().__init__()
        self.settings: dict = {
            "encoded": list(columns.encoded),
            "numbers": list(columns.numbers),
            "categories": list(columns.categories),
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
            _entries(frame, settings, F.col(LABEL).cast("double").alias("label"))
            .withColumn("n_parts", n_parts)
            .withColumn("part", _part())
            .drop(KEY)
            .persist()
        )
        # Whole categories, the same ones and in the same order on any cluster.
        order = (F.xxhash64(*_ITEM, "part"), "places", "label")
        sample = references.orderBy(*order).limit(SAMPLE_SONGS * len(settings["encoded"]))
        settings["metrics"] = _metrics(sample.toArrow(), settings)
        return LocalEncoderModel(settings, references)


class LocalEncoderModel(StoredModel):
    """Adds an array of double: per column shares of the classes, or the mean, and the weight."""

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


def _metrics(sample: pa.Table, settings: dict) -> dict[str, list[float]]:
    """Learn the metric of each column from a sample of whole categories."""
    found = {}
    for name in settings["encoded"]:
        chosen = sample.filter(pc.field("name") == name)
        codes, _ = _codes(chosen, chosen.slice(0, 0))
        songs = _songs(chosen, codes, settings)
        found[name] = fit_metric(
            codes=songs.codes,
            places=songs.places,
            labels=chosen["label"].to_numpy(),
            n_numbers=len(settings["numbers"]),
            is_class=bool(settings["n_classes"]),
        ).tolist()
    return found


def _encoder(settings: dict) -> Callable[[pa.Table, pa.Table], pa.Table]:
    """Return the function that encodes the rows of a group, given its references."""
    schema = pa.schema({KEY: pa.int64(), "name": pa.string(), "encoding": pa.list_(pa.float32())})

    def encode(rows: pa.Table, references: pa.Table) -> pa.Table:
        encoded = [schema.empty_table()]
        for name in settings["encoded"]:
            chosen, known = (table.filter(pc.field("name") == name) for table in (rows, references))
            if not len(chosen):
                continue
            codes, known_codes = _codes(chosen, known)
            means, weights = local_means(
                _songs(chosen, codes, settings),
                _songs(known, known_codes, settings),
                labels=known["label"].to_numpy(),
                prior=np.array(settings["prior"]),
                metric=np.array(settings["metrics"][name]),
                n_numbers=len(settings["numbers"]),
            )
            encodings = np.column_stack([means, weights]).astype(np.float32)
            offsets = np.arange(0, encodings.size + 1, encodings.shape[1], dtype=np.int32)
            arrays = pa.ListArray.from_arrays(offsets, encodings.ravel())
            encoded.append(pa.table([chosen[KEY], chosen["name"], arrays], schema=schema))
        return pa.concat_tables(encoded)

    return encode


def _entries(frame: DataFrame, settings: dict, *extra: Column) -> DataFrame:
    numbers = [
        F.coalesce(column(name).cast("double"), F.lit(float("nan"))) for name in settings["numbers"]
    ]
    # Compared for equality only; 24 bits are exact in numbers of 32 bits.
    categories = [
        F.coalesce(F.crc32(column(name)) % 2**24, F.lit(-1)).cast("double")
        for name in settings["categories"]
    ]
    return frame.select(
        KEY,
        F.coalesce(fold_or_none(frame), F.lit(_NO_FOLD)).alias("fold"),
        F.array(*numbers, *categories).alias("places"),
        *extra,
        F.inline(category_items(settings["encoded"], [])),
    )


def _part() -> Column:
    return F.pmod(F.xxhash64(KEY), F.col("n_parts")).cast("int")


def _group(n_groups: int) -> Column:
    return F.pmod(F.xxhash64(*_ITEM, "part"), F.lit(n_groups)).cast("int")


def _songs(table: pa.Table, codes: NDArray[np.int64], settings: dict) -> Songs:
    n_numbers = len(settings["numbers"])
    flat = table["places"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    given = flat.reshape(len(table), -1) if len(table) else np.zeros((0, n_numbers))
    grids = [np.array(grid) for grid in settings["grids"]]
    placed = ranks(given[:, :n_numbers], grids=grids)
    places = np.column_stack([placed, given[:, n_numbers:]]).astype(np.float32)
    return Songs(codes, table["fold"].to_numpy(), places)


def _codes(rows: pa.Table, references: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the categories of both tables with the same codes."""
    keys = [
        list(zip(*(table[name].to_pylist() for name in (*_ITEM, "part")), strict=True))
        for table in (rows, references)
    ]
    numbered = {key: code for code, key in enumerate(dict.fromkeys([*keys[0], *keys[1]]))}
    first, second = (np.array([numbered[key] for key in side], np.int64) for side in keys)
    return first, second
