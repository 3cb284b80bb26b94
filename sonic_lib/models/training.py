"""Fit, cross-validate and evaluate: wide frames to models and scored frames.

Conventions
-----------
``rows`` is a wide frame (docs/models.md) with the columns of `Recipe.columns`, prepared by
`targets.labelled`. A model is a `pyspark.ml.PipelineModel`: to a wide frame without labels it adds
`probabilities`, or `prediction` and `difficulty`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from multiprocessing.pool import ThreadPool

from pyspark import inheritable_thread_target
from pyspark.ml import PipelineModel, Transformer
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from sonic_lib.errors import ModelError
from sonic_lib.models import cluster, estimators, one_task, preprocess
from sonic_lib.models.balance import balanced_parts
from sonic_lib.models.recipe import Recipe
from sonic_lib.models.splits import FOLDS, INNER_FOLDS, large_groups, with_folds
from sonic_lib.models.stages import FOLD, KEY, LABEL, StoredModel
from sonic_lib.models.tabular import stage
from sonic_lib.models.tabular.crossfit import HELD_OUT_FOLD

_N_INNER_FOLDS = 10


@dataclass(frozen=True)
class Trained:
    """A model and its out-of-sample predictions.

    Parameters
    ----------
    model : PipelineModel
        The model for predictions.
    folds, held_out : DataFrame
        Scored frames of the cross-validated and of the held-out rows.
    weights : dict of str to float
        Weight of each learner.
    without_texts : DataFrame or None
        Scored frame of the held-out rows by a model without text features.
    on_all_rows : bool
        Whether `model` was refitted on all rows; the held-out rows were then scored by a model
        that had not seen them.
    """

    model: PipelineModel
    folds: DataFrame
    held_out: DataFrame
    weights: dict[str, float]
    without_texts: DataFrame | None = None
    on_all_rows: bool = False


def train(rows: DataFrame, *, recipe: Recipe, n_folds: int, is_held_out: Column) -> Trained:
    """Cross-validate on the rows that are not held out, score the others, and fit the model.

    A table that fits into one task (`stage.fits_one_task`) is trained there, and the model is
    refitted on all rows. A larger one is trained by the whole cluster, without the held-out rows.

    Parameters
    ----------
    rows : DataFrame
        From `targets.labelled`, cached.
    n_folds : int
    is_held_out : Column of bool

    Raises
    ------
    ModelError, SetupError
        As `fit`.
    """
    training_rows = rows.filter(~is_held_out)
    n_rows, _ = _count_rows(training_rows, recipe)
    if not one_task.fits(n_rows, recipe):
        kind = _distributed_kind(recipe)
        # Folds that would fit into one task are also fitted by the cluster: thresholds for a model
        # come from models of the same kind.
        scored_folds = cross_validate(training_rows, recipe=recipe, n_folds=n_folds)
        model = fit(training_rows, recipe=recipe)
        scored_held_out = scored(rows.filter(is_held_out), model=model, recipe=recipe).persist()
        return Trained(model, scored_folds, scored_held_out, {kind: 1.0})
    parts = _balanced_folds(training_rows, recipe=recipe, n_folds=n_folds)
    folded = _with_outer_folds(rows, parts, recipe=recipe, n_folds=n_folds)
    outer_or_held_out = F.when(is_held_out, F.lit(HELD_OUT_FOLD)).otherwise(F.col(stage.OUTER))
    folded = with_inner_folds(folded.withColumn(stage.OUTER, outer_or_held_out), recipe)
    _check_folds(folded, recipe)
    trained = one_task.train(folded, recipe=recipe, n_rows=n_rows)
    model = one_task.model_of(trained, recipe)
    without = None
    if recipe.columns.texts:
        without = one_task.scores_of(trained.filter(F.col("fold") == stage.WITHOUT), recipe)
    return Trained(
        model,
        one_task.scores_of(trained.filter("fold >= 0"), recipe),
        one_task.scores_of(trained.filter(F.col("fold") == HELD_OUT_FOLD), recipe),
        model.stages[0].weights,
        without,
        on_all_rows=True,
    )


def fit(rows: DataFrame, *, recipe: Recipe) -> PipelineModel:
    """Fit all stages on all rows, by the whole cluster.

    Parameters
    ----------
    rows : DataFrame
        From `targets.labelled`, cached; `song_id` is the key.

    Raises
    ------
    ModelError
        If there are too few rows or classes, or the learner needs all rows in one task.
    SetupError
        If XGBoost is needed but not installed.
    """
    n_rows, counts = _count_rows(rows, recipe)
    return cluster.fit(
        with_inner_folds(rows, recipe),
        recipe=recipe,
        kind=_distributed_kind(recipe),
        counts=counts,
        n_rows=n_rows,
    )


def scored(rows: DataFrame, *, model: PipelineModel, recipe: Recipe) -> DataFrame:
    """Score labelled rows with a model.

    If the model was refitted on all rows, the one that has not seen the held-out rows is used.

    Returns
    -------
    DataFrame
        The scored frame of docs/models.md.
    """
    scored_rows = PipelineModel([_judging(each) for each in model.stages]).transform(rows)
    if recipe.classes:
        return scored_rows.select(KEY, F.col(LABEL).cast("int").alias("label"), "probabilities")
    return scored_rows.select(KEY, F.col(LABEL).alias("target"), "prediction", "difficulty")


def cross_validate(rows: DataFrame, *, recipe: Recipe, n_folds: int) -> DataFrame:
    """Score every row with a model that was fitted without its fold, by the whole cluster.

    Folds are by hash, and never split a group of the recipe. Models are fitted in parallel if the
    cluster has room. Their scores are checkpointed, so that they are computed once, and later tasks
    do not carry all models along.

    Parameters
    ----------
    rows : DataFrame
        From `targets.labelled`, cached.
    n_folds : int

    Returns
    -------
    DataFrame
        The scored frame of docs/models.md.
    """
    parts = _balanced_folds(rows, recipe=recipe, n_folds=n_folds)
    folded = _with_outer_folds(rows, parts, recipe=recipe, n_folds=n_folds)

    def score(fold: int) -> DataFrame:
        training, test = (
            folded.filter(chosen).drop(stage.OUTER)
            for chosen in (F.col(stage.OUTER) != fold, F.col(stage.OUTER) == fold)
        )
        model = fit(training, recipe=recipe)
        # Computed now, while the statistics of the model are cached.
        test_scores = scored(test, model=model, recipe=recipe).localCheckpoint()
        release(model)
        return test_scores

    slots = folded.sparkSession.sparkContext.defaultParallelism
    with ThreadPool(min(n_folds, slots)) as pool:
        target = inheritable_thread_target(folded.sparkSession)(score)
        return reduce(DataFrame.unionByName, pool.map(target, range(n_folds), chunksize=1))


def release(model: PipelineModel) -> None:
    """Uncache the data of a fitted model; call this when it is saved."""
    for each in model.stages:
        if isinstance(each, StoredModel):
            each.release()


def feature_importances(model: PipelineModel, *, recipe: Recipe) -> list[tuple[str, float]]:
    """Return names and importances of the features, largest first."""
    if isinstance(model.stages[0], stage.TabularModel):
        return model.stages[0].importances(classes=recipe.classes)
    names = preprocess.feature_names(model, classes=recipe.classes)
    learner = next(s for s in model.stages if hasattr(s, "get_booster") or _is_forest(s))
    shares = estimators.importances(learner, n_features=len(names))
    pairs = zip(names, map(float, shares), strict=True)
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def _count_rows(rows: DataFrame, recipe: Recipe) -> tuple[int, dict[float, int]]:
    """Count all rows and the rows of each class.

    Raises
    ------
    ModelError
        If there are too few.
    """
    counts = dict(rows.groupBy(LABEL).count().collect()) if recipe.classes else {}
    n_rows = sum(counts.values()) if recipe.classes else rows.count()
    if n_rows < _N_INNER_FOLDS or len(counts) == 1:
        raise ModelError(
            f"Not enough data to train {recipe.columns.target}: {n_rows} rows to train on"
            f"{', of one class' if len(counts) == 1 else ''}, beside those held out; expected at "
            f"least {_N_INNER_FOLDS} rows and two classes, and numbers below 1e38. Add more with "
            "`sonic features`."
        )
    return n_rows, counts


def _check_folds(folded: DataFrame, recipe: Recipe) -> None:
    """Check that there are held-out rows and two folds.

    Raises
    ------
    ModelError
        If not: there are too few rows or groups.
    """
    folds = {row[0] for row in folded.select(stage.OUTER).distinct().collect()}
    if HELD_OUT_FOLD in folds and len(folds) > 2:
        return
    group = recipe.columns.group
    what = f"distinct values of {group} (--group)" if group else "rows"
    raise ModelError(
        f"There are too few {what} to train {recipe.columns.target}: expected enough to hold some "
        "out and to cross-validate on the others. "
        + (f"Train without the group {group}, or add" if group else "Add")
        + " more songs with `sonic features`."
    )


def _distributed_kind(recipe: Recipe) -> str:
    """The learner for a table that does not fit into one task."""
    if recipe.kind == estimators.AUTO:
        return estimators.BOOSTED
    if recipe.kind not in (estimators.BOOSTED, estimators.FOREST):
        raise ModelError(
            f"kind {recipe.kind} (--model) takes at most {stage.MAX_ROWS:,} rows; expected "
            f"{estimators.BOOSTED} or {estimators.FOREST} for this one."
        )
    return recipe.kind


def _balanced_folds(rows: DataFrame, *, recipe: Recipe, n_folds: int) -> dict[str, int] | None:
    """Assign large groups to folds; None without groups.  Collects one row per class of each."""
    if recipe.columns.group is None:
        return None
    shares = [1 / n_folds] * n_folds
    counts = rows.transform(
        large_groups,
        shares=shares,
        seed=recipe.seed,
        purpose=FOLDS,
        group=recipe.columns.group,
        label=LABEL if recipe.classes else None,
    )
    return balanced_parts(counts.toPandas(), shares=shares)


def _with_outer_folds(
    rows: DataFrame, parts: dict[str, int] | None, *, recipe: Recipe, n_folds: int
) -> DataFrame:
    return with_folds(
        rows,
        n_folds=n_folds,
        seed=recipe.seed,
        name=stage.OUTER,
        group=recipe.columns.group,
        parts=parts,
    )


def with_inner_folds(rows: DataFrame, recipe: Recipe) -> DataFrame:
    """Add the folds within which rows are encoded, as `_fold`."""
    return with_folds(
        rows,
        n_folds=_N_INNER_FOLDS,
        seed=recipe.seed,
        purpose=INNER_FOLDS,
        name=FOLD,
        group=recipe.columns.group,
    )


def _judging(fitted: Transformer) -> Transformer:
    return fitted.judging() if isinstance(fitted, stage.TabularModel) else fitted


def _is_forest(stage: object) -> bool:
    return hasattr(stage, "featureImportances")
