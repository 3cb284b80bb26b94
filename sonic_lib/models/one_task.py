"""Train what `models.training` asks for in one task: recipes to requests, results to frames."""

from __future__ import annotations

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sonic_lib.models import estimators
from sonic_lib.models.recipe import Recipe
from sonic_lib.models.stages import KEY
from sonic_lib.models.tabular import stage


def fits(n_rows: int, recipe: Recipe) -> bool:
    """Whether a table is trained in one task."""
    n_classes = len(recipe.classes)
    return stage.fits_one_task(n_rows, columns=recipe.columns, n_classes=n_classes)


def train(folded: DataFrame, *, recipe: Recipe, n_rows: int) -> DataFrame:
    """Train by the columns `_outer` and `_fold`; the result is checkpointed: trained once."""
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
        folded,
        columns=recipe.columns,
        request=request,
        n_threads=n_threads,
    ).localCheckpoint()


def model_of(trained: DataFrame, recipe: Recipe) -> PipelineModel:
    """Return the model in the result of `train`."""
    settings = stage.settings_of(recipe.columns, n_classes=len(recipe.classes))
    parts = trained.filter("name IS NOT NULL").select("name", "part", "bytes")
    return PipelineModel([stage.TabularModel(settings, parts)])


def scores_of(trained: DataFrame, recipe: Recipe) -> DataFrame:
    """Return the scored frame (docs/models.md) in the result of `train`."""
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
