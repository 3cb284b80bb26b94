"""Train a table in one Spark task, and predict with the resulting stage.

The rows go to one task, ordered by key.  It returns scores and the parts of a model: arrays in
NumPy's own format, never pickled, in rows of at most 8 MB.  Only the finished model passes through
the driver, and the limits of `fits_one_task` bound its size.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema

from sonic_lib.models.columns import CLASSIFICATION, MAX_CATEGORIES, Columns
from sonic_lib.models.exploration.aggregates import items
from sonic_lib.models.guard import content_of
from sonic_lib.models.preprocess import finite_numbers, number_names, plain_roles
from sonic_lib.models.stages import FOLD, KEY, LABEL, StoredModel
from sonic_lib.models.tabular import encode, learners
from sonic_lib.models.tabular.crossfit import Request, crossfit
from sonic_lib.models.tabular.serialisation import (
    BLENDS,
    JUDGE,
    SERVED,
    Unpacked,
    list_array,
    packed,
)
from sonic_lib.models.tabular.table import Layout, from_arrow
from sonic_lib.schemas import TRAINED_IN_ONE_TASK
from sonic_lib.spark.columns import column

MAX_ROWS = 100_000  # as many as one worker of a distributed training gets
MAX_CELLS = 30_000_000  # rows x features, 4 bytes each, and as much again per parallel fold
OUTER = "_outer"
WITHOUT = -2

_PART_BYTES = 8 * 2**20
_INPUTS = ("hash", "plain", "categories", "encoded", "lists", "texts")
_MODEL = "A model trained in one task"
_ARROW_SCHEMA = to_arrow_schema(TRAINED_IN_ONE_TASK)


def layout_of(columns: Columns) -> Layout:
    """Return the layout of the arrays in `inputs`."""
    return Layout(
        plain=tuple(number_names(*plain_roles(columns))),
        n_alike=len(columns.numbers),
        categories=columns.categories,
        encoded=columns.encoded,
        lists=columns.lists,
        texts=columns.texts,
    )


def fits_one_task(n_rows: int, *, columns: Columns, n_classes: int) -> bool:
    """Whether a table is trained in one task; depends on its size, not on the cluster."""
    parts = n_classes or 3
    n_features = len(number_names(*plain_roles(columns)))
    n_features += MAX_CATEGORIES * len(columns.categories)
    n_features += (parts + 1) * (2 * len(columns.encoded) + len(columns.lists))
    n_features += parts * len(columns.texts)
    return n_rows <= MAX_ROWS and n_rows * n_features <= MAX_CELLS


def train(rows: DataFrame, *, columns: Columns, request: Request, n_threads: int) -> DataFrame:
    """Fit all folds and models in one task.

    Parameters
    ----------
    rows : DataFrame
        A wide frame with `_label`, `_fold` (inner) and `_outer` (crossfit.HELD_OUT_FOLD or a fold).
    columns : Columns
    request : Request
    n_threads : int
        Fits in parallel.

    Returns
    -------
    DataFrame
        Rows of scores: song_id, label, fold (of `_outer`, or WITHOUT for held-out rows scored
        without texts), output (probabilities; or prediction and difficulty).  Rows of the model:
        name, part, bytes.
    """
    given = rows.select(KEY, LABEL, FOLD, OUTER, *inputs(columns))
    ordered = given.repartition(1).sortWithinPartitions(KEY)

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        received = list(batches)
        if not received:
            return
        whole = pa.Table.from_batches(received).combine_chunks()
        labels, inner, outer = (
            whole[name].to_numpy().astype(kind)
            for name, kind in ((LABEL, np.float64), (FOLD, np.int64), (OUTER, np.int64))
        )
        table = from_arrow(_arrays(whole), layout=request.layout)
        done = crossfit(table, labels, inner, outer, request=request, n_threads=n_threads)
        keys = whole[KEY].to_numpy()
        yield _score_rows(keys, labels, outer, done.scores)
        yield _score_rows(keys, labels, np.full_like(outer, WITHOUT), done.without)
        for name, content in packed(done, table=table).items():
            for part, start in enumerate(range(0, len(content), _PART_BYTES)):
                yield _model_row(name, part, content[start : start + _PART_BYTES])

    return ordered.mapInArrow(run, TRAINED_IN_ONE_TASK)


def inputs(columns: Columns) -> list[Column]:
    """Columns that `table.from_arrow` reads, defined as in the other stages."""

    def texts(
        names: Sequence[str], values: Callable[[str], Column], kind: str, name: str
    ) -> Column:
        return F.array(*map(values, names)).cast(f"array<{kind}>").alias(name)

    def text(name: str) -> Column:
        return column(name).cast("string")

    plain = finite_numbers(*plain_roles(columns)).values()
    return [
        F.xxhash64(KEY).alias("hash"),
        F.array(*plain).cast("array<double>").alias("plain"),
        texts(columns.categories, text, "string", "categories"),
        texts(columns.encoded, text, "string", "encoded"),
        texts(columns.lists, lambda name: F.array_distinct(items(name)), "array<string>", "lists"),
        texts(columns.texts, text, "string", "texts"),
    ]


class TabularModel(StoredModel):
    """Adds `probabilities`, or `prediction` and `difficulty`, with a model trained in one task.

    Its statistics are the parts of the model: name, part, bytes. The setting `role` selects the
    model fitted on all rows, or the one that has not seen the held-out rows.
    """

    statistics: DataFrame  # never None here
    _content: dict[str, bytes] | None = None
    _sent: Any = None
    _judge: TabularModel | None = None

    def content(self) -> dict[str, bytes]:
        """Collect the parts by name; the limits of `fits_one_task` bound their size."""
        if self._content is None:
            parts = (
                self.statistics.select("name", "part", "bytes").orderBy("name", "part").collect()
            )
            self._content = {}
            for row in parts:
                self._content[row.name] = self._content.get(row.name, b"") + bytes(row.bytes)
        return self._content

    @property
    def roles(self) -> list[str]:
        """Roles of the models: SERVED, JUDGE."""
        with content_of(_MODEL):
            return list(json.loads(self.content()[BLENDS])["weights"])

    def judging(self) -> TabularModel:
        """Return the stage that has not seen the held-out rows if there is one, else this one."""
        if JUDGE not in self.roles:
            return self
        if self._judge is None:
            self._judge = TabularModel(self.settings | {"role": JUDGE}, self.statistics)
            self._judge._content = self._content
        return self._judge

    def _transform(self, frame: DataFrame) -> DataFrame:
        with content_of(_MODEL):
            columns = Columns.from_card(self.settings["columns"])
            layout = layout_of(columns)
            role, n_classes = self.settings["role"], self.settings["n_classes"]
        if self._sent is None:
            self._unpacked()  # validates it once, on the driver
            own_parts = {
                name: part
                for name, part in self.content().items()
                if not self._belongs_to_other_role(name)
            }
            self._sent = frame.sparkSession.sparkContext.broadcast(own_parts)
        sent = self._sent

        def answer(batches: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]:
            model = Unpacked(
                sent.value, role=role, layout=layout, n_classes=n_classes, is_checked=True
            )
            for arrays in batches:
                with content_of(_MODEL):
                    answered = model.answer(dict(zip(_INPUTS, arrays, strict=True)))
                yield answered

        output = F.arrow_udf(answer, "array<double>")(*inputs(columns))
        if columns.task == CLASSIFICATION:
            return frame.withColumn("probabilities", output)
        predicted = frame.withColumn("_output", output).withColumns(
            {"prediction": F.get("_output", F.lit(0)), "difficulty": F.get("_output", F.lit(1))}
        )
        return predicted.drop("_output")

    def _belongs_to_other_role(self, name: str) -> bool:
        return "/" in name and not name.startswith(f"{self.settings['role']}/")

    def importances(self, *, classes: Sequence[str]) -> list[tuple[str, float]]:
        """Return names and importances of the features, largest first; none if nothing has any."""
        with content_of(_MODEL):
            model = self._unpacked()
            names = encode.feature_names(model.layout, classes=classes, vocabulary=model.vocabulary)
            shares = np.zeros(len(names))
            for kind, weight in model.blend.weights.items():
                shares += weight * learners.importances(model.fitted[kind], n_features=len(names))
        if not shares.any():
            return []
        # Of the learners that have importances.
        pairs = zip(names, map(float, shares / shares.sum()), strict=True)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))

    def _unpacked(self) -> Unpacked:
        with content_of(_MODEL):
            return Unpacked(
                self.content(),
                role=self.settings["role"],
                layout=layout_of(Columns.from_card(self.settings["columns"])),
                n_classes=self.settings["n_classes"],
            )

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each learner."""
        with content_of(_MODEL):
            return json.loads(self.content()[BLENDS])["weights"][self.settings["role"]]

    def release(self) -> None:
        """Uncache the parts; the stage still works."""
        super().release()
        if self._judge is not None:
            self._judge.release()
            self._judge = None
        if self._sent is not None:
            self._sent.unpersist()
            self._sent = None


def settings_of(columns: Columns, *, n_classes: int) -> dict[str, Any]:
    """Return the settings of a `TabularModel`."""
    return {"columns": asdict(columns), "n_classes": n_classes, "role": SERVED}


def _arrays(whole: pa.Table) -> dict[str, pa.Array]:
    return {name: pa.concat_arrays(whole[name].chunks) for name in _INPUTS}


def _score_rows(
    keys: NDArray, labels: NDArray, folds: NDArray, scores: NDArray[np.float64]
) -> pa.RecordBatch:
    present = ~np.isnan(scores[:, 0])
    values = {
        KEY: pa.array(keys[present]),
        "label": pa.array(labels[present]),
        "fold": pa.array(folds[present].astype(np.int32)),
        "output": list_array(scores[present]),
    }
    return _rows(int(present.sum()), values)


def _model_row(name: str, part: int, content: bytes) -> pa.RecordBatch:
    values = {
        "name": pa.array([name]),
        "part": pa.array([part], pa.int32()),
        "bytes": pa.array([content], pa.binary()),
    }
    return _rows(1, values)


def _rows(n: int, values: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """Return n rows, with nulls in the other columns."""
    arrays = [values.get(field.name, pa.nulls(n, field.type)) for field in _ARROW_SCHEMA]
    return pa.record_batch(arrays, schema=_ARROW_SCHEMA)
