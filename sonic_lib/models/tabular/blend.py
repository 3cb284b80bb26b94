"""Choose the best of several learners, or combine them if that is significantly better.

Numbers are averaged with weights.  Probabilities are pooled as logarithms (G. Hinton, Products of
experts, 1999); the weights may have any sum, which also sharpens underconfident learners such as
forests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

_MAX_P = 0.05
_LEAST_WEIGHT = 0.05  # smaller weights are not worth the time for prediction
_LEAST_PROBABILITY = 1e-3  # so that no single learner can rule out a class
_MAX_SHARPNESS = 10.0
_WEIGHT_COST = 1e-4  # nats per unit of weight, so that uninformative learners get none


@dataclass(frozen=True)
class Blend:
    """How predictions of learners are combined.

    Parameters
    ----------
    weights : dict of str to float
        By learner; the sum is 1.
    sharpness : float
        Factor applied to the weighted mean of log probabilities; 1 for numbers.
    """

    weights: Mapping[str, float]
    sharpness: float = 1.0

    def of(self, answers: Mapping[str, NDArray], *, is_class: bool) -> NDArray[np.float64]:
        """Combined probabilities [shape=(n, K)], or numbers [shape=(n,)]."""
        if len(self.weights) == 1 and self.sharpness == 1:
            return answers[next(iter(self.weights))]
        parts = {name: answers[name] for name in self.weights}
        if is_class:
            parts = {name: _logarithms(answer) for name, answer in parts.items()}
        combined = np.sum([weight * parts[name] for name, weight in self.weights.items()], axis=0)
        return special.softmax(self.sharpness * combined, axis=1) if is_class else combined


def losses(answers: NDArray, labels: NDArray, *, is_class: bool) -> NDArray[np.float64]:
    """Log-loss or squared error of each row [shape=(n,)]."""
    if is_class:
        of_label = answers[np.arange(len(labels)), labels.astype(int)]
        return -np.log(np.maximum(of_label, 1e-15))
    return (answers - labels) ** 2


def choose(answers: Mapping[str, NDArray], labels: NDArray, *, is_class: bool) -> Blend:
    """Weight learners by their out-of-fold predictions.

    Parameters
    ----------
    answers : mapping of str to np.ndarray
        By learner: probabilities [shape=(n, K)], or numbers [shape=(n,)].
    labels : np.ndarray [shape=(n,)]

    Returns
    -------
    Blend
        The best single learner, unless a combination, or a sharpened learner, has a significantly
        lower loss (paired t-test, p < 0.05).
    """
    names = list(answers)
    each = {name: losses(answers[name], labels, is_class=is_class) for name in names}
    best = min(names, key=lambda name: float(each[name].mean()))
    alone = Blend({best: 1.0})
    if len(names) == 1 and not is_class:
        return alone
    found = (_exponents if is_class else _weights)([answers[name] for name in names], labels)
    least = _LEAST_WEIGHT * found.sum()
    chosen = [name for name, weight in zip(names, found, strict=True) if weight >= least > 0]
    if not chosen:
        return alone
    if len(chosen) < len(names):  # refit without the learners that were dropped
        found = (_exponents if is_class else _weights)([answers[name] for name in chosen], labels)
    if not (total := float(found.sum())):
        return alone
    weights = {name: float(w / total) for name, w in zip(chosen, found, strict=True) if w > 0}
    together = Blend(weights, total if is_class else 1.0)
    combined = together.of(answers, is_class=is_class)
    gain = each[best] - losses(combined, labels, is_class=is_class)
    noise = float(gain.std(ddof=1)) / np.sqrt(len(gain)) if len(gain) > 1 else 0.0
    # Student's t distribution, without scipy.stats, which is slow to load.
    is_better = noise > 0 and special.stdtr(len(gain) - 1, -gain.mean() / noise) < _MAX_P
    return together if is_better else alone


def _exponents(answers: list[NDArray], labels: NDArray) -> NDArray[np.float64]:
    """Weights of the logarithms that minimise the log-loss, which is convex in them."""
    parts = np.stack([_logarithms(answer) for answer in answers])
    rows, places = np.arange(len(labels)), labels.astype(int)
    true = parts[:, rows, places].mean(axis=1)

    def loss(weights: NDArray) -> tuple[float, NDArray]:
        pooled = np.tensordot(weights, parts, 1)
        total = special.logsumexp(pooled, axis=1, keepdims=True)
        shares = np.exp(pooled - total)
        expected = np.einsum("knc,nc->k", parts, shares) / len(labels)
        cost = _WEIGHT_COST * weights.sum()
        return float(total.mean() - weights @ true + cost), expected - true + _WEIGHT_COST

    start = np.full(len(parts), 1 / len(parts))
    bounds = [(0.0, _MAX_SHARPNESS)] * len(parts)
    return optimize.minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x


def _weights(answers: list[NDArray], labels: NDArray) -> NDArray[np.float64]:
    """Non-negative least squares; a heavy extra row makes the weights sum to 1."""
    columns = np.column_stack(answers)
    heavy = 1e3 * np.abs(columns).max() * np.sqrt(len(labels))
    if not heavy:
        return np.zeros(len(answers))
    rows = np.vstack([columns, np.full((1, columns.shape[1]), heavy)])
    weights, _ = optimize.nnls(rows, np.append(labels, heavy))
    return weights


def _logarithms(answer: NDArray) -> NDArray[np.float64]:
    least = _LEAST_PROBABILITY
    return np.log((1 - least) * answer + least / answer.shape[1])
