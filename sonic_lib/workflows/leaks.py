"""Search a source for columns that leak the target."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sonic_lib.features.spark import wide
from sonic_lib.models.associations import (
    associations,
    by_place,
    n_bins,
    number_ranges,
    pair_counts,
    sampled,
)
from sonic_lib.models.columns import Columns
from sonic_lib.models.leaks import Leak, find_leaks
from sonic_lib.models.names import ARTISTS


def leaks_of(features: DataFrame, columns: Columns) -> list[Leak]:
    """Find the columns that leak the target; the group column is not considered.

    Parameters
    ----------
    features : DataFrame [schemas.FEATURES]
    columns : Columns
        As chosen by names and counts.
    """
    numbers, texts = (
        [name for name in names if name not in (columns.target, columns.group)]
        for names in columns.needed
    )
    # The group is not a leak: new songs have artists, too, and splits by group keep artists apart.
    texts = [name for name in texts if name.lower() not in ARTISTS]
    (numbers if columns.target_is_number else texts).append(columns.target)
    frame = wide(features, numbers=numbers, texts=texts)
    frame = frame.filter(F.col(f"`{columns.target}`").isNotNull())
    n_rows = frame.count()
    if not n_rows:
        return []
    if len(numbers) + len(texts) == 1:
        return []
    found = []  # one row per column
    if numbers:
        found = number_ranges(frame, numbers=numbers, n_bins=n_bins(n_rows)).collect()
    sample = sampled(frame, n_rows=n_rows)
    n_sampled = n_rows if sample is frame else sample.count()
    ranges = by_place([row.asDict() for row in found], n_rows=n_sampled)
    pairs = pair_counts(
        sample, texts=texts, numbers=numbers, target=columns.target, ranges=ranges
    ).persist()
    try:
        rows = pairs.transform(associations, n_rows=n_sampled).collect()  # one row per column
    finally:
        pairs.unpersist()
    return find_leaks(
        [row.asDict() for row in rows], columns=columns, numbers=numbers, ranges=ranges
    )
