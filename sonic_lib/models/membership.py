"""Decide which rows are held out, and find the rows that a model was trained on.

Rows are held out by the hash of their key or group.  They are the same for every version of a
model, so versions can be compared on rows that none of them has seen.  A model's card and snapshot
are enough to reconstruct the split.
"""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sonic_lib.features.spark import wide, with_labels
from sonic_lib.models import splits, targets
from sonic_lib.models.columns import Columns
from sonic_lib.models.stages import LABEL

HELD_OUT_SHARE, HELD_OUT_SEED = 0.2, 20_221
HELD_OUT_COLUMN = "_held_out"
# Values of `fitted_on` in a card; older cards lack it.
ALL_ROWS, OTHER_ROWS = "all rows", "rows not held out"


def with_held_out(
    rows: DataFrame, *, group: str | None, has_classes: bool, is_balanced: bool = True
) -> DataFrame:
    """Add `_held_out`: whether no model is trained on the row.

    With a group this runs a job, `splits.balanced_parts`.

    Parameters
    ----------
    rows : DataFrame
        From `targets.labelled`.
    group : str or None
        Column whose values are never split.
    has_classes : bool
        Whether labels are classes; then each part gets its share of every class.
    is_balanced : bool
        False reproduces the split of earlier versions: groups by hash only.
    """
    parts = None
    if group is not None and is_balanced:
        parts = splits.balanced_parts(
            rows,
            shares=(HELD_OUT_SHARE, 1 - HELD_OUT_SHARE),
            seed=HELD_OUT_SEED,
            purpose=splits.HELD_OUT,
            group=group,
            label=LABEL if has_classes else None,
        )
    return splits.with_held_out(
        rows,
        share=HELD_OUT_SHARE,
        seed=HELD_OUT_SEED,
        name=HELD_OUT_COLUMN,
        group=group,
        parts=parts,
    )


def training_songs(
    features: DataFrame, *, card: dict, labels: DataFrame | None = None, by_judge: bool = False
) -> DataFrame:
    """Songs that a model was trained on: song_id.

    Parameters
    ----------
    features, labels : DataFrame [schemas.FEATURES]
        Rows of the sources, at the table version, that the card names.
    card : dict
        From the registry.
    by_judge : bool
        For a model that was refitted on all rows: return the training songs of its evaluation
        model, which is the one used to compare versions.
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
    rows = targets.labelled(frame, columns=columns, classes=card["classes"])
    if card.get("fitted_on") == ALL_ROWS and not by_judge:
        return rows.select("song_id")
    held_out = with_held_out(
        rows,
        group=columns.group,
        has_classes=bool(card["classes"]),
        is_balanced="fitted_on" in card,
    )
    return held_out.filter(~F.col(HELD_OUT_COLUMN)).select("song_id")
