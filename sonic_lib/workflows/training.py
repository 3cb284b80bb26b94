"""What `train` and `retrain` share: from features to a calibrated model and its card."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd
from pyspark.ml import PipelineModel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

import sonic_lib
from sonic_lib.features.spark import profile, wide, with_labels
from sonic_lib.models import metrics, training
from sonic_lib.models.columns import CLASSIFICATION, ColumnProfile, choose_columns
from sonic_lib.models.conformal import intervals
from sonic_lib.models.conformal import sets as conformal
from sonic_lib.models.leaks import Leak, without_leaks
from sonic_lib.models.limits import from_card, to_card
from sonic_lib.models.membership import ALL_ROWS, HELD_OUT, OTHER_ROWS, with_held_out
from sonic_lib.models.preprocess import count_shapes
from sonic_lib.models.recipe import Recipe
from sonic_lib.schemas import FEATURES
from sonic_lib.storage import tables
from sonic_lib.workflows.leaks import leaks_of
from sonic_lib.workflows.sources import read_source

CONFIDENCES = tuple(round(c / 100, 2) for c in range(50, 100))
SHOWN_CONFIDENCES = (0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class TrainingSet:
    """Rows to learn from, and all that decides what is made of them."""

    name: str
    source: str
    labels: str | None
    version: int
    recipe: Recipe
    rows: DataFrame
    leaks: tuple[Leak, ...] = ()

    @property
    def held_out_rows(self) -> DataFrame:
        """Rows that no model has seen by which a version is judged."""
        return self.rows.filter(self.is_held_out()).drop(HELD_OUT)

    def is_held_out(self) -> Column:
        """Column: whether a row is one of them."""
        return F.col(HELD_OUT)


@dataclass(frozen=True)
class TrainedModel:
    """A fitted model, its card, and what it said of the rows that were held out."""

    model: PipelineModel
    card: dict
    coverage: pd.DataFrame
    held_out: DataFrame


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
    """Snapshot a source and choose what is learned from it.

    Yields
    ------
    Lesson
        Its rows are cached while the block runs.

    Raises
    ------
    UsageError, ModelError
        As `columns.choose_columns`.
    """
    version = tables.version(spark, warehouse, FEATURES)
    source, features = read_source(spark, warehouse, source, version=version)
    if labels is not None:
        _, said = read_source(spark, warehouse, labels, version=version)
        features = features.transform(with_labels, labels=said)
    columns = choose_columns(
        _described(features), model=name, target=target, group=group, drop=drop, keep=keep
    )
    leaks = tuple(leaks_of(features, columns))
    columns = without_leaks(columns, leaks, keep=columns.kept)
    numbers, texts = columns.trained_on
    frame = wide(features, numbers=numbers, texts=texts).persist()
    classes: tuple[str, ...] = ()
    if columns.task == CLASSIFICATION:
        counts = training.class_counts(frame, target=columns.target).collect()  # a row a class
        classes = tuple(sorted(row.label for row in counts))
    recipe = Recipe(columns, classes, kind, seed, class_weights)
    rows = training.labelled(frame, columns=columns, classes=classes)
    rows = with_held_out(rows, group=columns.group, has_classes=bool(classes))
    try:
        yield TrainingSet(name, source, labels, version, recipe, rows, leaks)
    finally:
        frame.unpersist()


def train_and_evaluate(
    given: TrainingSet,
    *,
    n_folds: int,
    method: str = "lac",
    mondrian: bool = False,
    limits: tuple[float, float] | None = None,
) -> TrainedModel:
    """Cross-validate, calibrate on the rows so scored, judge on the held out, fit what serves.

    Parameters
    ----------
    given : Lesson
    n_folds : int
    method, mondrian
        As in `conformal`: how sets of genres are made.
    limits : (float, float), optional
        Between which the number that is learned lies.
    """
    recipe = given.recipe
    trained = training.train(
        given.rows, recipe=recipe, n_folds=n_folds, is_held_out=given.is_held_out()
    )
    scored, held_out = trained.folds, trained.held_out
    calibrated = _calibrated(scored, recipe=recipe, method=method, mondrian=mondrian)
    if limits is not None:
        calibrated["limits"] = to_card(limits)
    without = trained.without_texts
    card = {
        "task": recipe.columns.task,
        "columns": recipe.columns.to_card(),
        "classes": list(recipe.classes),
        "kind": recipe.kind,
        "seed": recipe.seed,
        "class_weights": recipe.class_weights,
        "metrics": figures(held_out, recipe=recipe)
        | {f"cv_{k}": v for k, v in figures(scored, recipe=recipe).items()},
        "conformal": calibrated,
        "importances": training.feature_importances(trained.model, recipe=recipe)[:50],
        "weights": trained.weights,
        "fitted_on": ALL_ROWS if trained.on_all_rows else OTHER_ROWS,
        "without_texts": None if without is None else figures(without, recipe=recipe),
        "snapshot": {
            "source": given.source,
            "labels": given.labels,
            "features_version": given.version,
        },
        "code_version": sonic_lib.__version__,
    }
    covered = coverage(held_out, card=card)
    # Reports are drawn from the cards, when the held-out rows are long gone.
    card["coverage"] = covered.to_dict("records")
    if recipe.classes:
        counts = held_out.transform(metrics.confusion).toPandas()
        card["confusion"] = counts[["label", "predicted", "n"]].to_numpy().tolist()
    return TrainedModel(trained.model, card, covered, held_out)


def figures(scored: DataFrame, *, recipe: Recipe) -> dict[str, float]:
    """Judge answers whose truth is known: a row a pair of classes comes here, or one row."""
    if recipe.classes:
        counts = scored.transform(metrics.confusion).toPandas()
        told = metrics.class_metrics(counts, classes=recipe.classes)
    else:
        told = scored.transform(metrics.regression_metrics).first().asDict()
    # The last digits depend on the order in which Spark sums.
    return {name: round(float(value or 0.0), 9) for name, value in told.items()}


def coverage(
    held_out: DataFrame, *, card: dict, confidences: Collection[float] = SHOWN_CONFIDENCES
) -> pd.DataFrame:
    """Say how sets or intervals did on held-out rows: a row a confidence."""
    conformed = card["conformal"]
    levels = [(c, threshold) for c, threshold in conformed["thresholds"] if c in confidences]
    if card["task"] == CLASSIFICATION:
        n_genres = len(card["classes"])
        return held_out.transform(
            conformal.coverage_curve,
            method=conformed["method"],
            levels=[(c, conformal.limits_of(t, n_genres=n_genres)) for c, t in levels],
        ).toPandas()
    limits = from_card(conformed.get("limits"))
    told = []
    for confidence, threshold in levels:
        ranges = held_out.transform(intervals.intervals, threshold=threshold, limits=limits)
        row = ranges.transform(intervals.coverage).first()
        told.append({"confidence": confidence, **row.asDict()})
    return pd.DataFrame(told)


def _described(features: DataFrame) -> list[ColumnProfile]:
    """Profile of the columns: a row a name, whatever the number of songs."""
    found = sorted(profile(features).collect(), key=lambda row: row.name)
    texts = [row.name for row in found if row.kind == "text"]
    shapes = {}
    if texts:
        counts = wide(features, numbers=[], texts=texts).transform(count_shapes, columns=texts)
        told = counts.first()
        shapes = {name: (told[f"dates_{i}"], told[f"lists_{i}"]) for i, name in enumerate(texts)}
    return [
        ColumnProfile(row.name, row.kind, row.n, row.n_distinct, *shapes.get(row.name, ()))
        for row in found
    ]


def _calibrated(scored: DataFrame, *, recipe: Recipe, method: str, mondrian: bool) -> dict:
    if not recipe.classes:
        scores = scored.transform(intervals.error_scores)
        rows = scores.transform(conformal.thresholds, confidences=CONFIDENCES).collect()
        return {"method": "normalised", "thresholds": [[r.confidence, r.threshold] for r in rows]}
    scores = scored.transform(conformal.calibration_scores, method=method)
    if not mondrian:
        rows = scores.transform(conformal.thresholds, confidences=CONFIDENCES).collect()
        found = [[r.confidence, r.threshold] for r in rows]
    else:
        rows = scores.transform(
            conformal.thresholds, confidences=CONFIDENCES, by=["label"]
        ).collect()
        by_confidence: dict[float, dict[int, float | None]] = {}
        for r in rows:
            by_confidence.setdefault(r.confidence, {})[r.label] = r.threshold
        found = [[c, by_confidence[c]] for c in sorted(by_confidence)]
    return {"method": method, "mondrian": mondrian, "thresholds": found}
