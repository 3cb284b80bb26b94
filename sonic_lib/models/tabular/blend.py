"""Choose the best of several learners, or their weighted mean if that is significantly better."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

_MAX_P = 0.05
_LEAST_WEIGHT = 0.05  # smaller weights are not worth the time for prediction
_STEPS = 200


def losses(answers: NDArray, labels: NDArray, *, is_class: bool) -> NDArray[np.float64]:
    """Log-loss or squared error of each row [shape=(n,)]."""
    if is_class:
        said = answers[np.arange(len(labels)), labels.astype(int)]
        return -np.log(np.maximum(said, 1e-15))
    return (answers - labels) ** 2


def choose(answers: Mapping[str, NDArray], labels: NDArray, *, is_class: bool) -> dict[str, float]:
    """Weight learners by their out-of-fold predictions.

    Parameters
    ----------
    answers : mapping of str to np.ndarray
        By learner: probabilities [shape=(n, K)], or numbers [shape=(n,)].
    labels : np.ndarray [shape=(n,)]

    Returns
    -------
    dict of str to float
        Positive weights, sum 1: of a single learner, unless the mean has a lower loss by a paired
        test with p < 0.05.
    """
    names = list(answers)
    each = {name: losses(answers[name], labels, is_class=is_class) for name in names}
    best = min(names, key=lambda name: float(each[name].mean()))
    if len(names) == 1:
        return {best: 1.0}
    weights = _weights([answers[name] for name in names], labels, is_class=is_class)
    kept = {name: w for name, w in zip(names, weights, strict=True) if w >= _LEAST_WEIGHT}
    mixed = {name: float(w / sum(kept.values())) for name, w in kept.items()}
    gain = each[best] - losses(mean(answers, mixed), labels, is_class=is_class)
    if not gain.std() or stats.ttest_1samp(gain, 0, alternative="greater").pvalue >= _MAX_P:
        return {best: 1.0}
    return mixed


def mean(answers: Mapping[str, NDArray], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Weighted mean of the predictions."""
    return np.sum([weight * answers[name] for name, weight in weights.items()], axis=0)


def _weights(answers: list[NDArray], labels: NDArray, *, is_class: bool) -> NDArray[np.float64]:
    if is_class:
        # Expectation maximisation of a mixture; log-loss is convex in the weights.
        place = np.arange(len(labels)), labels.astype(int)
        said = np.maximum(np.column_stack([each[place] for each in answers]), 1e-15)
        weights = np.full(said.shape[1], 1 / said.shape[1])
        for _ in range(_STEPS):
            parts = said * weights
            weights = (parts / parts.sum(axis=1, keepdims=True)).mean(axis=0)
        return weights
    said = np.column_stack(answers)
    # Least squares; a heavy extra row enforces the sum 1.
    heavy = 1e3 * np.abs(said).max() * np.sqrt(len(labels))
    rows = np.vstack([said, np.full((1, said.shape[1]), heavy)])
    weights, _ = optimize.nnls(rows, np.append(labels, heavy))
    return weights / weights.sum()
