"""Measure how well each column predicts the target, and the target each column.

A column is scored leave-one-out: each row is predicted by the most frequent class, or the mean, of
the other rows with the same value.  Values that occur only once do not count, so an album with a
single song does not look like a leak.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import ArrayType

from sonic_lib.schemas import ASSOCIATIONS, NAMED_VALUES
from sonic_lib.spark.columns import is_sampled

MAX_ROWS = 250_000  # larger tables are sampled by hash
SHAPE = "\x1fwithout digits"  # suffix of a text column's name when its digits are masked
_MAX_BINS, _ROWS_PER_BIN = 200, 20
_SEED = 20_222


def associations(
    features: DataFrame,
    *,
    numbers: Sequence[str],
    texts: Sequence[str],
    target: str,
    target_is_number: bool,
    n_rows: int,
) -> DataFrame:
    """Score columns of feature rows against the target, one column per group.

    Parameters
    ----------
    features : DataFrame [schemas.FEATURES]
    numbers, texts : sequence of str
        Columns to score, without the target.
    target : str
    target_is_number : bool
    n_rows : int > 0
        Rows with a target, about; MAX_ROWS of them are read.

    Returns
    -------
    DataFrame
        One row per column, and a second one per text column, named with SHAPE, for its values
        with masked digits: name and the fields of `scores`; for numbers also those of `extent`,
        scaled to all rows.
    """
    share = min(1.0, MAX_ROWS / n_rows)

    schema = to_arrow_schema(ASSOCIATIONS)

    def scored(entries: pa.Table) -> pa.Table:
        return pa.Table.from_pylist(_rows(entries, n_rows=n_rows, share=share), schema=schema)

    sample = features.filter(is_sampled(share, seed=_SEED)) if share < 1 else features
    named = sample.select(
        *_target(target, is_number=target_is_number),
        F.inline(F.concat(_entries("numbers", numbers), _entries("texts", texts))),
    )
    given = named.filter("(y IS NOT NULL OR label IS NOT NULL) AND coalesce(x, code) IS NOT NULL")
    is_number = F.col("x").isNotNull().alias("is_number")
    return given.groupBy("name", is_number).applyInArrow(scored, ASSOCIATIONS)


def scores(
    codes: NDArray[np.int64],
    labels: NDArray[np.int64],
    *,
    n_rows: float,
    x: NDArray[np.float64] | None = None,
    y: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """Score a column as a predictor of the target, and the target as one of the column.

    Parameters
    ----------
    codes, labels : np.ndarray [shape=(n,), int]
        Equal for equal values of the column, or of the target; bins of numbers.
    n_rows : float
        Rows of the table, with or without a value.
    x, y : np.ndarray [shape=(n,)], optional
        A numeric column; a numeric target.

    Returns
    -------
    dict
        n (rows whose value occurs more than once); coverage (their share of the table); n_values
        (their distinct values); accuracy (of the most frequent class of the value), base (share
        of the most frequent class overall) and r2.  back_accuracy, back_base and back_r2 score
        the opposite direction, in sample: the column predicted from the target, or from the bins
        of a numeric target.  Scores that are not defined are None.

    Examples
    --------
    >>> found = scores(np.array([1, 1, 1, 2, 2, 3]), np.array([5, 5, 5, 6, 6, 5]), n_rows=6)
    >>> found["n"], found["n_values"], found["accuracy"], round(found["base"], 2)
    (5, 2, 1.0, 0.67)
    """
    codes, of_code = np.unique(codes, return_inverse=True)
    labels, of_label = np.unique(labels, return_inverse=True)
    pairs, counts = np.unique(of_code * len(labels) + of_label, return_counts=True)
    n_by_code, n_by_label = np.bincount(of_code), np.bincount(of_label)
    repeats = n_by_code > 1
    most, next_most = _two_largest(counts, pairs // len(labels), len(codes))
    # Without the row itself its class has one row less; of two classes alike, either is taken.
    right = np.where(most - 1 > next_most, most, np.where(most - 1 == next_most, most / 2, 0))
    largest_of_label, _ = _two_largest(counts, pairs % len(labels), len(labels))
    n = int(n_by_code[repeats].sum())
    found: dict[str, Any] = {
        "n": n,
        "coverage": n / n_rows,
        "n_values": int(repeats.sum()),
        "accuracy": float(right[repeats].sum() / n) if n else None,
        "base": float(n_by_label.max() / len(of_label)),
        "r2": None,
        "back_accuracy": float(largest_of_label.sum() / len(of_label)),
        "back_base": float(n_by_code.max() / len(of_label)),
        "back_r2": None,
    }
    if y is not None:
        n_others = np.maximum(n_by_code - 1, 1)
        found["r2"] = _r2(y, of_code, kept=repeats, factors=(n_by_code / n_others) ** 2)
    if x is not None:
        found["back_r2"] = _r2(x, of_label)
    return found


def extent(x: NDArray[np.float64], *, share: float) -> dict[str, Any]:
    """Describe the values of a numeric column, of which `share` (0 to 1) were read.

    Returns
    -------
    dict
        n_numbers and n_distinct (scaled to all rows), low, high, are_whole.
    """
    return {
        "n_numbers": round(len(x) / share),
        "low": float(x.min()),
        "high": float(x.max()),
        "are_whole": bool((x == np.floor(x)).all()),
        "n_distinct": round(len(np.unique(x)) / share),
    }


def binned(x: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number the quantile bins of numbers: 20 values or more each, at most 200 bins."""
    n_bins = max(2, min(_MAX_BINS, len(x) // _ROWS_PER_BIN))
    inner = np.arange(1, n_bins) / n_bins
    edges = np.unique(np.quantile(x, inner, method="inverted_cdf"))
    return np.searchsorted(edges, x, side="right").astype(np.int64)


def _rows(entries: pa.Table, *, n_rows: int, share: float) -> list[dict[str, Any]]:
    """Score the entries of one column."""
    name = entries["name"][0].as_py()
    n_read = n_rows * share
    y = None
    if entries["y"].null_count == 0:
        y = entries["y"].to_numpy()
        labels = binned(y)
    else:
        labels = entries["label"].to_numpy()
    if entries["x"].null_count == 0:
        x = entries["x"].to_numpy()
        found = scores(binned(x), labels, x=x, y=y, n_rows=n_read)
        return [{"name": name} | found | extent(x, share=share)]
    rows = [{"name": name} | scores(entries["code"].to_numpy(), labels, y=y, n_rows=n_read)]
    shapes = entries["shape"]
    has_digits = shapes.is_valid().to_numpy()
    if has_digits.any():
        codes = shapes.drop_null().to_numpy()
        y = None if y is None else y[has_digits]
        found = scores(codes, labels[has_digits], y=y, n_rows=n_read)
        rows.append({"name": name + SHAPE} | found)
    return rows


def _two_largest(
    counts: NDArray[np.int64], owners: NDArray[np.int64], n_owners: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the largest and the second largest count of each owner; 0 if there is none."""
    order = np.lexsort((-counts, owners))
    starts = np.searchsorted(owners[order], np.arange(n_owners))
    ends = np.append(starts[1:], len(order))
    ordered = np.append(counts[order], 0)
    return ordered[starts], np.where(starts + 1 < ends, ordered[starts + 1], 0)


def _r2(
    values: NDArray[np.float64],
    groups: NDArray[np.int64],
    *,
    kept: NDArray[np.bool_] | None = None,
    factors: NDArray[np.float64] | float = 1.0,
) -> float | None:
    """R2 of the means of the groups kept; `factors` correct their squared errors."""
    kept = np.ones(groups.max() + 1, bool) if kept is None else kept
    values = values / max(np.abs(values).max(), np.finfo(float).tiny)  # squares are finite
    values = values - values.mean()
    n = np.bincount(groups)
    sums, squares = np.bincount(groups, values), np.bincount(groups, values * values)
    errors = factors * (squares - sums * sums / n)
    n_kept = n[kept].sum()
    total = squares[kept].sum() - sums[kept].sum() ** 2 / n_kept if n_kept else 0.0
    return float(1 - errors[kept].sum() / total) if total > 0 else None


def _target(name: str, *, is_number: bool) -> list[Column]:
    """Columns y, a finite number, and label, a hash of a class; one of them is null."""
    values = F.try_element_at("numbers" if is_number else "texts", F.lit(name))
    if is_number:
        y, label = F.when(F.abs(values) < float("inf"), values), F.lit(None).cast("bigint")
    else:
        text = F.trim(values)
        y, label = F.lit(None).cast("double"), F.when(text.isNotNull(), F.xxhash64(text))
    return [y.alias("y"), label.alias("label")]


def _entries(kind: str, names: Sequence[str]) -> Column:
    """Column: an array of the entries of a map; texts are hashed where they are read."""

    def entry(pair: Column) -> Column:
        value, nothing = pair["value"], F.lit(None)
        fields: dict[str, Column] = dict.fromkeys(("x", "code", "shape"), nothing)
        if kind == "numbers":
            fields["x"] = F.when(F.abs(value) < float("inf"), value)
        else:
            fields["code"] = F.when(value.isNotNull(), F.xxhash64(value))
            # A run of digits counts as 0: rock.00017.wav becomes rock.0.wav.
            masked = F.regexp_replace(value, "[0-9]+", "0")
            fields["shape"] = F.when(value.rlike("[0-9]"), F.xxhash64(masked))
        named = [pair["key"].alias("name"), *(each.alias(key) for key, each in fields.items())]
        return F.struct(*named).cast(NAMED_VALUES)

    chosen = F.filter(F.map_entries(kind), lambda pair: pair["key"].isin(list(names)))
    return F.coalesce(F.transform(chosen, entry), F.array().cast(ArrayType(NAMED_VALUES)))
