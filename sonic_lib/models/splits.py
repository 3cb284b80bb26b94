"""Assign folds and held-out rows by hash: the same on any cluster, for any order of the rows.

Conventions
-----------
`key` identifies a row. Rows with the same value of `group` stay together; a row without a value is
a group of its own. `purpose` makes splits independent of one another, such as the folds of a
cross-validation and the inner folds within its training rows.

With hashes alone, a few large groups could leave a part nearly empty or without a class, so
`balance.balanced_parts` assigns those of `large_groups` explicitly: the mapping `parts`, from the
values of `group` as texts to numbers of parts. There are never many of them; the many small groups
balance out by hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from sonic_lib.schemas import SPLIT_PARTS
from sonic_lib.spark.columns import column

FOLDS, INNER_FOLDS, HELD_OUT = "folds", "inner folds", "held out"

_N_STEPS = 10_000  # resolution of shares
_SEPARATOR = "\x1f"
# A group with this share of the rows is large; there are at most 1 / share of them.
_LARGE_SHARE = 1 / 2000
_GROUP, _PART = SPLIT_PARTS.names


def bucket(
    *, n_buckets: int, seed: int, purpose: str, key: str = "song_id", group: str | None = None
) -> Column:
    """Column: the bucket of a row, 0 to n_buckets - 1.

    Parameters
    ----------
    n_buckets : int > 0
    seed : int
        Another seed gives another split.
    purpose : str
        FOLDS, INNER_FOLDS or HELD_OUT.
    key, group : str
        Column that identifies a row; column whose rows stay together.
    """
    own = F.concat(F.lit(f"row{_SEPARATOR}"), column(key).cast("string"))
    together = own
    if group is not None:
        shared = F.concat(F.lit(f"group{_SEPARATOR}"), column(group).cast("string"))
        together = F.coalesce(shared, own)
    return F.pmod(F.xxhash64(F.lit(f"{purpose}{_SEPARATOR}{seed}"), together), n_buckets).cast(
        "int"
    )


def is_held_out(*, share: float, seed: int, group: str | None = None) -> Column:
    """Column: whether a row is held out from training.

    Parameters
    ----------
    share : float
        Of the rows, 0 to 1.
    seed, group
        As in `bucket`.
    """
    place = bucket(n_buckets=_N_STEPS, seed=seed, purpose=HELD_OUT, group=group)
    return place < round(share * _N_STEPS)


def with_folds(
    frame: DataFrame,
    *,
    n_folds: int,
    seed: int,
    purpose: str = FOLDS,
    name: str = "_fold",
    group: str | None = None,
    parts: Mapping[str, int] | None = None,
) -> DataFrame:
    """Add the fold of each row, 0 to n_folds - 1, as the int column `name`.

    Parameters
    ----------
    n_folds, seed, purpose, group
        As in `bucket`.
    parts : mapping, optional
        Of n_folds equal shares.
    """
    fold = bucket(n_buckets=n_folds, seed=seed, purpose=purpose, group=group)
    return with_part(frame, name=name, by_hash=fold, group=group, parts=parts)


def with_part(
    frame: DataFrame,
    *,
    name: str,
    by_hash: Column,
    group: str | None,
    parts: Mapping[str, int] | None,
) -> DataFrame:
    """Add the part of each row's group, or else `by_hash`, as the int column `name`."""
    if parts is None or group is None:
        return frame.withColumn(name, by_hash)
    given = frame.sparkSession.createDataFrame(list(parts.items()), SPLIT_PARTS)
    is_same = column(group).cast("string") == F.col(_GROUP)
    joined = frame.join(F.broadcast(given), is_same, "left")
    return joined.withColumn(name, F.coalesce(_PART, by_hash)).drop(_GROUP, _PART)


def large_groups(
    frame: DataFrame,
    *,
    shares: Sequence[float],
    seed: int,
    purpose: str,
    group: str,
    label: str | None = None,
) -> DataFrame:
    """Count the rows of each class in large groups, for `balance.balanced_parts`.

    Parameters
    ----------
    frame : DataFrame with `group` and `label`
    shares : sequence of float
        Of the parts, sum 1.
    seed, purpose
        As in `bucket`.
    group : str
    label : str, optional
        Column with the class; without it only the numbers of rows are balanced.

    Returns
    -------
    DataFrame
        One row per class of each of at most some 2000 groups: _group, label (string), n, first
        (the part of the group by its hash).
    """
    named = frame.select(
        column(group).cast("string").alias(_GROUP),
        (column(label).cast("string") if label else F.lit("")).alias("label"),
    )
    counts = named.groupBy(_GROUP, "label").agg(F.count("*").alias("n"))
    total = named.agg(F.count("*").alias("_total"))
    return (
        counts.filter(F.col(_GROUP).isNotNull())
        .withColumn("_size", F.sum("n").over(Window.partitionBy(_GROUP)))
        .crossJoin(F.broadcast(total))
        .filter(F.col("_size") >= F.col("_total") * _LARGE_SHARE)
        .select(_GROUP, "label", "n", _first_part(shares, seed, purpose).alias("first"))
    )


def _first_part(shares: Sequence[float], seed: int, purpose: str) -> Column:
    by_hash = partial(bucket, seed=seed, purpose=purpose, key=_GROUP, group=_GROUP)
    if np.ptp(shares) == 0:  # start from the folds of `with_folds`, so that few groups move
        return by_hash(n_buckets=len(shares))
    place = by_hash(n_buckets=_N_STEPS)
    ends = np.cumsum(shares)[:-1] * _N_STEPS
    return sum(((place >= round(float(end))).cast("int") for end in ends), F.lit(0))
