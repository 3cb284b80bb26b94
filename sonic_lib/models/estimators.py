"""Estimators that train on the whole cluster, and the settings of training in one task.

On the cluster, ``forest`` is Spark MLlib's random forest (L. Breiman, Random forests, 2001), and
``boosted`` is XGBoost's Spark estimator on the CPU (T. Chen and C. Guestrin, XGBoost: a scalable
tree boosting system, 2016).
"""

from __future__ import annotations

import logging
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from pyspark.ml import Estimator, Model
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from sonic_lib.errors import MODELS, XGBOOST, SetupError, install_command
from sonic_lib.models.stages import (
    ENCODED,
    FEATURES,
    LABEL,
    LOCAL,
    PREPARED,
    WEIGHT,
    StoredModel,
)
from sonic_lib.models.tabular.crossfit import Request
from sonic_lib.models.tabular.learners import BOOSTED, FOREST, KERNEL, LINEAR, total_gains
from sonic_lib.models.tabular.table import Layout

AUTO = "auto"

KINDS = (BOOSTED, FOREST, LINEAR, KERNEL, AUTO)

# XGBoost logs every task otherwise, even when a saved model predicts.
logging.getLogger("XGBoost-PySpark").setLevel(logging.WARNING)

_ROWS_PER_WORKER = 100_000
_FEW_ROWS, _SOME_ROWS = 5_000, 10_000
# Chosen by cross-validation on tables of Spotify features; benchmarks/models.py has the scores.
# Many small steps of one tree score as well as half as many of three trees, in half the time.
_BOOSTED = {
    "tree_method": "hist",
    "subsample": 0.6,
    "verbosity": 0,
    "verbose": False,
}
_BOOSTED_CLASSES = {
    "n_estimators": 240,
    "learning_rate": 0.05,
    "max_depth": 6,
    "min_child_weight": 4,
    "max_bin": 64,
    "colsample_bynode": 0.5,
}
_BOOSTED_NUMBER = {
    "n_estimators": 240,
    "learning_rate": 0.025,
    "max_depth": 8,
    "min_child_weight": 20,
    "colsample_bynode": 0.2,
}
# With few rows, fewer and shallower trees score as well in a fifth of the time.
_BOOSTED_FEW = {"n_estimators": 120, "learning_rate": 0.1, "max_depth": 4, "min_child_weight": 2}
_BOOSTED_ROOT = {
    "n_estimators": 120,
    "learning_rate": 0.035,
    "max_depth": 4,
    "min_child_weight": 20,
    "colsample_bynode": 0.3,
}
# Nodes hold counts of all classes: deeper trees with many genres fill the driver's memory.
_FOREST = {"numTrees": 60, "maxDepth": 10, "minInstancesPerNode": 2}
_OUTPUTS = ("rawPrediction", "probability", "prediction")


def check_kind(kind: str) -> None:
    """Check that the packages of an estimator are installed.

    Raises
    ------
    SetupError
        If XGBoost or scikit-learn is missing.
    """
    # Looked for, not loaded, which takes a second: tasks need them, the driver does not.
    if kind in (BOOSTED, AUTO) and find_spec("xgboost") is None:
        raise _no_xgboost()
    if find_spec("sklearn") is None:
        raise SetupError(f"Training needs scikit-learn: {install_command(*MODELS)}.")


def members(kind: str, *, n_rows: int) -> tuple[str, ...]:
    """Return the learners that a kind stands for, when trained in one task.

    Parameters
    ----------
    kind : str
        One of KINDS.
    n_rows : int
        AUTO drops the linear and kernel models on larger tables, where they cost too much and no
        longer help, and then the forest, which adds nothing to boosted trees.
    """
    if kind != AUTO:
        return (kind,)
    if n_rows <= _FEW_ROWS:
        return (BOOSTED, FOREST, LINEAR, KERNEL)
    return (BOOSTED, FOREST) if n_rows <= _SOME_ROWS else (BOOSTED,)


def in_one_task(
    kind: str, *, n_rows: int, n_classes: int, seed: int, weighted: bool, layout: Layout
) -> Request:
    """Return the request for training in one task; with few rows, boosted trees are shallow."""
    trees = _BOOSTED_CLASSES if n_classes else _BOOSTED_NUMBER
    if n_classes and n_rows <= _FEW_ROWS:
        trees = trees | _BOOSTED_FEW
    return Request(
        layout=layout,
        kinds=members(kind, n_rows=n_rows),
        n_classes=n_classes,
        seed=seed,
        weighted=weighted,
        boosted=_for_train(_BOOSTED | trees),
        roots=_for_train(_BOOSTED | _BOOSTED_ROOT),
    )


def n_workers(n_rows: int, *, n_slots: int) -> int:
    """Return how many tasks train one model together.

    Depends on the number of rows only, unless the cluster has fewer slots.

    Parameters
    ----------
    n_rows : int
    n_slots : int
        Tasks that run at once on this cluster.
    """
    return min(n_slots, 1 + n_rows // _ROWS_PER_WORKER)


def classifier(kind: str, *, n_workers: int, seed: int, weighted: bool) -> Estimator:
    """Return an estimator of classes, numbered from 0 without gaps.

    Parameters
    ----------
    kind : str
        FOREST or BOOSTED.
    n_workers : int
        Tasks that train together.
    seed : int
    weighted : bool
        Whether rows have a weight in `_weight`.
    """
    if kind == BOOSTED:
        settings = _BOOSTED | _BOOSTED_CLASSES | _boosted_columns(weighted)
        return _xgboost().SparkXGBClassifier(**settings, num_workers=n_workers, random_state=seed)
    from pyspark.ml.classification import RandomForestClassifier

    return RandomForestClassifier(**_FOREST, **_forest_columns(weighted), seed=seed)


def regressor(kind: str, *, n_workers: int, seed: int) -> Estimator:
    """Return an estimator of a number; parameters as in `classifier`."""
    if kind == BOOSTED:
        settings = _BOOSTED | _BOOSTED_NUMBER | _boosted_columns(weighted=False)
        return _xgboost().SparkXGBRegressor(**settings, num_workers=n_workers, random_state=seed)
    from pyspark.ml.regression import RandomForestRegressor

    return RandomForestRegressor(**_FOREST, **_forest_columns(weighted=False), seed=seed)


def error_root(kind: str, *, n_workers: int, seed: int, roots: str, output: str) -> Estimator:
    """Return an estimator of the root of the absolute error: column `roots` in, `output` out."""
    if kind == BOOSTED:
        settings = _BOOSTED | _BOOSTED_ROOT | _boosted_columns(weighted=False)
        settings |= {"label_col": roots, "prediction_col": output}
        return _xgboost().SparkXGBRegressor(**settings, num_workers=n_workers, random_state=seed)
    from pyspark.ml.regression import RandomForestRegressor

    settings = _FOREST | _forest_columns(weighted=False)
    settings |= {"labelCol": roots, "predictionCol": output, "minInstancesPerNode": 20}
    return RandomForestRegressor(**settings, seed=seed)


def importances(model: Model, *, n_features: int) -> NDArray[np.float64]:
    """Return the importance of each feature: its share of the gain of all splits.

    Parameters
    ----------
    model : Model
        Fitted by one of the estimators of this module.
    n_features : int

    Returns
    -------
    np.ndarray [shape=(n_features,)]
        Not negative; the sum is 1.
    """
    if hasattr(model, "get_booster"):
        gains = total_gains(model.get_booster(), n_features=n_features)
    else:
        gains = model.featureImportances.toArray()
    return gains / max(gains.sum(), np.finfo(float).tiny)


class Probabilities(StoredModel):
    """Adds `probabilities`, one entry per class, sum 1; drops the columns it is computed from.

    The setting `labels` lists the classes that the estimator saw; others get the probability 0.
    """

    def _transform(self, frame: DataFrame) -> DataFrame:
        given = vector_to_array("probability")
        total = F.aggregate(given, F.lit(0.0), lambda total, part: total + part)
        places = {label: place for place, label in enumerate(self.settings["labels"])}
        entries = [
            F.get(given, F.lit(places[label])) / total if label in places else F.lit(0.0)
            for label in range(self.settings["n_classes"])
        ]
        frame = frame.withColumn("probabilities", F.array(*entries))
        return _without_internals(frame.drop(*_OUTPUTS))


class Difficulty(StoredModel):
    """Adds `difficulty`, the square of `root`; the root is at least the setting `least`."""

    def _transform(self, frame: DataFrame) -> DataFrame:
        root: Column = F.greatest(F.col(self.settings["root"]), F.lit(self.settings["least"]))
        size = F.pow(root, F.lit(2))
        frame = frame.withColumns(
            {"prediction": F.col("prediction").cast("double"), "difficulty": size.cast("double")}
        )
        return _without_internals(frame.drop(self.settings["root"]))


def _for_train(settings: dict) -> dict:
    """The same settings under the names of XGBoost's own `train`."""
    names = {"n_estimators": "num_boost_round"}
    return {names.get(name, name): value for name, value in settings.items() if name != "verbose"}


def _without_internals(frame: DataFrame) -> DataFrame:
    return frame.drop(PREPARED, ENCODED, LOCAL, FEATURES)


def _boosted_columns(weighted: bool) -> dict:
    columns = {"features_col": FEATURES, "label_col": LABEL}
    return columns | ({"weight_col": WEIGHT} if weighted else {})


def _forest_columns(weighted: bool) -> dict:
    columns = {"featuresCol": FEATURES, "labelCol": LABEL}
    return columns | ({"weightCol": WEIGHT} if weighted else {})


def _xgboost():
    try:
        import xgboost.spark
    except ImportError as error:
        raise _no_xgboost() from error
    return xgboost.spark


def _no_xgboost() -> SetupError:
    return SetupError(
        f"The boosted models need XGBoost: {install_command(XGBOOST)}, or train with "
        "the kind forest (--model forest)."
    )
