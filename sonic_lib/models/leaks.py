"""Find columns that leak the target; DataFrame -> DataFrame.

A column leaks if it alone predicts the target of nearly every song (a sub-genre predicts the
genre), if the target predicts it (a rounded popularity), or if it is a row number.  Scores with
such a column are too good for new songs, which lack it.

How well a column predicts the target is measured leave-one-out: each row is predicted by the most
frequent class, or the mean, of the other rows with the same value.  Values that occur only once do
not count, so albums of one song and artists of few songs are no leaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from sonic_lib.errors import ModelError
from sonic_lib.models.columns import CLASSIFICATION, Columns

MAX_ROWS = 1_000_000  # larger tables are sampled by hash
_MAX_BINS, _ROWS_PER_BIN = 200, 20
_MAX_TOLD_BACK = 500  # a text with more values is not a coarser form of the target
_NEARLY, _LEFT = 0.95, 0.25  # accuracy or R2; relative to the errors without the column
_MIN_COVERED, _MIN_ROWS_PER_VALUE = 0.5, 8
_MIN_ROWS = 30
_SEED = 20_222


@dataclass(frozen=True)
class Leak:
    """A column that leaks the target; `share` (0 to 1) is the accuracy or R2."""

    column: str
    why: str
    share: float
    n: int

    def sentence(self, target: str, *, is_kept: bool) -> str:
        """Describe the leak in a sentence or two."""
        what = {
            "tells": f"{self.column} alone tells {target}: {self.share:.1%} of it, by the other "
            f"rows with the same value ({self.n} songs)",
            "told": f"{self.column} follows from {target}: {self.share:.1%} of it",
            "place": f"{self.column} numbers the rows one by one: no new song has it",
        }[self.why]
        if is_kept:
            return (
                f"{what}. Kept as you asked: the scores owe more to this column than to the music"
            )
        return (
            f"{what}. Scores with it would be about as high, but not for new songs. "
            f"Left out; use it with --keep {self.column}"
        )


def number_ranges(frame: DataFrame, *, numbers: Sequence[str], n_bins: int) -> DataFrame:
    """Describe number columns in one row.

    Returns
    -------
    DataFrame
        n; for each column by its place: edges_<i> (array of double), n_<i>, low_<i>, high_<i>,
        mean_<i>, deviation_<i>, whole_<i> (whether all are whole), distinct_<i> (within 5 %).
    """
    shares = [place / n_bins for place in range(1, n_bins)]
    columns = [F.count("*").alias("n")]
    for place, name in enumerate(numbers):
        x = _column(name).cast("double")
        columns += [
            F.percentile_approx(x, shares, 1000).alias(f"edges_{place}"),
            F.count(x).alias(f"n_{place}"),
            F.min(x).alias(f"low_{place}"),
            F.max(x).alias(f"high_{place}"),
            F.avg(x).alias(f"mean_{place}"),
            F.stddev_pop(x).alias(f"deviation_{place}"),
            F.coalesce(F.bool_and(x == F.floor(x)), F.lit(False)).alias(f"whole_{place}"),
            F.approx_count_distinct(x).alias(f"distinct_{place}"),
        ]
    return frame.agg(*columns)


def associations(
    frame: DataFrame, *, texts: Sequence[str], numbers: Sequence[str], target: str, ranges: dict
) -> DataFrame:
    """Measure how well each column predicts the target, and the target each column.

    Parameters
    ----------
    frame : DataFrame with `texts`, `numbers` and `target`
        All rows have a target. A numeric target is also the last of `numbers`.
    ranges : dict
        The row of `number_ranges` of `numbers`.

    Returns
    -------
    DataFrame
        One row per column: name, n (rows whose value occurs again), coverage (their share of all
        rows), n_values, accuracy and base (of the most frequent class of the value, and overall),
        r2; back_accuracy, back_base, back_r2, the same for the column predicted by the target,
        which is cut at quantiles if it is a number.
    """
    binned = _binned(frame, numbers, ranges)
    is_number = target in numbers
    place = list(numbers).index(target) if is_number else -1
    label = F.col(f"_bin_{place}") if is_number else F.trim(_column(target).cast("string"))
    y = _standardised(target, place, ranges) if is_number else F.lit(0.0)
    nothing = F.lit(None).cast("double")
    entries = [_entry(name, _column(name), nothing) for name in texts if name != target] + [
        _entry(name, F.col(f"_bin_{i}").cast("int"), _standardised(name, i, ranges))
        for i, name in enumerate(numbers)
        if name != target
    ]
    entries = binned.select(
        label.cast("string").alias("label"), y.alias("y"), F.inline(F.array(*entries))
    ).filter("value IS NOT NULL AND label IS NOT NULL")
    pairs = entries.groupBy("name", "value", "label").agg(
        F.count("*").alias("n"),
        F.sum("y").alias("y"),
        F.sum(F.col("y") * F.col("y")).alias("yy"),
        F.sum("x").alias("x"),
        F.sum(F.col("x") * F.col("x")).alias("xx"),
    )
    return _told(pairs, n_rows=ranges["n"]).join(_told_back(pairs), "name")


def find_leaks(
    rows: Sequence[dict], *, columns: Columns, numbers: Sequence[str], ranges: dict
) -> list[Leak]:
    """Find leaks in the rows of `associations` and `number_ranges`; no Spark."""
    is_class = columns.task == CLASSIFICATION
    found = {}
    for place, name in enumerate(numbers):
        n, low, high = (ranges[f"{what}_{place}"] for what in ("n", "low", "high"))
        is_place = (
            name != columns.target
            and n >= _MIN_ROWS
            and ranges[f"whole_{place}"]
            and high - low + 1 == n
            and ranges[f"distinct_{place}"] >= 0.9 * n
        )
        if is_place:
            found[name] = Leak(name, "place", 1.0, n)
    for row in rows:
        n = row["n"] or 0
        if n < _MIN_ROWS or row["coverage"] < _MIN_COVERED:
            continue
        by = row["accuracy"] if is_class else row["r2"]
        rest = _LEFT * (1 - row["base"]) if is_class else 1.0
        is_common = n >= _MIN_ROWS_PER_VALUE * row["n_values"] and row["n_values"] > 1
        if is_common and by is not None and by >= _NEARLY and 1 - by <= rest:
            found[row["name"]] = Leak(row["name"], "tells", by, n)
            continue
        is_text = row["back_r2"] is None
        back = row["back_accuracy"] if is_text else row["back_r2"]
        rest = _LEFT * (1 - row["back_base"]) if is_text else 1.0
        is_coarse = row["n_values"] <= _MAX_TOLD_BACK
        if is_coarse and back is not None and back >= _NEARLY and 1 - back <= rest:
            found[row["name"]] = Leak(row["name"], "told", back, n)
    return [found[name] for name in sorted(found)]


def without_leaks(columns: Columns, leaks: Sequence[Leak], *, keep: Sequence[str]) -> Columns:
    """Exclude leaking columns, except those to keep.

    Raises
    ------
    ModelError
        If no column is left.
    """
    reasons = {"tells": "alone tells", "told": "follows from", "place": "numbers the rows, not"}
    gone = {
        leak.column: f"{reasons[leak.why]} {columns.target}"
        for leak in leaks
        if leak.column not in keep
    }
    roles: dict[str, Any] = {
        field.name: tuple(name for name in getattr(columns, field.name) if name not in gone)
        for field in fields(columns)
        if field.name != "kept" and isinstance(getattr(columns, field.name), tuple)
    }
    if not any(roles.values()):
        raise ModelError(
            f"No column is left to predict {columns.target}: {', '.join(gone)} leak it. "
            "Keep one with --keep, or add other columns with `sonic features`."
        )
    return replace(columns, dropped=columns.dropped | gone, **roles)


def n_bins(n_rows: int) -> int:
    """Number of quantile bins for numbers."""
    return max(2, min(_MAX_BINS, n_rows // _ROWS_PER_BIN))


def drawn(frame: DataFrame, *, n_rows: int) -> DataFrame:
    """Sample about MAX_ROWS rows by the hash of song_id, if there are more."""
    if n_rows <= MAX_ROWS:
        return frame
    place = F.pmod(F.xxhash64(F.lit(_SEED), "song_id"), F.lit(2**20))
    return frame.filter(place < int(2**20 * MAX_ROWS / n_rows))


def _entry(name: str, value: Column, x: Column) -> Column:
    return F.struct(F.lit(name).alias("name"), value.cast("string").alias("value"), x.alias("x"))


def _standardised(name: str, place: int, ranges: dict) -> Column:
    deviation = ranges[f"deviation_{place}"] or 1.0
    return (_column(name).cast("double") - F.lit(ranges[f"mean_{place}"] or 0.0)) / deviation


def _binned(frame: DataFrame, numbers: Sequence[str], ranges: dict) -> DataFrame:
    """Add _bin_<i>, the bin of each number; null where it is missing."""
    from pyspark.ml.feature import Bucketizer

    if not numbers:
        return frame
    infinite = float("inf")
    splits = [
        [-infinite, *sorted(set(ranges[f"edges_{i}"] or [0.0])), infinite]
        for i in range(len(numbers))
    ]
    cast = {f"_number_{i}": _column(name).cast("double") for i, name in enumerate(numbers)}
    bucketizer = Bucketizer(
        splitsArray=splits,
        inputCols=list(cast),
        outputCols=[f"_bin_{i}" for i in range(len(numbers))],
        handleInvalid="keep",
    )
    binned = bucketizer.transform(frame.withColumns(cast))
    return binned.withColumns(
        {
            f"_bin_{i}": F.when(F.col(f"_number_{i}").isNotNull(), F.col(f"_bin_{i}"))
            for i in range(len(numbers))
        }
    )


def _told(pairs: DataFrame, *, n_rows: int) -> DataFrame:
    """How well values predict the target, leave-one-out."""
    by_value = (
        pairs.groupBy("name", "value")
        .agg(
            F.sum("n").alias("n"),
            F.sort_array(F.collect_list("n"), asc=False).alias("counts"),
            F.sum("y").alias("y"),
            F.sum("yy").alias("yy"),
        )
        .filter("n > 1")
    )
    most, next_most = F.get("counts", F.lit(0)), F.coalesce(F.get("counts", F.lit(1)), F.lit(0))
    right = F.when(most - 1 > next_most, most).when(most - 1 == next_most, most / 2).otherwise(0.0)
    others = F.col("n") / (F.col("n") - 1)
    missed = others * others * (F.col("yy") - F.col("y") * F.col("y") / F.col("n"))
    sums = by_value.groupBy("name").agg(
        F.sum("n").alias("n"),
        F.count("*").alias("n_values"),
        F.sum(right).alias("right"),
        F.sum(missed).alias("missed"),
        F.sum("y").alias("y"),
        F.sum("yy").alias("yy"),
    )
    all_of = F.col("yy") - F.col("y") * F.col("y") / F.col("n")
    base = _largest_share(pairs, by="label").withColumnRenamed("share", "base")
    return sums.join(base, "name").select(
        "name",
        "n",
        (F.col("n") / n_rows).alias("coverage"),
        "n_values",
        (F.col("right") / F.col("n")).alias("accuracy"),
        "base",
        (1 - F.col("missed") / F.nullif(all_of, F.lit(0.0))).alias("r2"),
    )


def _told_back(pairs: DataFrame) -> DataFrame:
    """How well the target predicts the values of a column, leave-one-out."""
    by_label = pairs.groupBy("name", "label").agg(
        F.sum("n").alias("n"),
        F.max("n").alias("most"),
        F.sum("x").alias("x"),
        F.sum("xx").alias("xx"),
    )
    missed = F.col("xx") - F.col("x") * F.col("x") / F.col("n")
    sums = by_label.groupBy("name").agg(
        F.sum("n").alias("n"),
        F.sum("most").alias("most"),
        F.sum(missed).alias("missed"),
        F.sum("x").alias("x"),
        F.sum("xx").alias("xx"),
    )
    all_of = F.col("xx") - F.col("x") * F.col("x") / F.col("n")
    base = _largest_share(pairs, by="value").withColumnRenamed("share", "back_base")
    return sums.join(base, "name").select(
        "name",
        (F.col("most") / F.col("n")).alias("back_accuracy"),
        "back_base",
        (1 - F.col("missed") / F.nullif(all_of, F.lit(0.0))).alias("back_r2"),
    )


def _largest_share(pairs: DataFrame, *, by: str) -> DataFrame:
    """Share of the most frequent value of a column, by name: name, share."""
    counts = pairs.groupBy("name", by).agg(F.sum("n").alias("n"))
    return counts.groupBy("name").agg((F.max("n") / F.sum("n")).alias("share"))


def _column(name: str) -> Column:
    return F.col(f"`{name}`")
