"""The best of several learners, or several together where that is better beyond noise.

Numbers are a weighted mean.  Probabilities are pooled as logarithms, with weights that need not
have the sum 1 (G. Hinton, Products of experts, 1999): so a forest, whose answers are too cautious,
still counts by what it tells apart, and its answers alone are sharpened if they need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

_MAX_P = 0.05
_LEAST_WEIGHT = 0.05  # what counts less is not worth its time when it answers
_LEAST_PROBABILITY = 1e-3  # no learner alone can rule a class out
_MAX_SHARPNESS = 10.0
_WEIGHT_COST = 1e-4  # in nats, so that a learner that says nothing gets no weight


@dataclass(frozen=True)
class Blend:
    """How learners answer together.

    Parameters
    ----------
    weights : dict of str to float
        Of sum 1, by learner.
    sharpness : float
        By which the mean of the logarithms of probabilities is multiplied; of numbers it is 1.
    """

    weights: Mapping[str, float]
    sharpness: float = 1.0

    def of(self, answers: Mapping[str, NDArray], *, is_class: bool) -> NDArray[np.float64]:
        """Answer together: probabilities [shape=(n, K)], or numbers [shape=(n,)]."""
        if len(self.weights) == 1 and self.sharpness == 1:
            return answers[next(iter(self.weights))]
        parts = {name: answers[name] for name in self.weights}
        if is_class:
            parts = {name: _logarithms(answer) for name, answer in parts.items()}
        said = np.sum([weight * parts[name] for name, weight in self.weights.items()], axis=0)
        return special.softmax(self.sharpness * said, axis=1) if is_class else said


def losses(answers: NDArray, labels: NDArray, *, is_class: bool) -> NDArray[np.float64]:
    """Log-loss or squared error of each row [shape=(n,)]."""
    if is_class:
        said = answers[np.arange(len(labels)), labels.astype(int)]
        return -np.log(np.maximum(said, 1e-15))
    return (answers - labels) ** 2


def choose(answers: Mapping[str, NDArray], labels: NDArray, *, is_class: bool) -> Blend:
    """Weigh learners by what they said of rows that they had not seen.

    Parameters
    ----------
    answers : mapping of str to np.ndarray
        By learner: probabilities [shape=(n, K)], or numbers [shape=(n,)].
    labels : np.ndarray [shape=(n,)]

    Returns
    -------
    Blend
        Of one learner alone as it is, unless the loss of several, or of a sharpened one, is less
        by a paired test with p < 0.05.
    """
    names = list(answers)
    each = {name: losses(answers[name], labels, is_class=is_class) for name in names}
    best = min(names, key=lambda name: float(each[name].mean()))
    alone = Blend({best: 1.0})
    if len(names) == 1 and not is_class:
        return alone
    found = (_exponents if is_class else _weights)([answers[name] for name in names], labels)
    least = _LEAST_WEIGHT * found.sum()
    kept = [name for name, weight in zip(names, found, strict=True) if weight >= least > 0]
    if not kept:
        return alone
    if len(kept) < len(names):  # what is left weighs as it is best without the others
        found = (_exponents if is_class else _weights)([answers[name] for name in kept], labels)
    if not (total := float(found.sum())):
        return alone
    weights = {name: float(w / total) for name, w in zip(kept, found, strict=True) if w > 0}
    together = Blend(weights, total if is_class else 1.0)
    said = together.of(answers, is_class=is_class)
    gain = each[best] - losses(said, labels, is_class=is_class)
    noise = float(gain.std(ddof=1)) / np.sqrt(len(gain)) if len(gain) > 1 else 0.0
    is_better = noise > 0 and stats.t.sf(gain.mean() / noise, len(gain) - 1) < _MAX_P
    return together if is_better else alone


def _exponents(answers: list[NDArray], labels: NDArray) -> NDArray[np.float64]:
    """Weights of the logarithms with the least log-loss, which is convex in them."""
    parts = np.stack([_logarithms(answer) for answer in answers])
    rows, places = np.arange(len(labels)), labels.astype(int)
    true = parts[:, rows, places].mean(axis=1)

    def loss(weights: NDArray) -> tuple[float, NDArray]:
        said = np.tensordot(weights, parts, 1)
        total = special.logsumexp(said, axis=1, keepdims=True)
        shares = np.exp(said - total)
        expected = np.einsum("knc,nc->k", parts, shares) / len(labels)
        cost = _WEIGHT_COST * weights.sum()
        return float(total.mean() - weights @ true + cost), expected - true + _WEIGHT_COST

    start = np.full(len(parts), 1 / len(parts))
    bounds = [(0.0, _MAX_SHARPNESS)] * len(parts)
    return optimize.minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x


def _weights(answers: list[NDArray], labels: NDArray) -> NDArray[np.float64]:
    """Least squares of weights of sum 1: that sum is a row heavier than all others."""
    said = np.column_stack(answers)
    heavy = 1e3 * np.abs(said).max() * np.sqrt(len(labels))
    if not heavy:
        return np.zeros(len(answers))
    rows = np.vstack([said, np.full((1, said.shape[1]), heavy)])
    weights, _ = optimize.nnls(rows, np.append(labels, heavy))
    return weights


def _logarithms(answer: NDArray) -> NDArray[np.float64]:
    least = _LEAST_PROBABILITY
    return np.log((1 - least) * answer + least / answer.shape[1])
