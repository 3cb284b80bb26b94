"""Learners in one process: boosted trees, forest, linear model, kernel machine.

A fitted learner is a dict of arrays: nothing is unpickled, and only boosted trees need their
library to predict.  All are single-threaded, so that the same rows give the same model everywhere;
several are fitted in parallel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sonic_lib.models.tabular import boosters, forest, linear

if TYPE_CHECKING:
    import xgboost

Fitted = dict[str, NDArray]

BOOSTED, FOREST, LINEAR, KERNEL = "boosted", "forest", "linear", "kernel"
_READ = "read booster"


def fit(
    kind: str,
    features: NDArray[np.float32],
    labels: NDArray[np.float64],
    *,
    n_classes: int,
    weights: NDArray[np.float64] | None,
    seed: int,
    settings: Mapping[str, Any],
) -> Fitted:
    """Fit one learner.

    Parameters
    ----------
    kind : str
        BOOSTED, FOREST, LINEAR or KERNEL.
    features : np.ndarray [shape=(n, d)]
        Finite.
    labels : np.ndarray [shape=(n,)]
        Number of the class, or the target.
    n_classes : int
        0 for a regression.
    weights : np.ndarray [shape=(n,)], optional
    seed : int
    settings : mapping
        For boosted trees: parameters of XGBoost's `train`, and num_boost_round.
    """
    if not n_classes:
        return {"kind": np.array(kind)} | _fit(kind, features, labels, 0, weights, seed, settings)
    # A rare class may be missing here, and learners need labels without gaps.
    present, numbered = np.unique(labels.astype(np.int64), return_inverse=True)
    fitted: Fitted = {"kind": np.array(kind), "labels": present, "n_classes": np.array(n_classes)}
    if len(present) == 1:
        return fitted
    return fitted | _fit(kind, features, numbered, len(present), weights, seed, settings)


def predict(fitted: Mapping[str, Any], features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Predict probabilities [shape=(n, K)], or numbers [shape=(n,)]."""
    if "labels" not in fitted:
        return _predict(fitted, features) if len(features) else np.zeros(0)
    answer = np.zeros((len(features), int(fitted["n_classes"])))
    if not len(features):
        return answer
    if len(fitted["labels"]) == 1:
        answer[:, fitted["labels"]] = 1.0
        return answer
    scores = np.maximum(_predict(fitted, features), 0)
    answer[:, fitted["labels"]] = scores / scores.sum(axis=1, keepdims=True)
    return answer


def _fit(
    kind: str,
    features: NDArray,
    labels: NDArray,
    n_classes: int,
    weights: NDArray | None,
    seed: int,
    settings: Mapping[str, Any],
) -> Fitted:
    if kind == BOOSTED:
        return _fit_boosted(features, labels, n_classes, weights, seed, settings)
    if kind == FOREST:
        return forest.fit(features, labels, n_classes=n_classes, weights=weights, seed=seed)
    if kind == LINEAR:
        return linear.fit_linear(features, labels, n_classes=n_classes, weights=weights)
    return linear.fit_kernel(features, labels, n_classes=n_classes, weights=weights, seed=seed)


def _predict(fitted: Mapping[str, Any], features: NDArray) -> NDArray[np.float64]:
    kind = str(fitted["kind"])
    if kind == BOOSTED:
        scores = _booster(fitted).inplace_predict(features).astype(np.float64)
        # For two classes it returns one probability.
        is_pair = "labels" in fitted and scores.ndim == 1
        return np.column_stack([1 - scores, scores]) if is_pair else scores
    if kind == FOREST:
        return forest.predict(fitted, features)
    return linear.predict(fitted, features)


def _fit_boosted(
    features: NDArray,
    labels: NDArray,
    n_classes: int,
    weights: NDArray | None,
    seed: int,
    settings: Mapping[str, Any],
) -> Fitted:
    import xgboost

    if n_classes > 2:
        task = {"objective": "multi:softprob", "num_class": n_classes}
    else:
        task = {"objective": "binary:logistic" if n_classes else "reg:squarederror"}
    parameters = dict(settings) | task | {"nthread": 1, "seed": seed}
    n_rounds = parameters.pop("num_boost_round")
    # Must be the same for the matrix and the training.
    shared = {"max_bin": parameters["max_bin"]} if "max_bin" in parameters else {}
    rows = xgboost.QuantileDMatrix(features, labels, weight=weights, nthread=1, **shared)
    booster = xgboost.train(parameters, rows, n_rounds)
    return {"booster": np.frombuffer(bytes(booster.save_raw("ubj")), np.uint8)}


def check(fitted: Mapping[str, Any], *, n_features: int) -> None:
    """Reject content that could crash or hang `predict`; wrong shapes are left to `predict`.

    Raises
    ------
    ValueError, LookupError, TypeError, AttributeError
        If `fit` could not have returned it.
    """
    if str(fitted["kind"]) not in (BOOSTED, FOREST, LINEAR, KERNEL):
        raise ValueError(f"a learner of kind {fitted['kind']}")
    if "booster" in fitted:
        parsed = boosters.read_ubjson(fitted["booster"].tobytes())
        boosters.check_booster(parsed, n_features=n_features)
    elif "roots" in fitted:
        forest.check(fitted, n_features=n_features)


def ready(fitted: Mapping[str, Any]) -> dict[str, Any]:
    """Parse the trees once, for many calls of `predict`."""
    return dict(fitted) | ({_READ: _booster(fitted)} if "booster" in fitted else {})


def _booster(fitted: Mapping[str, Any]) -> Any:
    import xgboost

    if _READ in fitted:
        return fitted[_READ]
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(fitted["booster"].tobytes()))
    return booster


def importances(fitted: Mapping[str, Any], *, n_features: int) -> NDArray[np.float64]:
    """Importance of each feature, sum 1; zeros for a kernel machine, which has none.

    The gain of the splits for trees, the absolute slopes for the linear model.
    """
    kind = str(fitted["kind"])
    if kind == BOOSTED and "booster" in fitted:
        gains = total_gains(_booster(fitted), n_features=n_features)
    elif "importances" in fitted:
        gains = np.asarray(fitted["importances"], np.float64)
    elif "landmarks" not in fitted and "slopes" in fitted:
        gains = np.abs(fitted["slopes"]).sum(axis=1)
    else:
        gains = np.zeros(n_features)
    return gains / max(gains.sum(), np.finfo(float).tiny)


def total_gains(booster: xgboost.Booster, *, n_features: int) -> NDArray[np.float64]:
    """Sum the gain of all splits on each feature; 0 for features that are never split on."""
    gains = np.zeros(n_features)
    for name, gain in booster.get_score(importance_type="total_gain").items():
        gains[int(name.removeprefix("f"))] = gain
    return gains
