"""Training sets: a snapshot of a source, and the columns chosen from it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.features.spark import profile, wide, with_labels
from sonic_lib.models import targets
from sonic_lib.models.associations import associations
from sonic_lib.models.balance import balanced_parts
from sonic_lib.models.columns import CLASSIFICATION, ColumnProfile, Columns, choose_columns
from sonic_lib.models.leaks import Leak, find_leaks, without_leaks
from sonic_lib.models.limits import label_range, seen_limits
from sonic_lib.models.membership import HELD_OUT_COLUMN, SHARES, large_groups, with_held_out
from sonic_lib.models.names import ARTISTS, find_column
from sonic_lib.models.recipe import Recipe
from sonic_lib.schemas import FEATURES
from sonic_lib.storage import tables
from sonic_lib.workflows.sources import read_source

_FINE_SHARE = 0.1  # of the rows


@dataclass(frozen=True)
class TrainingSet:
    """The rows of a training, and the recipe of the model.

    `features` are the songs with all their columns, and `texts` the names of the text columns.
    `has_fine_numbers` says that columns have so many values that equal rows must be copies.
    """

    name: str
    source: str
    labels: str | None
    version: int
    recipe: Recipe
    rows: DataFrame
    features: DataFrame
    texts: frozenset[str]
    leaks: tuple[Leak, ...] = ()
    has_fine_numbers: bool = False

    @property
    def held_out_rows(self) -> DataFrame:
        """Rows that no model is trained on; versions are evaluated on them."""
        return self.rows.filter(self.is_held_out()).drop(HELD_OUT_COLUMN)

    def is_held_out(self) -> Column:
        """Column: whether a row is held out."""
        return F.col(HELD_OUT_COLUMN)


@contextmanager
def training_set(
    spark: SparkSession,
    warehouse: str,
    *,
    name: str,
    source: str | None,
    labels: str | None = None,
    target: str | None = None,
    group: str | None = None,
    drop: Collection[str] = (),
    keep: Collection[str] = (),
    kind: str,
    seed: int,
    class_weights: bool = False,
) -> Iterator[TrainingSet]:
    """Take a snapshot of a source and choose its columns.

    Yields
    ------
    TrainingSet
        Its rows are cached inside the block.

    Raises
    ------
    UsageError, ModelError
        As `columns.choose_columns`.
    """
    version = tables.version(spark, warehouse, FEATURES)
    source, features = read_source(spark, warehouse, source, version=version)
    if labels is not None:
        _, labelled = read_source(spark, warehouse, labels, version=version)
        features = features.transform(with_labels, labels=labelled)
    profiles = _profiles(features)
    columns = choose_columns(profiles, model=name, target=target, group=group, drop=drop, keep=keep)
    n_rows = next(entry.n for entry in profiles if entry.name == columns.target)
    leaks = tuple(leaks_of(features, columns, n_rows=n_rows))
    columns = without_leaks(columns, leaks, keep=columns.kept)
    numbers, texts = columns.trained_on
    frame = wide(features, numbers=numbers, texts=texts).persist()
    classes: tuple[str, ...] = ()
    if columns.task == CLASSIFICATION:
        counts = targets.class_counts(frame, target=columns.target).collect()  # one row per class
        classes = tuple(sorted(row.label for row in counts))
    recipe = Recipe(columns, classes, kind, seed, class_weights)
    rows = targets.labelled(frame, columns=columns, classes=classes)
    parts = held_out_parts(rows, group=columns.group, has_classes=bool(classes))
    rows = rows.transform(with_held_out, group=columns.group, parts=parts)
    names = frozenset(entry.name for entry in profiles if entry.kind == "text")
    fine = [
        entry.name
        for entry in profiles
        if entry.name in columns.numbers and entry.n_distinct >= _FINE_SHARE * entry.n
    ]
    data = TrainingSet(
        *(name, source, labels, version, recipe, rows, features, names, leaks),
        has_fine_numbers=len(fine) > 1,
    )
    try:
        yield data
    finally:
        frame.unpersist()


def held_out_parts(
    rows: DataFrame, *, group: str | None, has_classes: bool
) -> dict[str, int] | None:
    """Assign large groups to the held-out or the other rows; collects one row per class of each."""
    if group is None:
        return None
    counts = rows.transform(large_groups, group=group, has_classes=has_classes).toPandas()
    return balanced_parts(counts, shares=SHARES)


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


def limits_of(data: TrainingSet, wanted: Sequence[float] | None) -> tuple[float, float] | None:
    """Return the range of a numeric target: the given one, or that of the labels."""
    if data.recipe.columns.task == CLASSIFICATION:
        return None
    if wanted is not None:
        return float(wanted[0]), float(wanted[1])
    return seen_limits(**data.rows.transform(label_range).first().asDict())


def _profiles(features: DataFrame) -> list[ColumnProfile]:
    """Profile the columns; collects one row per name, whatever the number of songs."""
    found = sorted(profile(features).collect(), key=lambda row: row.name)
    return [ColumnProfile(*row) for row in found]
