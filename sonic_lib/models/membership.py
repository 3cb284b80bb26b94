"""Decide which rows are held out, and find the rows that a model was trained on.

Rows are held out by the hash of their key or group.  They are the same for every version of a
model, so versions can be compared on rows that none of them has seen.  A model's card and snapshot
are enough to reconstruct the split.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sonic_lib.features.spark import wide, with_labels
from sonic_lib.models import splits, targets
from sonic_lib.models.columns import Columns
from sonic_lib.models.stages import LABEL

HELD_OUT_SHARE, HELD_OUT_SEED = 0.2, 20_221
SHARES = (HELD_OUT_SHARE, 1 - HELD_OUT_SHARE)
HELD_OUT_COLUMN = "_held_out"
# Values of `fitted_on` in a card; older cards lack it.
ALL_ROWS, OTHER_ROWS = "all rows", "rows not held out"


def large_groups(rows: DataFrame, *, group: str, has_classes: bool) -> DataFrame:
    """Count the rows in large groups, as `splits.large_groups`.

    Parameters
    ----------
    rows : DataFrame
        From `targets.labelled`.
    group : str
        Column whose values are never split.
    has_classes : bool
        Whether labels are classes; then each part gets its share of every class.
    """
    return splits.large_groups(
        rows,
        shares=SHARES,
        seed=HELD_OUT_SEED,
        purpose=splits.HELD_OUT,
        group=group,
        label=LABEL if has_classes else None,
    )


def with_held_out(
    rows: DataFrame, *, group: str | None, parts: Mapping[str, int] | None
) -> DataFrame:
    """Add `_held_out`: whether no model is trained on the row.

    Parameters
    ----------
    rows : DataFrame
        From `targets.labelled`.
    group : str or None
        Column whose values are never split.
    parts : mapping or None
        From `balance.balanced_parts` with `large_groups` and SHARES; part 0 is held out. None
        reproduces the split of earlier versions: groups by hash only.
    """
    by_hash = splits.is_held_out(share=HELD_OUT_SHARE, seed=HELD_OUT_SEED, group=group)
    part = F.when(by_hash, 0).otherwise(1)
    split = splits.with_part(rows, name=HELD_OUT_COLUMN, by_hash=part, group=group, parts=parts)
    return split.withColumn(HELD_OUT_COLUMN, F.col(HELD_OUT_COLUMN) == 0)


def labelled_rows(features: DataFrame, *, card: dict, labels: DataFrame | None = None) -> DataFrame:
    """Reconstruct the rows that were split for a model, as from `targets.labelled`.

    Parameters
    ----------
    features, labels : DataFrame [schemas.FEATURES]
        Rows of the sources, at the table version, that the card names.
    card : dict
        From the registry.
    """
    if labels is not None:
        features = features.transform(with_labels, labels=labels)
    columns = Columns.from_card(card["columns"])
    names = [(columns.target, columns.target_is_number)]
    if columns.group not in (None, columns.target):
        names.append((columns.group, columns.group_is_number))
    frame = wide(
        features,
        numbers=[name for name, is_number in names if is_number],
        texts=[name for name, is_number in names if not is_number],
    )
    return targets.labelled(frame, columns=columns, classes=card["classes"])
