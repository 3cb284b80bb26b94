"""Measure how well each column predicts the target, and the target each column.

DataFrame -> DataFrame.  A column is scored leave-one-out: each row is predicted by the most
frequent class, or the mean, of the other rows with the same value.  Values that occur only once do
not count, so an album with a single song does not look like a leak.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

MAX_ROWS = 1_000_000  # larger tables are sampled by hash
SHAPE = "\x1fwithout digits"  # suffix of a text column's name when its digits are masked
_MAX_BINS, _ROWS_PER_BIN = 200, 20
_SEED = 20_222


def number_ranges(frame: DataFrame, *, numbers: Sequence[str], n_bins: int) -> DataFrame:
    """Describe number columns, one row per column.

    Returns
    -------
    DataFrame
        place (index in `numbers`), edges (array of double, the inner bin edges), n, low, high,
        mean, deviation, whole (whether all values are integers), distinct (within 5 %).
    """
    shares = [place / n_bins for place in range(1, n_bins)]
    # One row per value, not one aggregate per column: Spark plans and compiles each aggregate.
    entries = [
        F.struct(F.lit(place).alias("place"), _column(name).cast("double").alias("x"))
        for place, name in enumerate(numbers)
    ]
    x = F.col("x")
    return (
        frame.select(F.inline(F.array(*entries)))
        .groupBy("place")
        .agg(
            F.percentile_approx(x, shares, 1000).alias("edges"),
            F.count(x).alias("n"),
            F.min(x).alias("low"),
            F.max(x).alias("high"),
            F.avg(x).alias("mean"),
            F.stddev_pop(x).alias("deviation"),
            F.coalesce(F.bool_and(x == F.floor(x)), F.lit(False)).alias("whole"),
            F.approx_count_distinct(x).alias("distinct"),
        )
    )


def by_place(rows: Sequence[dict], *, n_rows: int) -> dict:
    """Flatten the rows of `number_ranges` to edges_<i>, n_<i>, low_<i> …; `n` is `n_rows`."""
    named = {
        f"{field}_{row['place']}": value
        for row in rows
        for field, value in row.items()
        if field != "place"
    }
    return named | {"n": n_rows}


def pair_counts(
    frame: DataFrame, *, texts: Sequence[str], numbers: Sequence[str], target: str, ranges: dict
) -> DataFrame:
    """Count the pairs of a column's value and the target; numbers are binned.

    Parameters
    ----------
    frame : DataFrame with `texts`, `numbers` and `target`
        Every row has a target.  A numeric target is also the last of `numbers`.
    ranges : dict
        From `by_place`, of `numbers`.

    Returns
    -------
    DataFrame
        One row per pair: name (of the column; one with its digits masked ends in SHAPE), value,
        label, n (rows), y and yy (sums of the standardised target and of its square), x and xx
        (the same of the column).
    """
    binned = _binned(frame, numbers, ranges)
    is_number = target in numbers
    place = list(numbers).index(target) if is_number else -1
    label = F.col(f"_bin_{place}") if is_number else F.trim(_column(target).cast("string"))
    y = _standardised(target, place, ranges) if is_number else F.lit(0.0)
    nothing = F.lit(None).cast("double")
    cells = [
        _entry(name + shape, value, nothing)
        for name in texts
        if name != target
        for shape, value in {"": _column(name), SHAPE: _without_digits(name)}.items()
    ]
    cells += [
        _entry(name, F.col(f"_bin_{i}").cast("int"), _standardised(name, i, ranges))
        for i, name in enumerate(numbers)
        if name != target
    ]
    entries = binned.select(
        label.cast("string").alias("label"), y.alias("y"), F.inline(F.array(*cells))
    ).filter("value IS NOT NULL AND label IS NOT NULL")
    return entries.groupBy("name", "value", "label").agg(
        F.count("*").alias("n"),
        F.sum("y").alias("y"),
        F.sum(F.col("y") * F.col("y")).alias("yy"),
        F.sum("x").alias("x"),
        F.sum(F.col("x") * F.col("x")).alias("xx"),
    )


def associations(pairs: DataFrame, *, n_rows: int) -> DataFrame:
    """Measure how well each column predicts the target, and the target each column.

    Parameters
    ----------
    pairs : DataFrame
        From `pair_counts`.  It is read four times: cache it, since its plan grows with the columns.
    n_rows : int
        Rows counted.

    Returns
    -------
    DataFrame
        One row per name of `pairs`: name; n (rows whose value occurs more than once); coverage
        (their share of all rows); n_values; accuracy (of the most frequent class of the value),
        base (share of the most frequent class overall) and r2.  back_accuracy, back_base and
        back_r2 score the opposite direction, in sample: the column predicted from the target, or
        from quantiles of a numeric target.
    """
    return _target_given_column(pairs, n_rows=n_rows).join(_column_given_target(pairs), "name")


def n_bins(n_rows: int) -> int:
    """Number of quantile bins for numbers."""
    return max(2, min(_MAX_BINS, n_rows // _ROWS_PER_BIN))


def sampled(frame: DataFrame, *, n_rows: int) -> DataFrame:
    """Sample about MAX_ROWS rows by the hash of song_id, if there are more."""
    if n_rows <= MAX_ROWS:
        return frame
    place = F.pmod(F.xxhash64(F.lit(_SEED), "song_id"), F.lit(2**20))
    return frame.filter(place < int(2**20 * MAX_ROWS / n_rows))


def _without_digits(name: str) -> Column:
    """Replace each run of digits by 0: rock.00017.wav becomes rock.0.wav."""
    text = _column(name)
    return F.when(text.rlike("[0-9]"), F.regexp_replace(text, "[0-9]+", "0"))


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


def _target_given_column(pairs: DataFrame, *, n_rows: int) -> DataFrame:
    """Score the target as predicted from each column, leave-one-out."""
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
    missed = others * others * _squared_deviations("y", "yy")
    sums = by_value.groupBy("name").agg(
        F.sum("n").alias("n"),
        F.count("*").alias("n_values"),
        F.sum(right).alias("right"),
        F.sum(missed).alias("missed"),
        F.sum("y").alias("y"),
        F.sum("yy").alias("yy"),
    )
    base = _largest_share(pairs, by="label").withColumnRenamed("share", "base")
    return sums.join(base, "name").select(
        "name",
        "n",
        (F.col("n") / n_rows).alias("coverage"),
        "n_values",
        (F.col("right") / F.col("n")).alias("accuracy"),
        "base",
        _r2(total=_squared_deviations("y", "yy")).alias("r2"),
    )


def _column_given_target(pairs: DataFrame) -> DataFrame:
    """Score each column as predicted from the target, in sample: classes have many rows."""
    by_label = pairs.groupBy("name", "label").agg(
        F.sum("n").alias("n"),
        F.max("n").alias("most"),
        F.sum("x").alias("x"),
        F.sum("xx").alias("xx"),
    )
    sums = by_label.groupBy("name").agg(
        F.sum("n").alias("n"),
        F.sum("most").alias("most"),
        F.sum(_squared_deviations("x", "xx")).alias("missed"),
        F.sum("x").alias("x"),
        F.sum("xx").alias("xx"),
    )
    base = _largest_share(pairs, by="value").withColumnRenamed("share", "back_base")
    return sums.join(base, "name").select(
        "name",
        (F.col("most") / F.col("n")).alias("back_accuracy"),
        "back_base",
        _r2(total=_squared_deviations("x", "xx")).alias("back_r2"),
    )


def _squared_deviations(total: str, squares: str) -> Column:
    """Column: sum of squared deviations from the mean, of `n` values with these two sums."""
    return F.col(squares) - F.col(total) * F.col(total) / F.col("n")


def _r2(*, total: Column) -> Column:
    return 1 - F.col("missed") / F.nullif(total, F.lit(0.0))


def _largest_share(pairs: DataFrame, *, by: str) -> DataFrame:
    """Share of the most frequent value of each column: name, share."""
    counts = pairs.groupBy("name", by).agg(F.sum("n").alias("n"))
    return counts.groupBy("name").agg((F.max("n") / F.sum("n")).alias("share"))


def _column(name: str) -> Column:
    return F.col(f"`{name}`")
