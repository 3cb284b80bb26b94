"""Train on the whole cluster, for tables that do not fit into one task."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sonic_lib.models import estimators, preprocess
from sonic_lib.models.recipe import Recipe
from sonic_lib.models.stages import FEATURES, FOLD, KEY, LABEL, WEIGHT
from sonic_lib.models.tabular.crossfit import LEAST_ROOT, LEAST_ROOT_SHARE

_ROOT, _ERROR_ROOT = "_root", "_error_root"


def fit(
    folded: DataFrame, *, recipe: Recipe, kind: str, counts: Mapping[float, int], n_rows: int
) -> PipelineModel:
    """Fit all stages on all rows.

    Parameters
    ----------
    folded : DataFrame
        A wide DataFrame with `_label` and `_fold`, cached.
    recipe : Recipe
    kind : str
        BOOSTED or FOREST.
    counts : mapping of float to int
        Rows of each class; empty for a regression.
    n_rows : int
    """
    n_slots = folded.sparkSession.sparkContext.defaultParallelism
    n_workers = estimators.n_workers(n_rows, n_slots=n_slots)
    stages = preprocess.pipeline(recipe.columns, n_classes=len(recipe.classes)).fit(folded)
    # In a fixed order: trees depend on it, by sampling and by floating-point sums.
    prepared = (
        stages.transform(folded)
        .select(KEY, FOLD, LABEL, FEATURES)
        .repartition(n_workers, KEY)
        .sortWithinPartitions(KEY)
        .persist()
    )
    try:
        if recipe.classes:
            last = _fit_classes(prepared, recipe, counts, n_workers, kind)
        else:
            last = _fit_number(prepared, recipe, n_workers, kind)
    finally:
        prepared.unpersist()
    return PipelineModel([*stages.stages, *last])


def _fit_classes(
    prepared: DataFrame, recipe: Recipe, counts: Mapping[float, int], n_workers: int, kind: str
) -> list:
    # A rare class may be missing here, and estimators need labels without gaps.
    labels = sorted(int(label) for label in counts)
    n_rows = sum(counts.values())
    place = F.array_position(F.array(*map(F.lit, labels)), F.col(LABEL).cast("int")) - 1
    weights = [F.lit(n_rows / (len(labels) * counts[label])) for label in labels]
    numbered = prepared.withColumns(
        {
            LABEL: place.cast("double"),
            WEIGHT: F.get(F.array(*weights), place.cast("int")),
        }
    )
    learner = estimators.classifier(
        kind, n_workers=n_workers, seed=recipe.seed, weighted=recipe.class_weights
    )
    settings = {"labels": labels, "n_classes": len(recipe.classes)}
    return [learner.fit(numbered), estimators.Probabilities(settings)]


def _fit_number(prepared: DataFrame, recipe: Recipe, n_workers: int, kind: str) -> list:
    learner = estimators.regressor(kind, n_workers=n_workers, seed=recipe.seed)
    # Cross-fit: predict each half with a model fitted on the other; in-sample errors are too small.
    halves = [prepared.filter(F.col(FOLD) % 2 == half) for half in (0, 1)]
    missed = [
        learner.fit(halves[1 - half])
        .transform(halves[half])
        .withColumn(_ERROR_ROOT, F.sqrt(F.abs(F.col(LABEL) - F.col("prediction"))))
        .select(KEY, FEATURES, _ERROR_ROOT)
        for half in (0, 1)
    ]
    errors = missed[0].unionByName(missed[1])
    errors = errors.repartition(n_workers, KEY).sortWithinPartitions(KEY).persist()
    try:
        mean_root = errors.agg(F.avg(_ERROR_ROOT)).first()[0]
        root = estimators.error_root(
            kind, n_workers=n_workers, seed=recipe.seed, roots=_ERROR_ROOT, output=_ROOT
        )
        roots = root.fit(errors)
    finally:
        errors.unpersist()
    least = max(LEAST_ROOT_SHARE * mean_root, LEAST_ROOT)
    difficulty = estimators.Difficulty({"root": _ROOT, "least": least})
    return [learner.fit(prepared), roots, difficulty]
