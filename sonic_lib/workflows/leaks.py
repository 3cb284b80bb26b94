"""Search a source for columns that leak the target."""

from __future__ import annotations

from pyspark.sql import DataFrame

from sonic_lib.models.associations import associations
from sonic_lib.models.columns import Columns
from sonic_lib.models.leaks import Leak, find_leaks
from sonic_lib.models.names import ARTISTS, find_column


def leaks_of(features: DataFrame, columns: Columns, *, n_rows: int) -> list[Leak]:
    """Find the columns that leak the target; the group column is not considered.

    Parameters
    ----------
    features : DataFrame [schemas.FEATURES]
    columns : Columns
        As chosen by names and counts.
    n_rows : int
        Rows with a target, about.
    """
    numbers, texts = (
        [name for name in names if name not in (columns.target, columns.group)]
        for names in columns.needed
    )
    # The group is not a leak: new songs have artists, too, and splits by group keep artists apart.
    texts = [name for name in texts if find_column(ARTISTS, [name]) is None]
    if not n_rows or not (numbers or texts):
        return []
    scored = associations(
        features,
        numbers=numbers,
        texts=texts,
        target=columns.target,
        target_is_number=columns.target_is_number,
        n_rows=n_rows,
    )
    rows = scored.collect()  # one or two rows per column
    return find_leaks([row.asDict() for row in rows], columns=columns)
