"""Fit, cross-validate and evaluate: wide frames to models and scored frames.

Conventions
-----------
``rows`` is a wide frame (docs/models.md) with the columns of `Recipe.columns`, prepared by
`labelled`. A model is a `pyspark.ml.PipelineModel`: to a wide frame without labels it adds
`probabilities`, or `prediction` and `difficulty`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from multiprocessing.pool import ThreadPool

from pyspark import inheritable_thread_target
from pyspark.ml import PipelineModel, Transformer
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from sonic_lib.errors import ModelError
from sonic_lib.models import cluster, estimators, preprocess
from sonic_lib.models.columns import CLASSIFICATION, Columns
from sonic_lib.models.recipe import Recipe
from sonic_lib.models.splits import FOLDS, INNER_FOLDS, balanced_parts, with_folds
from sonic_lib.models.stages import FOLD, KEY, LABEL, StoredModel, column
from sonic_lib.models.tabular import stage
from sonic_lib.models.tabular.crossfit import HELD_OUT

_N_INNER_FOLDS = 10
_N_PARTS = 3  # inside a fit, to weight learners and measure errors
OUTER_FOLD = "_outer_fold"


def class_counts(frame: DataFrame, *, target: str) -> DataFrame:
    """Count the rows of each class: label (string), n; rows without a class are ignored."""
    label = _class_name(target).alias("label")
    return (
        frame.select(label)
        .filter("label IS NOT NULL")
        .groupBy("label")
        .agg(F.count("*").alias("n"))
    )


def labelled(frame: DataFrame, *, columns: Columns, classes: Sequence[str]) -> DataFrame:
    """Add `_label`, the number of the class or the target; rows without one are dropped."""
    if columns.task == CLASSIFICATION:
        places = F.array(*map(F.lit, classes))
        place = F.array_position(places, _class_name(columns.target))
        label = F.when(place > 0, place - 1).cast("double")
    else:
        given = column(columns.target).cast("double")
        label = F.when(F.abs(given) < float("inf"), given)
    return frame.withColumn(LABEL, label).filter(F.col(LABEL).isNotNull())


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
        From `labelled`, cached.
    n_folds : int
    is_held_out : Column of bool

    Raises
    ------
    ModelError, SetupError
        As `fit`.
    """
    training_rows = rows.filter(~is_held_out)
    n_rows, _ = _count_rows(training_rows, recipe)
    if not _fits_one_task(n_rows, recipe):
        scored_folds = cross_validate(training_rows, recipe=recipe, n_folds=n_folds)
        model = fit(training_rows, recipe=recipe)
        scored_held_out = scored(rows.filter(is_held_out), model=model, recipe=recipe).persist()
        return Trained(model, scored_folds, scored_held_out, {_distributed_kind(recipe): 1.0})
    parts = _balanced_folds(training_rows, recipe=recipe, n_folds=n_folds)
    folded = _with_outer_folds(rows, parts, recipe=recipe, n_folds=n_folds, name=stage.OUTER)
    outer_or_held_out = F.when(is_held_out, F.lit(HELD_OUT)).otherwise(F.col(stage.OUTER))
    trained = _in_one_task(
        folded.withColumn(stage.OUTER, outer_or_held_out), recipe=recipe, n_rows=n_rows, serve=True
    )
    model = _model_of(trained, recipe)
    without = None
    if recipe.columns.texts:
        without = _scores_of(trained.filter(F.col("fold") == stage.WITHOUT), recipe)
    return Trained(
        model,
        _scores_of(trained.filter("fold >= 0"), recipe),
        _scores_of(trained.filter(F.col("fold") == HELD_OUT), recipe),
        model.stages[0].weights,
        without,
        on_all_rows=True,
    )


def fit(rows: DataFrame, *, recipe: Recipe) -> PipelineModel:
    """Fit all stages on all rows.

    Parameters
    ----------
    rows : DataFrame
        From `labelled`, cached; `song_id` is the key.

    Raises
    ------
    ModelError
        If there are too few rows or classes.
    SetupError
        If XGBoost is needed but not installed.
    """
    n_rows, counts = _count_rows(rows, recipe)
    if _fits_one_task(n_rows, recipe):
        # There are no outer folds here: weights and errors come from the inner ones.
        needs_parts = not recipe.classes or recipe.kind == estimators.AUTO
        outer = F.col(FOLD) % _N_PARTS if needs_parts else F.lit(0)
        parts = _with_inner_folds(rows, recipe).withColumn(stage.OUTER, outer.cast("int"))
        trained = _in_one_task(parts, recipe=recipe, n_rows=n_rows, serve=True)
        return _model_of(trained, recipe)
    return cluster.fit(
        _with_inner_folds(rows, recipe),
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
    """Score every row with a model that was fitted without its fold.

    Folds are by hash, and never split a group of the recipe.

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
    parts = _balanced_folds(rows, recipe=recipe, n_folds=n_folds)
    folded = _with_outer_folds(rows, parts, recipe=recipe, n_folds=n_folds, name=OUTER_FOLD)
    return score_folds(folded, recipe=recipe, n_folds=n_folds)


def score_folds(folded: DataFrame, *, recipe: Recipe, n_folds: int) -> DataFrame:
    """Score every row with a model that was fitted without its `_outer_fold`.

    Models are fitted in parallel if the cluster has room. Their scores are checkpointed, so that
    they are computed once, and later tasks do not carry all models along.

    Parameters
    ----------
    folded : DataFrame
        From `labelled`, cached, with the int column `_outer_fold`, 0 to n_folds - 1.
    """
    n_rows, _ = _count_rows(folded, recipe)
    if _fits_one_task(n_rows, recipe):
        parts = _with_inner_folds(folded, recipe).withColumn(stage.OUTER, F.col(OUTER_FOLD))
        return _scores_of(_in_one_task(parts, recipe=recipe, n_rows=n_rows, serve=False), recipe)

    def score(fold: int) -> DataFrame:
        training, test = (
            folded.filter(chosen).drop(OUTER_FOLD)
            for chosen in (F.col(OUTER_FOLD) != fold, F.col(OUTER_FOLD) == fold)
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
            f"Not enough data to train {recipe.columns.target}: {n_rows} rows"
            f"{' of one class' if len(counts) == 1 else ''}; expected at least {_N_INNER_FOLDS} "
            "rows and two classes. Add more with `sonic features`."
        )
    return n_rows, counts


def _fits_one_task(n_rows: int, recipe: Recipe) -> bool:
    n_classes = len(recipe.classes)
    return stage.fits_one_task(n_rows, columns=recipe.columns, n_classes=n_classes)


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


def _balanced_folds(rows: DataFrame, *, recipe: Recipe, n_folds: int) -> DataFrame | None:
    """Assign large groups to folds; None without groups."""
    if recipe.columns.group is None:
        return None
    return balanced_parts(
        rows,
        shares=[1 / n_folds] * n_folds,
        seed=recipe.seed,
        purpose=FOLDS,
        group=recipe.columns.group,
        label=LABEL if recipe.classes else None,
    )


def _with_outer_folds(
    rows: DataFrame, parts: DataFrame | None, *, recipe: Recipe, n_folds: int, name: str
) -> DataFrame:
    group = recipe.columns.group
    return with_folds(rows, n_folds=n_folds, seed=recipe.seed, name=name, group=group, parts=parts)


def _with_inner_folds(rows: DataFrame, recipe: Recipe) -> DataFrame:
    return with_folds(
        rows,
        n_folds=_N_INNER_FOLDS,
        seed=recipe.seed,
        purpose=INNER_FOLDS,
        name=FOLD,
        group=recipe.columns.group,
    )


def _in_one_task(folded: DataFrame, *, recipe: Recipe, n_rows: int, serve: bool) -> DataFrame:
    """Train by `_outer`, and persist the result, so that it is trained once."""
    context = folded.sparkSession.sparkContext
    # All cores of the executor: no other task of ours runs at the same time.
    cores = context.getConf().get("spark.executor.cores")
    is_local = context.master.startswith("local")
    n_threads = context.defaultParallelism if is_local else int(cores or 1)
    request = estimators.in_one_task(
        recipe.kind,
        n_rows=n_rows,
        n_classes=len(recipe.classes),
        seed=recipe.seed,
        weighted=recipe.class_weights,
        layout=stage.layout_of(recipe.columns),
    )
    return stage.train(
        folded if FOLD in folded.columns else _with_inner_folds(folded, recipe),
        columns=recipe.columns,
        request=request,
        serve=serve,
        n_threads=n_threads,
    ).localCheckpoint()


def _model_of(trained: DataFrame, recipe: Recipe) -> PipelineModel:
    settings = stage.settings_of(recipe.columns, n_classes=len(recipe.classes))
    parts = trained.filter("name IS NOT NULL").select("name", "part", "bytes")
    return PipelineModel([stage.TabularModel(settings, parts)])


def _scores_of(trained: DataFrame, recipe: Recipe) -> DataFrame:
    scores = trained.filter("output IS NOT NULL")
    if recipe.classes:
        label = F.col("label").cast("int").alias("label")
        return scores.select(KEY, label, F.col("output").alias("probabilities"))
    prediction, difficulty = (F.get("output", F.lit(place)) for place in (0, 1))
    return scores.select(
        KEY,
        F.col("label").alias("target"),
        prediction.alias("prediction"),
        difficulty.alias("difficulty"),
    )


def _judging(fitted: Transformer) -> Transformer:
    return fitted.judging() if isinstance(fitted, stage.TabularModel) else fitted


def _class_name(target: str) -> Column:
    return F.trim(column(target).cast("string"))


def _is_forest(stage: object) -> bool:
    return hasattr(stage, "featureImportances")
