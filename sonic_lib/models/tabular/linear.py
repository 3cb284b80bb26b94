"""Regularised linear models, on features or on kernel features.

Features are transformed to a normal distribution by their ranks (a grid of quantiles, then the
inverse normal), so units and outliers do not matter.  `linear` is multinomial logistic or ridge
regression.  `kernel` is ridge regression with a Gaussian or a Laplacian kernel (C. Saunders,
A. Gammerman and V. Vovk, Ridge regression learning algorithm in dual variables, 1998), for large
tables with 1,000 landmark rows (C. Williams and M. Seeger, Using the Nystroem method, 2001).
Width and penalty minimise the leave-one-out error, which has a closed form.  Class scores become
probabilities by a softmax whose temperature minimises the leave-one-out log-loss, which also
selects the kernel.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize, special
from scipy.spatial import distance

_N_QUANTILES = 201
_N_LANDMARKS = 1_000
_WIDTH_ROWS = 400
GAUSSIAN, LAPLACIAN = "gaussian", "laplacian"
# Widths to try for exp(-width d), where d is the mean squared or mean absolute difference.
_WIDTHS = {GAUSSIAN: (0.15, 0.4, 1.0), LAPLACIAN: (0.6, 1.6, 4.0)}
_PENALTIES = tuple(float(p) for p in 10.0 ** np.arange(-3, 2.1, 0.5))
_LOGISTIC_PENALTIES = (0.01, 0.1, 1.0)
_TUNED_ROWS = 5_000
_MAX_ITERATIONS = 200


def fit_linear(
    features: NDArray[np.float32], labels: NDArray, *, n_classes: int, weights: NDArray | None
) -> dict[str, NDArray]:
    """Fit logistic or ridge regression; parameters as in `learners.fit`, classes without gaps."""
    grid = _grid(features)
    x = _normal(features, grid)
    if not n_classes:
        centre, slopes = _ridge(x, labels)
        return {"grid": grid, "intercept": np.array([centre]), "slopes": slopes[:, None]}
    from sklearn.linear_model import LogisticRegression

    def fitted(rows: NDArray, strength: float) -> LogisticRegression:
        given = None if weights is None else weights[rows]
        model = LogisticRegression(C=strength, max_iter=_MAX_ITERATIONS, tol=1e-3)
        return model.fit(x[rows], labels[rows], sample_weight=given)

    every = np.arange(len(x))
    strength = _LOGISTIC_PENALTIES[1]
    if len(x) <= _TUNED_ROWS:
        # Validated on one row in three, which is enough to choose an order of magnitude.
        turn = np.random.default_rng(0).permutation(len(x)) % 3
        train_rows, validation_rows = every[turn > 0], every[turn == 0]
        validation_rows = validation_rows[np.isin(labels[validation_rows], labels[train_rows])]

        def loss(strength: float) -> float:
            model = fitted(train_rows, strength)
            place = np.searchsorted(model.classes_, labels[validation_rows])
            probabilities = model.predict_proba(x[validation_rows])
            of_label = probabilities[np.arange(len(validation_rows)), place]
            return -float(np.log(np.maximum(of_label, 1e-9)).mean())

        if len(np.unique(labels[train_rows])) > 1 and len(validation_rows):
            strength = min(_LOGISTIC_PENALTIES, key=loss)
    model = fitted(every, strength)
    slopes, intercept = model.coef_.T, model.intercept_
    if n_classes == 2:  # scikit-learn then has one column of scores
        slopes, intercept = np.hstack([-slopes, slopes]) / 2, np.r_[-intercept, intercept] / 2
    return {"grid": grid, "intercept": intercept, "slopes": slopes, "temperature": np.array(1.0)}


def fit_kernel(
    features: NDArray[np.float32],
    labels: NDArray,
    *,
    n_classes: int,
    weights: NDArray | None,
    seed: int,
) -> dict[str, NDArray]:
    """Fit ridge regression on kernel features; parameters as in `fit_linear`."""
    grid = _grid(features)
    x = _normal(features, grid)
    outcomes = np.eye(n_classes)[labels] if n_classes else np.asarray(labels, float)[:, None]
    share = np.ones(len(x)) if weights is None else weights / weights.mean()
    centre = np.average(outcomes, axis=0, weights=share)
    landmarks = x
    if len(x) > _N_LANDMARKS:
        chosen = np.random.default_rng(seed).choice(len(x), _N_LANDMARKS, replace=False)
        landmarks = x[np.sort(chosen)]
    # Widths from a sample, as the cost of a trial is cubic in the rows; the kernel from all rows.
    some = np.random.default_rng(seed).permutation(len(x))[:_WIDTH_ROWS]
    sample = x[some], x[some], outcomes[some] - centre, share[some]
    widths = {
        shape: min(widths, key=lambda width: _ridge_by_kernel(*sample, shape, width)[0])
        for shape, widths in _WIDTHS.items()
    }
    solved = {
        shape: _ridge_by_kernel(x, landmarks, outcomes - centre, share, shape, width)
        for shape, width in widths.items()
    }
    tempered = {}
    if n_classes:  # choose the kernel by log-loss, not by squared error
        tempered = {
            shape: _temperature(centre + alone, labels) for shape, (*_, alone) in solved.items()
        }
    errors = {
        shape: tempered[shape][1] if n_classes else error for shape, (error, *_) in solved.items()
    }
    shape = min(errors, key=lambda shape: errors[shape])
    width, slopes = widths[shape], solved[shape][1]
    found = {
        "grid": grid,
        "landmarks": landmarks.astype(np.float32),
        "shape": np.array(shape),
        "width": np.array(width),
        "intercept": centre,
        "slopes": slopes,
    }
    if n_classes:
        found["temperature"] = np.array(tempered[shape][0])
    return found


def _ridge_by_kernel(
    x: NDArray, landmarks: NDArray, outcomes: NDArray, share: NDArray, shape: str, width: float
) -> tuple[float, NDArray, NDArray]:
    """Solve for the best penalty: leave-one-out error, slopes and leave-one-out predictions."""
    root = np.sqrt(share)[:, None]
    values, basis, back = _kernel_features(x, landmarks, shape, width, root)
    projected = basis.T @ (root * outcomes)
    best: tuple[float, NDArray, NDArray] | None = None
    for penalty in _PENALTIES:
        shrunk = values / (values + penalty)
        fitted = basis @ (shrunk[:, None] * projected)
        lever = np.minimum((basis**2) @ shrunk, 0.999)
        left_out = (root * outcomes - fitted) / (1 - lever)[:, None]
        error = float((left_out**2).mean())
        if best is None or error < best[0]:
            slopes = back @ ((shrunk / np.sqrt(values))[:, None] * projected)
            best = (error, slopes, outcomes - left_out / root)
    assert best is not None
    return best


def predict(fitted: Mapping[str, NDArray], features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities [shape=(n, K)], or numbers [shape=(n,)]."""
    x = _normal(features, fitted["grid"])
    if "landmarks" in fitted:
        landmarks = fitted["landmarks"].astype(np.float64)
        x = _kernel(x, landmarks, str(fitted.get("shape", GAUSSIAN)), float(fitted["width"]))
    scores = fitted["intercept"] + x @ fitted["slopes"]
    if "temperature" not in fitted:
        return scores[:, 0]
    return special.softmax(scores * float(fitted["temperature"]), axis=1)


def _grid(features: NDArray[np.float32]) -> NDArray[np.float32]:
    steps = np.linspace(0, 1, _N_QUANTILES)
    return np.quantile(features, steps, axis=0, method="inverted_cdf").T.astype(np.float32)


def _normal(features: NDArray[np.float32], grid: NDArray[np.float32]) -> NDArray[np.float64]:
    """Transform each column to a standard normal distribution; a constant one becomes 0."""
    transformed = np.zeros(features.shape)
    for place, steps in enumerate(grid):
        values = features[:, place]
        # Linear between quantiles; ties get the middle of their ranks.
        upto = np.interp(values, *_steps(steps, last=True))
        below = np.interp(values, *_steps(steps, last=False))
        rank = np.clip((upto + below) / 2, 0.5 / len(steps), 1 - 0.5 / len(steps))
        transformed[:, place] = special.ndtri(rank) if steps[0] < steps[-1] else 0.0
    return transformed


def _steps(steps: NDArray, *, last: bool) -> tuple[NDArray, NDArray]:
    ranks = np.linspace(0, 1, len(steps))
    if last:
        values, place = np.unique(steps[::-1], return_index=True)
        return values, ranks[::-1][place]
    values, place = np.unique(steps, return_index=True)
    return values, ranks[place]


def _ridge(x: NDArray, target: NDArray) -> tuple[float, NDArray]:
    centre = float(target.mean())
    values, vectors = np.linalg.eigh(x.T @ x)
    values = np.maximum(values, 0)
    rotated = x @ vectors
    projected = rotated.T @ (target - centre)

    def error(penalty: float) -> float:
        kept = 1 / (values + penalty)
        left = target - centre - rotated @ (kept * projected)
        lever = (rotated**2) @ kept
        return float(((left / (1 - np.minimum(lever, 0.999))) ** 2).mean())

    best = min((p * len(x) / 10 for p in _PENALTIES), key=error)
    return centre, vectors @ (projected / (values + best))


def _kernel_features(
    x: NDArray, landmarks: NDArray, shape: str, width: float, root: NDArray
) -> tuple[NDArray, NDArray, NDArray]:
    """Eigenvalues and eigenvectors of the kernel matrix, and the map from the latter to slopes."""
    inner = _kernel(landmarks, landmarks, shape, width)
    if landmarks is x:
        values, basis = linalg.eigh(root * inner * root.T, overwrite_a=True)
        kept = values > 1e-10 * values[-1]
        values, basis = values[kept], basis[:, kept]
        return values, basis, root * basis / np.sqrt(values)
    inner[np.diag_indices(len(inner))] += 1e-6
    half = linalg.cholesky(inner, lower=True)
    cross = _kernel(x, landmarks, shape, width)
    mapped = root * linalg.solve_triangular(half, cross.T, lower=True).T
    values, rotation = linalg.eigh(mapped.T @ mapped, overwrite_a=True)
    kept = values > 1e-10 * values[-1]
    values, rotation = values[kept], rotation[:, kept]
    basis = (mapped @ rotation) / np.sqrt(values)
    return values, basis, linalg.solve_triangular(half, rotation, lower=True, trans="T")


def _kernel(a: NDArray, b: NDArray, shape: str, width: float) -> NDArray[np.float64]:
    if shape == LAPLACIAN:
        return np.exp(-width * distance.cdist(a, b, "cityblock") / a.shape[1])
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    return np.exp(-width * np.maximum(squares, 0) / a.shape[1])


def _temperature(scores: NDArray, labels: NDArray) -> tuple[float, float]:
    """The factor of scores with the least log-loss, and that loss."""

    def loss(log_factor: float) -> float:
        log_p = special.log_softmax(scores * np.exp(log_factor), axis=1)
        return -float(log_p[np.arange(len(labels)), labels].mean())

    best = optimize.minimize_scalar(loss, bounds=(-2, 5), method="bounded")
    return float(np.exp(best.x)), float(best.fun)
