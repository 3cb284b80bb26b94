"""Assign folds and held-out rows by hash: the same on any cluster, for any order of the rows.

Conventions
-----------
`key` identifies a row. Rows with the same value of `group` stay together; a row without a value is
a group of its own. `purpose` makes splits independent of one another, such as the folds of a
cross-validation and the inner folds within its training rows.

With hashes alone, a few large groups could leave a part nearly empty or without a class, so
`balanced_parts` assigns large groups explicitly. There are never many of them; the many small
groups balance out by hash.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from sonic_lib.models.balance import balanced
from sonic_lib.spark.columns import column

FOLDS, INNER_FOLDS, HELD_OUT = "folds", "inner folds", "held out"

_N_STEPS = 10_000  # resolution of shares
_SEPARATOR = "\x1f"
# A group with this share of the rows is large; there are at most 1 / share of them.
_LARGE_SHARE = 1 / 2000
_MAX_CLASSES = 50  # the rarer ones are balanced together
_GROUP, _PART = "_group", "_part"


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


def is_held_out(
    *, share: float, seed: int, key: str = "song_id", group: str | None = None
) -> Column:
    """Column: whether a row is held out from training.

    Parameters
    ----------
    share : float
        Of the rows, 0 to 1.
    seed, key, group
        As in `bucket`.
    """
    place = bucket(n_buckets=_N_STEPS, seed=seed, purpose=HELD_OUT, key=key, group=group)
    return place < round(share * _N_STEPS)


def with_held_out(
    frame: DataFrame,
    *,
    share: float,
    seed: int,
    name: str = "_held_out",
    key: str = "song_id",
    group: str | None = None,
    parts: DataFrame | None = None,
) -> DataFrame:
    """Add whether a row is held out from training, as the boolean column `name`.

    Parameters
    ----------
    share, seed, key, group
        As in `is_held_out`.
    parts : DataFrame, optional
        From `balanced_parts` with the shares (share, 1 - share); part 0 is held out.
    """
    by_hash = is_held_out(share=share, seed=seed, key=key, group=group)
    return _with_part(frame, parts, group, name, F.col(_PART) == 0, by_hash)


def with_folds(
    frame: DataFrame,
    *,
    n_folds: int,
    seed: int,
    purpose: str = FOLDS,
    name: str = "_fold",
    key: str = "song_id",
    group: str | None = None,
    parts: DataFrame | None = None,
) -> DataFrame:
    """Add the fold of each row, 0 to n_folds - 1, as the int column `name`.

    Parameters
    ----------
    n_folds, seed, purpose, key, group
        As in `bucket`.
    parts : DataFrame, optional
        From `balanced_parts` with n_folds equal shares.
    """
    fold = bucket(n_buckets=n_folds, seed=seed, purpose=purpose, key=key, group=group)
    return _with_part(frame, parts, group, name, F.col(_PART).cast("int"), fold)


def balanced_parts(
    frame: DataFrame,
    *,
    shares: Sequence[float],
    seed: int,
    purpose: str,
    group: str,
    label: str | None = None,
) -> DataFrame:
    """Assign large groups to parts so that each part has its share of rows and of each class.

    Runs a job, which collects one row per class for each of some 2000 groups.

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
        _group (string), _part (int): the same for the same rows, in any order, on any cluster.
    """
    ends = np.cumsum(shares) * _N_STEPS
    place = bucket(n_buckets=_N_STEPS, seed=seed, purpose=purpose, key=_GROUP, group=_GROUP)
    if np.ptp(shares) == 0:  # start from the folds of `with_folds`, so that few groups move
        first = bucket(n_buckets=len(shares), seed=seed, purpose=purpose, key=_GROUP, group=_GROUP)
    else:
        first = sum(
            ((place >= F.lit(round(float(end)))).cast("int") for end in ends[:-1]), F.lit(0)
        )
    large = frame.transform(_large_groups, group=group, label=label).withColumn("first", first)
    found = large.toPandas()
    rows = []
    if len(found):
        common = found.groupby("label")["n"].sum().sort_index().sort_values(kind="stable")
        rare = set(common.index[:-_MAX_CLASSES])
        found["label"] = ["" if label in rare else f"={label}" for label in found["label"]]
        counts = found.pivot_table(
            index=_GROUP, columns="label", values="n", aggfunc="sum", fill_value=0
        ).sort_index()
        firsts = found.groupby(_GROUP)["first"].first().loc[counts.index]
        chosen = balanced(
            counts.to_numpy(), shares=np.asarray(shares), start=firsts.to_numpy(np.int64)
        )
        rows = list(zip(counts.index.tolist(), chosen.tolist(), strict=True))
    return frame.sparkSession.createDataFrame(rows, f"{_GROUP} string, {_PART} int")


def _large_groups(frame: DataFrame, *, group: str, label: str | None) -> DataFrame:
    """Count the rows of each class in large groups: _group, label (string), n."""
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
        .select(_GROUP, "label", "n")
    )


def _with_part(
    frame: DataFrame,
    parts: DataFrame | None,
    group: str | None,
    name: str,
    given: Column,
    by_hash: Column,
) -> DataFrame:
    """Add the part of a row's group from `parts`, or else from its hash."""
    if parts is None or group is None:
        return frame.withColumn(name, by_hash)
    is_same = column(group).cast("string") == F.col(_GROUP)
    joined = frame.join(F.broadcast(parts), is_same, "left")
    return joined.withColumn(name, F.coalesce(given, by_hash)).drop(_GROUP, _PART)
