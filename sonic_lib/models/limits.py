"""The range of a numeric target: given, or guessed from the data."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sonic_lib.models.stages import LABEL

# With fewer labels, the limits may simply not have been reached.
_MIN_LABELS = 30
# How close labels must come to the end of their scale, 1 for a share or 100 for a percentage.
_NEAR_SHARE, _NEAR_PERCENT = 0.8, 80.0


def label_range(rows: DataFrame) -> DataFrame:
    """Summarise labels in one row: n, low, high, are_whole.

    Parameters
    ----------
    rows : DataFrame
        From `targets.labelled`.
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
    """Guess the range of labels; infinite where there is no limit.

    Labels that are never negative are taken as an amount, a share or a percentage.  The upper limit
    is 1 if the largest label is 0.8 to 1, and 100 if it is 80 to 100 (99 to 100 unless all labels
    are integers).  Returns None for other labels, or too few.

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
    """Convert limits for a card: JSON has no infinite numbers."""
    if limits is None:
        return None
    return [None if abs(end) == float("inf") else float(end) for end in limits]


def from_card(stored: Sequence[float | None] | None) -> tuple[float, float] | None:
    """Read what `to_card` returned."""
    if not stored:
        return None
    low, high = stored
    return (float("-inf") if low is None else low, float("inf") if high is None else high)
