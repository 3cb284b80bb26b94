"""Between which values a number that is learned lies: seen in the data, or given."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sonic_lib.models.stages import LABEL

# Of so few labels none need have come near a limit.
_MIN_LABELS = 30
# A scale's end is one that labels come near: a share of 1, a percentage of 100.
_NEAR_SHARE, _NEAR_PERCENT = 0.8, 80.0


def label_range(rows: DataFrame) -> DataFrame:
    """Say of labels, in one row: n, low, high, and whether all are whole numbers.

    Parameters
    ----------
    rows : DataFrame
        From `training.labelled`.
    """
    label = F.col(LABEL)
    return rows.agg(
        F.count(label).alias("n"),
        F.min(label).alias("low"),
        F.max(label).alias("high"),
        F.coalesce(F.bool_and(label == F.floor(label)), F.lit(False)).alias("are_whole"),
    )


def seen_limits(
    *, n: int, low: float | None, high: float | None, are_whole: bool
) -> tuple[float, float] | None:
    """Say between which values labels lie by their nature; infinite where there is no end.

    What is never below 0 is taken for an amount or a share. Its upper end is 1 or 100 if labels
    come near it: of whole numbers to 80 and more, of others to 99 and more.

    Examples
    --------
    >>> seen_limits(n=500, low=0.0, high=97.0, are_whole=True)
    (0.0, 100.0)
    >>> seen_limits(n=500, low=61.2, high=213.0, are_whole=False)
    (0.0, inf)
    >>> seen_limits(n=500, low=-31.0, high=0.4, are_whole=False) is None
    True
    """
    if n < _MIN_LABELS or low is None or high is None or low < 0:
        return None
    if _NEAR_SHARE <= high <= 1:
        return 0.0, 1.0
    if (_NEAR_PERCENT if are_whole else 99.0) <= high <= 100:
        return 0.0, 100.0
    return 0.0, float("inf")


def to_card(limits: tuple[float, float] | None) -> list[float | None] | None:
    """Give limits as a card has them: JSON knows no infinite numbers."""
    if limits is None:
        return None
    return [None if abs(end) == float("inf") else float(end) for end in limits]


def from_card(told: Sequence[float | None] | None) -> tuple[float, float] | None:
    """Give the limits that `to_card` told."""
    if not told:
        return None
    low, high = told
    return (float("-inf") if low is None else low, float("inf") if high is None else high)
