"""Conformal intervals of a regression, as Spark aggregates and column expressions.

Errors of songs that the model was not trained on are divided by the expected error
(`difficulty`).  The ceil((n + 1) confidence)-th smallest of n such scores, times the difficulty, is
the half-width of the interval of a new song (normalised split conformal prediction;
Papadopoulos, Gammerman and Vovk 2008; Lei et al., JASA 2018).
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def error_scores(scored: DataFrame) -> DataFrame:
    """Add `score`, the absolute error divided by `difficulty`.

    Parameters
    ----------
    scored : DataFrame with target, prediction, difficulty (> 0)
    """
    error = F.abs(F.col("target") - F.col("prediction"))
    return scored.withColumn("score", error / F.col("difficulty"))


def intervals(
    predicted: DataFrame,
    *,
    threshold: float | Column | None,
    limits: tuple[float, float] | None = None,
) -> DataFrame:
    """Add low and high, and clip the prediction.

    Parameters
    ----------
    predicted : DataFrame with prediction, difficulty
    threshold : float, Column or None
        From `sets.thresholds` of `error_scores`; None gives infinite intervals.
    limits : (float, float), optional
        Range of the target, to which predictions and intervals are clipped.
    """
    reach = F.lit(float("inf") if threshold is None else threshold) * F.col("difficulty")
    prediction = F.col("prediction")
    values = {"low": prediction - reach, "prediction": prediction, "high": prediction + reach}
    if limits is not None:
        bottom, top = (F.lit(float(limit)) for limit in limits)
        values = {k: F.least(F.greatest(value, bottom), top) for k, value in values.items()}
    return predicted.withColumns(values)


def coverage(ranges: DataFrame, *, by: Sequence[str] = ()) -> DataFrame:
    """Measure coverage and mean width of intervals.

    Parameters
    ----------
    ranges : DataFrame with target, low, high

    Returns
    -------
    DataFrame
        The columns of `by`, n, n_covered, mean_width.
    """
    return ranges.groupBy(*by).agg(
        F.count("*").alias("n"),
        F.count_if(F.col("target").between(F.col("low"), F.col("high"))).alias("n_covered"),
        F.avg(F.col("high") - F.col("low")).alias("mean_width"),
    )


def coverage_curve(
    scored: DataFrame,
    *,
    levels: Sequence[tuple[float, float | None]],
    limits: tuple[float, float] | None = None,
) -> DataFrame:
    """Measure the intervals of several confidences in one pass.

    Parameters
    ----------
    scored : DataFrame with target, prediction, difficulty
    levels : sequence of (confidence, threshold)
    limits : (float, float), optional
        As in `intervals`.

    Returns
    -------
    DataFrame
        As from `coverage`, with confidence; one row per confidence.
    """
    entries = [
        F.struct(
            F.lit(float(confidence)).alias("confidence"),
            F.lit(float("inf") if threshold is None else float(threshold)).alias("threshold"),
        )
        for confidence, threshold in levels
    ]
    return (
        scored.withColumn("level", F.explode(F.array(*entries)))
        .transform(intervals, threshold=F.col("level.threshold"), limits=limits)
        .transform(coverage, by=["level.confidence"])
        .orderBy("confidence")
    )
