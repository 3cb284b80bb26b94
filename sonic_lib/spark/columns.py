"""Names and texts from users in columns and SQL, and samples by hash."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F


def column(name: str) -> Column:
    """Column by name, which may contain any character."""
    return F.col("`" + name.replace("`", "``") + "`")


def sql_text(text: str) -> str:
    """Quote a string for SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def is_sampled(share: float, *, seed: int | None = None) -> Column:
    """Column: whether a song is in a sample: the same on any cluster, for any order of the rows.

    Parameters
    ----------
    share : float
        Of the songs, 0 to 1.
    seed : int, optional
        Another seed gives another sample.
    """
    given = [] if seed is None else [F.lit(seed)]
    return F.pmod(F.xxhash64(*given, "song_id"), F.lit(2**20)) < int(share * 2**20)
