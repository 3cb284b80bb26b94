"""Aggregate a wide frame to small frames of counts and moments; no actions.

Conventions
-----------
``columns`` are names of numeric columns, which may contain any character. Null, NaN and infinity
count as missing. Results have at most p x p rows for p columns, whatever the number of rows. Values
that a pass needs from an earlier one (bins, centres, grids) are computed in `projections`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from sonic_lib.features.spark import LIST
from sonic_lib.models.exploration.projections import Bins
from sonic_lib.spark.columns import column as by_name

# Quantiles; the outer two bound the range of a histogram.
_QUANTILES = {
    "min": 0.0,
    "q005": 0.005,
    "q25": 0.25,
    "median": 0.5,
    "q75": 0.75,
    "q995": 0.995,
    "max": 1.0,
}
# Its first or last item is quoted, so that an apostrophe is no quote.
_QUOTED_LIST = r"""^\[\s*['"]|['"]\s*\]$"""
_NUMPY_TEXT = r"""np\.str_\(('[^']*'|"[^"]*")\)"""  # as numpy 2 prints texts
_LIST_ITEM = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_GRID_POINTS = 1000
_MOMENTS = ("n", "sum_first", "sum_squares_first", "sum_products")


def sample(frame: DataFrame, *, key: str, n: int, seed: int) -> DataFrame:
    """Sample rows by the hash of their key: the same on any cluster and in any order.

    Parameters
    ----------
    frame : DataFrame
    key : str
        Column that identifies a row.
    n : int >= 0
        Number of rows, or all if there are fewer; small enough for one machine.
    seed : int
        Another seed gives another sample.
    """
    return frame.orderBy(F.xxhash64(F.lit(seed), by_name(key)), by_name(key)).limit(n)


def items(column: str) -> Column:
    """Column: the items of a text as an array.

    A list written as in Python or JSON, such as ``['bebop', "drum'n'bass"]``, or without quotes, is
    split into its items; any other text is a single item; null gives no items.
    """
    text = F.trim(by_name(column).cast("string"))
    inside = F.regexp_replace(text, _NUMPY_TEXT, "$1")
    quoted = F.regexp_extract_all(inside, F.lit(_LIST_ITEM), F.lit(0))
    unquoted = F.transform(quoted, lambda item: F.regexp_replace(item, "^.|.$", ""))
    plain = F.transform(F.split(F.btrim(inside, F.lit("[]")), ","), lambda item: F.trim(item))
    listed = F.when(inside.rlike(_QUOTED_LIST), unquoted).otherwise(plain)
    given = F.when(text.rlike(LIST), listed).otherwise(F.array(text))
    return F.filter(F.coalesce(given, F.array()), lambda item: item != "")


def value_counts(frame: DataFrame, *, column: str) -> DataFrame:
    """Count each value of a column; items of lists are counted one by one.

    Returns
    -------
    DataFrame
        value (string), n (rows with it); missing values are not counted.
    """
    values = frame.select(F.explode(F.array_distinct(items(column))).alias("value"))
    return values.groupBy("value").agg(F.count("*").alias("n"))


def top_values(frame: DataFrame, *, column: str, n: int) -> DataFrame:
    """Find the most frequent values of a column, most frequent first, ties by name.

    Returns
    -------
    DataFrame
        As from `value_counts`, at most `n` rows.
    """
    return value_counts(frame, column=column).orderBy(F.desc("n"), "value").limit(n)


def summary(frame: DataFrame, *, columns: Sequence[str]) -> DataFrame:
    """Summarise all numeric columns in one pass.

    Returns
    -------
    DataFrame
        One row per column: name, n (values), n_missing, mean, std (of a sample), is_whole (all
        values are whole numbers), and the approximate quantiles min, q005 (0.5 %), q25, median,
        q75, q995, max, with a rank error of at most 0.01 %.
    """
    shares = F.array(*map(F.lit, _QUANTILES.values()))
    described = (
        _long(frame, columns)
        .groupBy("name")
        .agg(
            F.count("value").alias("n"),
            F.count_if(F.col("value").isNull()).alias("n_missing"),
            F.mean("value").alias("mean"),
            F.stddev("value").alias("std"),
            F.bool_and(F.col("value") % 1 == 0).alias("is_whole"),
            F.percentile_approx("value", shares, 10_000).alias("quantiles"),
        )
    )
    quantiles = (F.get("quantiles", F.lit(i)).alias(name) for i, name in enumerate(_QUANTILES))
    return described.select("*", *quantiles).drop("quantiles")


def histograms(frame: DataFrame, *, bins: Mapping[str, Bins]) -> DataFrame:
    """Count the values of all columns by bin in one pass.

    Parameters
    ----------
    frame : DataFrame
    bins : mapping of str to Bins
        From `projections.choose_bins`. The outer bins include the values beyond them.

    Returns
    -------
    DataFrame
        name, bin (int, from 0), n; a bin without values has no row.
    """
    cells = []
    for name, (low, width, n_bins) in bins.items():
        place = (_finite(name) - low) / width
        inside = F.least(F.greatest(place, F.lit(0.0)), F.lit(n_bins - 1.0))
        # Spark's greatest(null, 0) is 0.
        cells.append((name, F.when(place.isNotNull(), F.floor(inside).cast("int"))))
    return (
        frame.select(F.inline(_pairs(cells)))
        .withColumnRenamed("value", "bin")
        .filter("bin IS NOT NULL")
        .groupBy("name", "bin")
        .agg(F.count("*").alias("n"))
    )


def moments(
    frame: DataFrame, *, columns: Sequence[str], centres: Sequence[float], scales: Sequence[float]
) -> DataFrame:
    """Sum the moments for correlations and components in one pass of matrix products.

    Each task multiplies its rows in numpy and returns p x p sums, so a hundred columns cost little
    more than ten.

    Parameters
    ----------
    frame : DataFrame
    columns : sequence of str [length p]
    centres, scales : sequence of float [length p]
        Approximate mean and standard deviation of each column (scales > 0): values are
        standardised first, so that sums lose no digits.

    Returns
    -------
    DataFrame
        p x p rows: first, second (indices in `columns`), and over the rows that have both values:
        n, sum_first, sum_squares_first, sum_products.
    """
    centre, scale = np.asarray(centres, float), np.asarray(scales, float)
    n_columns = len(columns)
    first, second = np.indices((n_columns, n_columns)).reshape(2, -1)

    def sums(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        total = np.zeros((len(_MOMENTS), n_columns, n_columns))
        for batch in batches:
            values = (_matrix(batch) - centre) / scale
            known = (~np.isnan(values)).astype(float)
            values = np.nan_to_num(values, copy=False)
            total += [known.T @ known, values.T @ known, values.T**2 @ known, values.T @ values]
        parts = dict(zip(_MOMENTS, total.reshape(len(_MOMENTS), -1), strict=True))
        yield pa.RecordBatch.from_pydict(
            {"first": first.astype(np.int32), "second": second.astype(np.int32)} | parts
        )

    schema = "first int, second int, " + ", ".join(f"{name} double" for name in _MOMENTS)
    return (
        frame.select(*(_finite(name).alias(f"c{i}") for i, name in enumerate(columns)))
        .mapInArrow(sums, schema)
        .groupBy("first", "second")
        .agg(*(F.sum(name).alias(name) for name in _MOMENTS))
    )


def rank_grids(frame: DataFrame, *, columns: Sequence[str]) -> DataFrame:
    """Compute evenly spaced quantiles of each column, to rank values against.

    Returns
    -------
    DataFrame
        name, grid (array of up to 1,000 doubles, ascending; fewer where values are few).
    """
    shares = F.array(*(F.lit((i + 0.5) / _GRID_POINTS) for i in range(_GRID_POINTS)))
    grid = F.percentile_approx("value", shares, 10 * _GRID_POINTS)
    return _long(frame, columns).groupBy("name").agg(grid.alias("grid"))


def ranks(frame: DataFrame, *, grids: Mapping[str, Sequence[float]]) -> DataFrame:
    """Replace values by their ranks, so that `moments` of them give Spearman's correlations.

    Exact ranks would sort every column over all machines; ranks on a grid of n quantiles have an
    error of at most 1 / n and cost one pass. Ties get the middle of their ranks.

    Parameters
    ----------
    frame : DataFrame
    grids : mapping of str to sequence of float
        Quantiles by column, from `rank_grids`.

    Returns
    -------
    DataFrame
        The columns of `grids` in their order: rank as double, 0 to 1.
    """
    names = list(grids)
    arrays = [np.asarray(grids[name], float) for name in names]

    def rank(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            ranked = [
                pa.array(_mid_ranks(column, grid), from_pandas=True)
                for column, grid in zip(_matrix(batch).T, arrays, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(ranked, [f"c{i}" for i in range(len(names))])

    numbered = frame.select(*(_finite(name).alias(f"c{i}") for i, name in enumerate(names)))
    schema = ", ".join(f"c{i} double" for i in range(len(names)))
    return numbered.mapInArrow(rank, schema).toDF(*names)


def _mid_ranks(values: NDArray, grid: NDArray) -> NDArray[np.float64]:
    below, up_to = (np.searchsorted(grid, values, side) for side in ("left", "right"))
    return np.where(np.isnan(values), np.nan, 0.5 * (below + up_to) / max(1, len(grid)))


def _matrix(batch: pa.RecordBatch) -> NDArray[np.float64]:
    """Stack columns of doubles, with NaN for null."""
    columns = (column.to_numpy(zero_copy_only=False) for column in batch.columns)
    return np.column_stack([column.astype(float) for column in columns])


def _long(frame: DataFrame, columns: Sequence[str]) -> DataFrame:
    """One row per value: name, value; one aggregate by name then serves any number of columns."""
    return frame.select(F.inline(_pairs([(name, _finite(name)) for name in columns])))


def _pairs(cells: Sequence[tuple[str, Column]]) -> Column:
    return F.array(
        *(F.struct(F.lit(name).alias("name"), value.alias("value")) for name, value in cells)
    )


def _finite(name: str) -> Column:
    value = by_name(name).cast("double")
    # NaN is greater than infinity in Spark.
    return F.when(F.abs(value) < float("inf"), value)
