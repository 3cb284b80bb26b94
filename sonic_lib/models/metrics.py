"""Metrics of scored frames (docs/models.md): Spark aggregates first, then numpy on the result.

Aggregates have one row per pair of classes, or a fixed number of rows, whatever the number of
songs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def predicted() -> Column:
    """Column: the most likely class of a scored frame; ties go to the lowest index."""
    return (F.array_position("probabilities", F.array_max("probabilities")) - 1).cast("int")


def confusion(scored: DataFrame) -> DataFrame:
    """Count the confusions of classes.

    Returns
    -------
    DataFrame
        label, predicted (int), n, log_loss (nats, sum over the rows).
    """
    # Clipped, so that one certain but wrong prediction does not make the loss infinite.
    probability = F.greatest(F.get("probabilities", F.col("label")), F.lit(1e-15))
    return scored.groupBy("label", predicted().alias("predicted")).agg(
        F.count("*").alias("n"), F.sum(-F.log(probability)).alias("log_loss")
    )


def confusion_matrix(counts: pd.DataFrame, *, n_classes: int) -> NDArray[np.int64]:
    """Return the counts of `confusion` as a matrix [shape=(K, K)], rows are the truth."""
    matrix = np.zeros((n_classes, n_classes), dtype=np.int64)
    matrix[counts["label"], counts["predicted"]] = counts["n"]
    return matrix


def class_scores(matrix: NDArray[np.int64], *, classes: Sequence[str]) -> pd.DataFrame:
    """Score each class.

    Parameters
    ----------
    matrix : np.ndarray [shape=(K, K)]
        Rows are the truth.
    classes : sequence of str

    Returns
    -------
    pandas.DataFrame
        label, support (rows of the class), precision, recall, f1 (0-1; 0 if none is right);
        classes with most rows first.
    """
    right = np.diag(matrix).astype(float)
    support, n_predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    scores = pd.DataFrame(
        {
            "label": list(classes),
            "support": support,
            "precision": right / np.maximum(n_predicted, 1),
            "recall": right / np.maximum(support, 1),
            "f1": 2 * right / np.maximum(n_predicted + support, 1),
        }
    )
    return scores.sort_values(["support", "label"], ascending=[False, True], ignore_index=True)


def class_metrics(counts: pd.DataFrame, *, classes: Sequence[str]) -> dict[str, float]:
    """Score a classification.

    Parameters
    ----------
    counts : pandas.DataFrame
        From `confusion`.
    classes : sequence of str

    Returns
    -------
    dict
        n (rows), f1_micro (the accuracy, with one class per row), f1_macro (mean over the classes
        that occur), log_loss (nats per row).
    """
    matrix = confusion_matrix(counts, n_classes=len(classes))
    scores = class_scores(matrix, classes=classes)
    n_rows = int(matrix.sum())
    return {
        "n": n_rows,
        "f1_micro": float(np.trace(matrix) / n_rows),
        "f1_macro": float(scores.loc[scores["support"] > 0, "f1"].mean()),
        "log_loss": float(counts["log_loss"].sum() / n_rows),
    }


def regression_metrics(scored: DataFrame) -> DataFrame:
    """Score a regression.

    Returns
    -------
    DataFrame
        One row: n, r2 (1: perfect, 0: as good as the mean; null if the target does not vary),
        rmse, mae (in the target's unit).
    """
    error = F.col("target") - F.col("prediction")
    squares = F.sum(error * error)
    return scored.agg(
        F.count("*").alias("n"),
        (1 - squares / F.nullif(F.var_pop("target") * F.count("*"), F.lit(0.0))).alias("r2"),
        F.sqrt(squares / F.count("*")).alias("rmse"),
        F.avg(F.abs(error)).alias("mae"),
    )


def residual_counts(scored: DataFrame, *, low: float, high: float, n_bins: int = 50) -> DataFrame:
    """Count rows by predicted and true value, for a plot.

    Parameters
    ----------
    low, high : float
        Range of both; values outside go to the outer bins.
    n_bins : int

    Returns
    -------
    DataFrame
        predicted_bin, target_bin (0 to n_bins - 1), n.
    """

    def bin_of(name: str) -> Column:
        place = F.floor((F.col(name) - low) / (high - low) * n_bins)
        return F.least(F.greatest(place, F.lit(0)), F.lit(n_bins - 1)).cast("int")

    bins = (bin_of("prediction").alias("predicted_bin"), bin_of("target").alias("target_bin"))
    return scored.groupBy(*bins).agg(F.count("*").alias("n"))
