"""Folds and held-out rows by hash: the same on any cluster, and in any order of the rows.

Conventions
-----------
A row is told by its `key`. Rows with one value of `group` stay together; a row without a value is
a group of its own. `purpose` keeps splits apart that must not depend on one another, such as the
folds of a cross-validation and those inside its training rows.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

FOLDS, INNER_FOLDS, HELD_OUT = "folds", "inner folds", "held out"

_N_STEPS = 10_000  # a share of rows is right to one part in this many
_SEPARATOR = "\x1f"


def bucket(
    *, n_buckets: int, seed: int, purpose: str, key: str = "song_id", group: str | None = None
) -> Column:
    """Column: the bucket of a row, 0 to n_buckets - 1.

    Parameters
    ----------
    n_buckets : int > 0
    seed : int
        Another one gives another split.
    purpose : str
        FOLDS, INNER_FOLDS or HELD_OUT.
    key, group : str
        Column that tells rows apart; column whose rows stay together.
    """
    own = F.concat(F.lit(f"row{_SEPARATOR}"), _column(key).cast("string"))
    together = own
    if group is not None:
        shared = F.concat(F.lit(f"group{_SEPARATOR}"), _column(group).cast("string"))
        together = F.coalesce(shared, own)
    return F.pmod(F.xxhash64(F.lit(f"{purpose}{_SEPARATOR}{seed}"), together), n_buckets).cast(
        "int"
    )


def is_held_out(
    *, share: float, seed: int, key: str = "song_id", group: str | None = None
) -> Column:
    """Column: whether a row is kept from training, to judge a model by.

    Parameters
    ----------
    share : float
        Of the rows, 0 to 1.
    seed, key, group
        As in `bucket`.
    """
    place = bucket(n_buckets=_N_STEPS, seed=seed, purpose=HELD_OUT, key=key, group=group)
    return place < round(share * _N_STEPS)


def with_folds(
    frame: DataFrame,
    *,
    n_folds: int,
    seed: int,
    purpose: str = FOLDS,
    name: str = "_fold",
    key: str = "song_id",
    group: str | None = None,
) -> DataFrame:
    """Add the fold of each row, 0 to n_folds - 1, as the int column `name`."""
    fold = bucket(n_buckets=n_folds, seed=seed, purpose=purpose, key=key, group=group)
    return frame.withColumn(name, fold)


def _column(name: str) -> Column:
    return F.col(f"`{name}`")
