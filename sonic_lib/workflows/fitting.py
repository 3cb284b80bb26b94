"""Fit, calibrate and evaluate a model, and write its card."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame

import sonic_lib
from sonic_lib.models import metrics, training
from sonic_lib.models.columns import CLASSIFICATION
from sonic_lib.models.conformal import intervals
from sonic_lib.models.conformal import sets as conformal
from sonic_lib.models.limits import from_card, to_card
from sonic_lib.models.membership import ALL_ROWS, OTHER_ROWS
from sonic_lib.models.recipe import Recipe
from sonic_lib.spark.columns import is_sampled
from sonic_lib.workflows.training_sets import TrainingSet

CONFIDENCES = tuple(round(c / 100, 2) for c in range(50, 100))
SHOWN_CONFIDENCES = (0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class TrainedModel:
    """A fitted model, its card, and its predictions for the held-out rows."""

    model: PipelineModel
    card: dict
    coverage: pd.DataFrame
    held_out: DataFrame


def train_and_evaluate(
    data: TrainingSet,
    *,
    n_folds: int,
    method: str,
    mondrian: bool,
    limits: tuple[float, float] | None,
) -> TrainedModel:
    """Cross-validate, calibrate on the out-of-fold scores, evaluate on held-out rows and refit.

    Parameters
    ----------
    data : TrainingSet
    n_folds : int
    method, mondrian
        As in `conformal.sets`.
    limits : (float, float) or None
        Range of a numeric target.
    """
    recipe = data.recipe
    trained = training.train(
        data.rows, recipe=recipe, n_folds=n_folds, is_held_out=data.is_held_out()
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
        "metrics": compute_metrics(held_out, recipe=recipe)
        | {f"cv_{k}": v for k, v in compute_metrics(scored, recipe=recipe).items()},
        "conformal": calibrated,
        "importances": training.feature_importances(trained.model, recipe=recipe)[:50],
        "weights": trained.weights,
        "fitted_on": ALL_ROWS if trained.on_all_rows else OTHER_ROWS,
        "without_texts": None if without is None else compute_metrics(without, recipe=recipe),
        "snapshot": {
            "source": data.source,
            "labels": data.labels,
            "features_version": data.version,
        },
        "code_version": sonic_lib.__version__,
    }
    covered = coverage(held_out, card=card)
    # In the card, as reports are made from it when the held-out rows may be gone.
    card["coverage"] = covered.to_dict("records")
    if recipe.classes:
        counts = held_out.transform(metrics.confusion).toPandas()
        card["confusion"] = counts[["label", "predicted", "n"]].to_numpy().tolist()
    return TrainedModel(trained.model, card, covered, held_out)


def compute_metrics(scored: DataFrame, *, recipe: Recipe) -> dict[str, float]:
    """Compute metrics; collects one row, or one per pair of classes."""
    if recipe.classes:
        counts = scored.transform(metrics.confusion).toPandas()
        scores = metrics.class_metrics(counts, classes=recipe.classes)
    else:
        scores = scored.transform(metrics.regression_metrics).first().asDict()
    # Rounded: the last digits depend on the order in which Spark sums.
    return {name: round(float(value or 0.0), 9) for name, value in scores.items()}


def coverage(
    held_out: DataFrame, *, card: dict, confidences: Collection[float] = SHOWN_CONFIDENCES
) -> pd.DataFrame:
    """Measure the coverage of sets or intervals on held-out rows: one row per confidence."""
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
    return held_out.transform(intervals.coverage_curve, levels=levels, limits=limits).toPandas()


def _calibrated(scored: DataFrame, *, recipe: Recipe, method: str, mondrian: bool) -> dict:
    share = conformal.MAX_CALIBRATION_ROWS / max(scored.count(), 1)
    if share < 1:
        scored = scored.filter(is_sampled(share))
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
