"""Fit, cross-validate and hold out: wide frames to models and to scored frames.

Conventions
-----------
``rows`` is a wide frame (docs/models.md) with the columns `Recipe.columns` names, made ready by
`labelled`. What is fitted is a `pyspark.ml.PipelineModel`: from a wide frame without labels it
adds `probabilities`, or `prediction` and `difficulty`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from multiprocessing.pool import ThreadPool

from pyspark import inheritable_thread_target
from pyspark.ml import PipelineModel
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from sonic_lib.errors import ModelError
from sonic_lib.models import estimators, preprocess
from sonic_lib.models.columns import CLASSIFICATION, Columns
from sonic_lib.models.splits import FOLDS, INNER_FOLDS, balanced_parts, with_folds
from sonic_lib.models.stages import FEATURES, FOLD, KEY, LABEL, WEIGHT, StoredModel, column

_N_INNER_FOLDS = 10
OUTER_FOLD = "_outer_fold"
_SIZE, _ERROR = "_size", "_error"
_LEAST_SIZE_SHARE = 0.05  # of the mean error: no song is foretold with certainty


@dataclass(frozen=True)
class Recipe:
    """All that decides, with the rows, what is trained.

    Parameters
    ----------
    columns : Columns
        With the group by which training rows are kept together, if any.
    classes : tuple of str
        Names of the classes, in the order of their numbers; none for a regression.
    kind : str
        BOOSTED or FOREST.
    seed : int
    class_weights : bool
        Whether rare classes count as much as frequent ones.
    """

    columns: Columns
    classes: tuple[str, ...] = ()
    kind: str = estimators.BOOSTED
    seed: int = 0
    class_weights: bool = False


def class_counts(frame: DataFrame, *, target: str) -> DataFrame:
    """Count the rows of each class: label (string), n; rows without one are left out."""
    label = _class_name(target).alias("label")
    return (
        frame.select(label)
        .filter("label IS NOT NULL")
        .groupBy("label")
        .agg(F.count("*").alias("n"))
    )


def labelled(frame: DataFrame, *, columns: Columns, classes: Sequence[str]) -> DataFrame:
    """Add `_label`, the number of the class or the target; rows without one are left out."""
    if columns.task == CLASSIFICATION:
        places = F.array(*map(F.lit, classes))
        place = F.array_position(places, _class_name(columns.target))
        label = F.when(place > 0, place - 1).cast("double")
    else:
        given = column(columns.target).cast("double")
        label = F.when(F.abs(given) < float("inf"), given)
    return frame.withColumn(LABEL, label).filter(F.col(LABEL).isNotNull())


def fit(rows: DataFrame, *, recipe: Recipe) -> PipelineModel:
    """Fit all stages on all rows.

    Parameters
    ----------
    rows : DataFrame
        From `labelled`, cached; `song_id` tells them apart.

    Raises
    ------
    ModelError
        If there is nothing to tell apart, or too little.
    SetupError
        If XGBoost is needed and missing.
    """
    spark = rows.sparkSession
    counts = dict(rows.groupBy(LABEL).count().collect()) if recipe.classes else {}
    n_rows = sum(counts.values()) if recipe.classes else rows.count()
    if n_rows < _N_INNER_FOLDS or len(counts) == 1:
        raise ModelError(
            f"{n_rows} rows{' of one class' if len(counts) == 1 else ''} are too little to learn "
            f"{recipe.columns.target}; expected {_N_INNER_FOLDS} rows and two classes at least. "
            "`sonic features` brings more in."
        )
    n_workers = estimators.n_workers(n_rows, n_slots=spark.sparkContext.defaultParallelism)
    folded = with_folds(
        rows,
        n_folds=_N_INNER_FOLDS,
        seed=recipe.seed,
        purpose=INNER_FOLDS,
        name=FOLD,
        group=recipe.columns.group,
    )
    stages = preprocess.pipeline(recipe.columns, n_classes=len(recipe.classes)).fit(folded)
    # Kept in one order: trees depend on it, by sampling and by sums of floating-point numbers.
    prepared = (
        stages.transform(folded)
        .select(KEY, FOLD, LABEL, FEATURES)
        .repartition(n_workers, KEY)
        .sortWithinPartitions(KEY)
        .persist()
    )
    try:
        if recipe.classes:
            last = _fit_classes(prepared, recipe, counts, n_workers)
        else:
            last = _fit_number(prepared, recipe, n_workers)
    finally:
        prepared.unpersist()
    return PipelineModel([*stages.stages, *last])


def scored(rows: DataFrame, *, model: PipelineModel, recipe: Recipe) -> DataFrame:
    """Let a model say of labelled rows what it thinks.

    Returns
    -------
    DataFrame
        The scored frame of docs/models.md.
    """
    said = model.transform(rows)
    if recipe.classes:
        return said.select(KEY, F.col(LABEL).cast("int").alias("label"), "probabilities")
    return said.select(KEY, F.col(LABEL).alias("target"), "prediction", "difficulty")


def cross_validate(rows: DataFrame, *, recipe: Recipe, n_folds: int) -> DataFrame:
    """Score every row by a model that was fitted without its fold.

    Folds are by hash, and hold whole groups if the recipe's columns have a group.

    Parameters
    ----------
    rows : DataFrame
        From `labelled`, cached.
    n_folds : int

    Returns
    -------
    DataFrame
        The scored frame of docs/models.md.
    """
    parts, group = None, recipe.columns.group
    if group is not None:
        parts = balanced_parts(
            rows,
            shares=[1 / n_folds] * n_folds,
            seed=recipe.seed,
            purpose=FOLDS,
            group=group,
            label=LABEL if recipe.classes else None,
        )
    folded = with_folds(
        rows, n_folds=n_folds, seed=recipe.seed, name=OUTER_FOLD, group=group, parts=parts
    )
    return score_folds(folded, recipe=recipe, n_folds=n_folds)


def score_folds(folded: DataFrame, *, recipe: Recipe, n_folds: int) -> DataFrame:
    """Score every row by a model that was fitted without its fold, in `_outer_fold`.

    Models are fitted at the same time where the cluster has room. What they say is checkpointed,
    so that no model is asked twice, and no later task carries all of them along.

    Parameters
    ----------
    folded : DataFrame
        From `labelled`, cached, with the int column `_outer_fold`, 0 to n_folds - 1.
    """

    def score(fold: int) -> DataFrame:
        training, test = (
            folded.filter(chosen).drop(OUTER_FOLD)
            for chosen in (F.col(OUTER_FOLD) != fold, F.col(OUTER_FOLD) == fold)
        )
        model = fit(training, recipe=recipe)
        # At once, while the statistics of the model are at hand.
        kept = scored(test, model=model, recipe=recipe).localCheckpoint()
        release(model)
        return kept

    slots = folded.sparkSession.sparkContext.defaultParallelism
    with ThreadPool(min(n_folds, slots)) as pool:
        target = inheritable_thread_target(folded.sparkSession)(score)
        return reduce(DataFrame.unionByName, pool.map(target, range(n_folds), chunksize=1))


def release(model: PipelineModel) -> None:
    """Let go of what a fitted model holds in the cluster's memory; call it when it is saved."""
    for stage in model.stages:
        if isinstance(stage, StoredModel):
            stage.release()


def feature_importances(model: PipelineModel, *, recipe: Recipe) -> list[tuple[str, float]]:
    """Names of the features and their shares of all that is gained, greatest first."""
    names = preprocess.feature_names(model, classes=recipe.classes)
    learner = next(s for s in model.stages if hasattr(s, "get_booster") or _is_forest(s))
    shares = estimators.importances(learner, n_features=len(names))
    pairs = zip(names, map(float, shares), strict=True)
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def _fit_classes(
    prepared: DataFrame, recipe: Recipe, counts: dict[float, int], n_workers: int
) -> list:
    # A rare class may be missing here, and estimators take numbers without gaps.
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
        recipe.kind, n_workers=n_workers, seed=recipe.seed, weighted=recipe.class_weights
    )
    settings = {"labels": labels, "n_classes": len(recipe.classes)}
    return [learner.fit(numbered), estimators.Probabilities(settings)]


def _fit_number(prepared: DataFrame, recipe: Recipe, n_workers: int) -> list:
    learner = estimators.regressor(recipe.kind, n_workers=n_workers, seed=recipe.seed)
    # Each half is foretold by the other: errors of rows that the learner knew would be too small.
    halves = [prepared.filter(F.col(FOLD) % 2 == half) for half in (0, 1)]
    missed = [
        learner.fit(halves[1 - half])
        .transform(halves[half])
        .withColumn(_ERROR, F.abs(F.col(LABEL) - F.col("prediction")))
        .select(KEY, FEATURES, _ERROR)
        for half in (0, 1)
    ]
    errors = missed[0].unionByName(missed[1])
    errors = errors.repartition(n_workers, KEY).sortWithinPartitions(KEY).persist()
    try:
        mean_error = errors.agg(F.avg(_ERROR)).first()[0]
        size = estimators.error_size(
            recipe.kind, n_workers=n_workers, seed=recipe.seed, errors=_ERROR, output=_SIZE
        )
        sizes = size.fit(errors)
    finally:
        errors.unpersist()
    least = max(_LEAST_SIZE_SHARE * mean_error, 1e-9)
    difficulty = estimators.Difficulty({"input": _SIZE, "least": least})
    return [learner.fit(prepared), sizes, difficulty]


def _class_name(target: str) -> Column:
    return F.trim(column(target).cast("string"))


def _is_forest(stage: object) -> bool:
    return hasattr(stage, "featureImportances")
