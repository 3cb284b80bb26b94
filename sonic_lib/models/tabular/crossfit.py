"""Cross-validate and fit one table in one process.

The table is built once (`table.from_arrow`), then every fold is encoded and fitted on the same
arrays, as many at a time as there are threads. Each fit is single-threaded, so the result does not
depend on the number of threads.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.pool import ThreadPool
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonic_lib.models.tabular import blend, encode, learners
from sonic_lib.models.tabular.blend import Blend
from sonic_lib.models.tabular.encode import State, TrainingSet
from sonic_lib.models.tabular.table import Layout, Table

HELD_OUT_FOLD = -1  # the fold of held-out rows
LEAST_ROOT_SHARE = 0.2  # of the mean root of the errors: no prediction is certain
LEAST_ROOT = 1e-5


@dataclass(frozen=True)
class Request:
    """What to fit.

    Parameters
    ----------
    layout : Layout
    kinds : tuple of str
        Kinds of `learners`; several are blended, or the best is chosen.
    n_classes : int
        0 for a regression.
    seed : int
    weighted : bool
        Weight rare classes as much as frequent ones.
    boosted, roots : mapping
        Settings of the boosted trees that predict the target, and the roots of its errors.
    """

    layout: Layout
    kinds: tuple[str, ...]
    n_classes: int
    seed: int
    weighted: bool
    boosted: Mapping[str, Any]
    roots: Mapping[str, Any]


@dataclass
class Fit:
    """One fit: encoders and a learner of each kind, with their predictions."""

    rows: NDArray[np.int64]
    asked: NDArray[np.int64]
    state: State
    known: NDArray[np.float32]
    new: NDArray[np.float32]
    fitted: dict[str, learners.Fitted]
    answers: dict[str, NDArray]
    blend: Blend
    is_class: bool
    roots: learners.Fitted | None = None
    least: float = 0.0

    def predicted(self) -> NDArray[np.float64]:
        """The joint prediction of the learners."""
        return self.blend.of(self.answers, is_class=self.is_class)

    def difficulty(self) -> NDArray[np.float64]:
        """The expected size of the error of each row."""
        assert self.roots is not None
        return difficulty_of(self.roots, self.new, least=self.least)


@dataclass(frozen=True)
class Crossfit:
    """Out-of-sample scores, and the fits.

    Parameters
    ----------
    scores : np.ndarray [shape=(n, K)] or [shape=(n, 2)]
        Probabilities, or prediction and difficulty, of every scored row; NaN for others.
    judge : Fit or None
        Fitted on all rows but the held-out ones, which evaluate it.
    served : Fit
        Fitted on all rows.
    without : np.ndarray [shape=(n, K)] or [shape=(n, 1)]
        Predictions for the held-out rows by a `judge` without text features; NaN for others.
    """

    scores: NDArray[np.float64]
    judge: Fit | None
    served: Fit
    without: NDArray[np.float64]


def crossfit(
    table: Table,
    labels: NDArray[np.float64],
    inner: NDArray[np.int64],
    outer: NDArray[np.int64],
    *,
    request: Request,
    n_threads: int,
) -> Crossfit:
    """Fit all folds, the model that the held-out rows evaluate, and the final one.

    Parameters
    ----------
    table : Table
    labels : np.ndarray [shape=(n,)]
        Number of the class, or the target.
    inner, outer : np.ndarray [shape=(n,), int]
        Folds for encoding training rows; folds for scoring, or HELD_OUT_FOLD.
    request : Request
    n_threads : int
        Fits in parallel.
    """
    is_held_out = outer == HELD_OUT_FOLD
    folds = np.unique(outer[~is_held_out]).tolist()
    jobs = [
        _Job(~is_held_out & (outer != fold), outer == fold, request)
        for fold in folds
        if len(folds) > 1
    ]

    def fitted(job: _Job) -> Fit:
        rows = np.flatnonzero(job.in_training)
        training_set = TrainingSet(rows, labels[rows], inner[rows], request.n_classes)
        return fit_once(table, training_set, np.flatnonzero(job.asked), request=job.request)

    with _few_threads(n_threads) as pool:
        scored = pool.map(fitted, jobs, chunksize=1)
        chosen = _weigh(scored, labels, request)
        for fit in scored:
            fit.state, fit.fitted = {}, {}
            if request.n_classes:  # for a regression, roots of errors are fitted next
                fit.known = fit.new = fit.known[:0]
        # Learners without a weight are not fitted again.
        counted = replace(request, kinds=tuple(chosen.weights))
        later = _final_jobs(is_held_out, counted)
        fits = dict(zip(later, pool.map(fitted, later.values(), chunksize=1), strict=True))
        for fit in fits.values():
            fit.blend = chosen
        plain = fits.pop("without", None)
        if not request.n_classes:
            _fit_roots([*scored, *fits.values()], labels, request, pool)
    scores = np.full((len(labels), request.n_classes or 2), np.nan)
    for fit in [*scored, *fits.values()]:
        if len(fit.asked):
            predicted = fit.predicted()
            if not request.n_classes:
                predicted = np.column_stack([predicted, fit.difficulty()])
            scores[fit.asked] = predicted
    without = np.full((len(labels), request.n_classes or 1), np.nan)
    if plain is not None:
        without[plain.asked] = plain.predicted().reshape(len(plain.asked), -1)
    return Crossfit(scores, fits.get("judge"), fits["served"], without)


class _Job(NamedTuple):
    """Rows to fit on, rows to predict, and how."""

    in_training: NDArray[np.bool_]
    asked: NDArray[np.bool_]
    request: Request


def _final_jobs(is_held_out: NDArray[np.bool_], request: Request) -> dict[str, _Job]:
    """The final model, the one that the held-out rows evaluate, and that one without texts."""
    every = np.ones(len(is_held_out), bool)
    jobs = {"served": _Job(every, ~every, request)}
    if is_held_out.any():
        jobs["judge"] = _Job(~is_held_out, is_held_out, request)
        if request.layout.texts:
            jobs["without"] = jobs["judge"]._replace(request=without_texts(request))
    return jobs


def fit_once(
    table: Table, training_set: TrainingSet, asked: NDArray[np.int64], *, request: Request
) -> Fit:
    """Fit encoders and learners on some rows, and predict others."""
    n_classes, layout = request.n_classes, request.layout
    state, known = encode.fit(table, training_set, layout=layout)
    new = encode.features(table, asked, state, layout=layout, n_classes=n_classes)
    weights = _class_weights(training_set) if request.weighted and n_classes else None
    fitted, answers = {}, {}
    for kind in request.kinds:
        fitted[kind] = learners.fit(
            kind,
            known,
            training_set.labels,
            n_classes=n_classes,
            weights=weights,
            seed=request.seed,
            settings=request.boosted,
        )
        answers[kind] = learners.predict(fitted[kind], new)
    equal = _equal(request.kinds)
    return Fit(training_set.rows, asked, state, known, new, fitted, answers, equal, bool(n_classes))


def without_texts(request: Request) -> Request:
    """Return the same request without text features."""
    return replace(request, layout=replace(request.layout, texts=()))


def _weigh(scored: Sequence[Fit], labels: NDArray, request: Request) -> Blend:
    """Set the blend of each fold from the other folds, and return the blend of all folds."""
    if not scored:
        return _equal(request.kinds)
    rows = np.concatenate([fit.asked for fit in scored])
    fold = np.repeat(np.arange(len(scored)), [len(fit.asked) for fit in scored])
    by_kind = {
        kind: np.concatenate([fit.answers[kind] for fit in scored]) for kind in request.kinds
    }

    def chosen(some: NDArray[np.bool_]) -> Blend:
        part = {kind: answers[some] for kind, answers in by_kind.items()}
        return blend.choose(part, labels[rows[some]], is_class=bool(request.n_classes))

    for place, fit in enumerate(scored):
        fit.blend = chosen(fold != place)
    return chosen(fold >= 0)


def _equal(kinds: Sequence[str]) -> Blend:
    return Blend({kind: 1 / len(kinds) for kind in kinds})


def difficulty_of(
    roots: learners.Fitted, features: NDArray[np.float32], *, least: float
) -> NDArray[np.float64]:
    """The expected size of errors, from a model of the roots of absolute errors.

    Roots, as a few huge errors (of plays or followers, say) would otherwise decide all sizes.

    Parameters
    ----------
    roots : Fitted
    features : np.ndarray [shape=(n, d)]
    least : float > 0
        Smallest root.

    Returns
    -------
    np.ndarray [shape=(n,)]
        In units of the target, > 0.
    """
    return np.maximum(learners.predict(roots, features), least) ** 2


def _fit_roots(fits: Sequence[Fit], labels: NDArray, request: Request, pool: ThreadPool) -> None:
    """Fit a model of the root of the absolute error of each fit to out-of-sample errors."""
    roots = np.full(len(labels), np.nan)
    for fit in fits:
        roots[fit.asked] = np.sqrt(np.abs(labels[fit.asked] - fit.predicted()))
    # Tree learners only: they suit any features, whatever learners predict the target.
    kind = learners.FOREST if request.kinds == (learners.FOREST,) else learners.BOOSTED

    def trained(fit: Fit) -> None:
        of_rows = roots[fit.rows]
        is_known = np.isfinite(of_rows)
        fit.least = max(LEAST_ROOT_SHARE * float(of_rows[is_known].mean()), LEAST_ROOT)
        fit.roots = learners.fit(
            kind,
            fit.known[is_known],
            of_rows[is_known],
            n_classes=0,
            weights=None,
            seed=request.seed,
            settings=request.roots,
        )

    pool.map(trained, fits, chunksize=1)


def _class_weights(training_set: TrainingSet) -> NDArray[np.float64]:
    labels, place, counts = np.unique(training_set.labels, return_inverse=True, return_counts=True)
    return (len(place) / (len(labels) * counts))[place]


@contextmanager
def _few_threads(n_threads: int) -> Iterator[ThreadPool]:
    """Yield a thread pool, with single-threaded linear algebra and warnings silenced."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings(), ThreadPool(n_threads) as pool:
        # scikit-learn warns in every tree if there are many classes.
        warnings.simplefilter("ignore")
        yield pool
