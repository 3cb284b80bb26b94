"""All folds of one table in one go: scores of rows not seen, and the model that serves.

The table is made once (`table.from_arrow`), then every fold is described and fitted on the same
arrays, as many at a time as there are threads. Each fit is single-threaded: how many run together
changes nothing in what comes out.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.pool import ThreadPool
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonic_lib.models.tabular import blend, encode, learners
from sonic_lib.models.tabular.blend import Blend
from sonic_lib.models.tabular.encode import State, TrainingSet
from sonic_lib.models.tabular.table import Layout, Table

HELD_OUT = -1  # the fold of rows that are kept from every fold
_LEAST_SIZE_SHARE = 0.05  # of the mean error: no song is foretold with certainty


@dataclass(frozen=True)
class Request:
    """What is fitted.

    Parameters
    ----------
    layout : Layout
    kinds : tuple of str
        Of `learners`; of several the best one or a mean.
    n_classes : int
        0 for a regression.
    seed : int
    weighted : bool
        Whether rare classes count as much as frequent ones.
    boosted, sizes : mapping
        Settings of the boosted trees, and of those that learn the sizes of errors.
    """

    layout: Layout
    kinds: tuple[str, ...]
    n_classes: int
    seed: int
    weighted: bool
    boosted: Mapping[str, Any]
    sizes: Mapping[str, Any]


@dataclass
class Fit:
    """One fit: encoders and a learner of each kind, with what they said of the rows asked."""

    rows: NDArray[np.int64]
    asked: NDArray[np.int64]
    state: State
    known: NDArray[np.float32]
    new: NDArray[np.float32]
    fitted: dict[str, learners.Fitted]
    answers: dict[str, NDArray]
    blend: Blend
    is_class: bool
    sizes: learners.Fitted | None = None
    least: float = 0.0

    def said(self) -> NDArray[np.float64]:
        """What the learners say together of the rows asked."""
        return self.blend.of(self.answers, is_class=self.is_class)

    def difficulty(self) -> NDArray[np.float64]:
        """How large an error is expected for each of them."""
        assert self.sizes is not None
        return np.maximum(learners.predict(self.sizes, self.new), self.least)


@dataclass(frozen=True)
class Crossfit:
    """Scores by models that had not seen the rows, and the fits.

    Parameters
    ----------
    scores : np.ndarray [shape=(n, K)] or [shape=(n, 2)]
        Of every row that was asked: probabilities; or prediction and difficulty. NaN of others.
    judge, served : Fit or None
        Fitted on all rows but the held-out ones; on all rows.
    each : dict of str to np.ndarray
        What each kind said of the rows that folds scored, which are `rows`.
    without : np.ndarray [shape=(n, K)] or [shape=(n, 1)]
        What the judge says without texts, of the held-out rows; NaN of others.
    """

    scores: NDArray[np.float64]
    judge: Fit | None
    served: Fit | None
    each: dict[str, NDArray]
    without: NDArray[np.float64]


def crossfit(
    table: Table,
    labels: NDArray[np.float64],
    inner: NDArray[np.int64],
    outer: NDArray[np.int64],
    *,
    request: Request,
    serve: bool,
    n_threads: int,
) -> Crossfit:
    """Fit all folds, the model that the held-out rows judge, and the one that serves.

    Parameters
    ----------
    table : Table
    labels : np.ndarray [shape=(n,)]
        Number of the class, or the target.
    inner, outer : np.ndarray [shape=(n,), int]
        Folds by which training rows are described; by which rows are scored, HELD_OUT of those
        that no fold learns from.
    request : Request
    serve : bool
        Whether a model is fitted on all rows, too.
    n_threads : int
        Fits at a time.
    """
    is_held_out = outer == HELD_OUT
    folds = np.unique(outer[~is_held_out]).tolist()
    every = np.ones(len(labels), bool)
    jobs = [(~is_held_out & (outer != fold), outer == fold) for fold in folds if len(folds) > 1]
    scores = np.full((len(labels), request.n_classes or 2), np.nan)
    without = np.full((len(labels), request.n_classes or 1), np.nan)

    def fitted(job: tuple[NDArray, NDArray, Request]) -> Fit:
        train_and_evaluate, ask, asked_of = job
        rows = np.flatnonzero(train_and_evaluate)
        training_set = TrainingSet(rows, labels[rows], inner[rows], request.n_classes)
        return fit_once(table, training_set, np.flatnonzero(ask), request=asked_of)

    with _few_threads(n_threads) as pool:
        scored = pool.map(fitted, [(*job, request) for job in jobs], chunksize=1)
        chosen, each = _weigh(scored, labels, request)
        for fit in scored:
            fit.state, fit.fitted = {}, {}
            if request.n_classes:  # else sizes of errors are still to be learned
                fit.known = fit.new = fit.known[:0]
        # Only what counts is fitted to more rows.
        counted = replace(request, kinds=tuple(chosen.weights))
        later = {"served": (every, ~every, counted)} if serve else {}
        if is_held_out.any():
            later["judge"] = (~is_held_out, is_held_out, counted)
            if serve and request.layout.texts:
                later["without"] = (~is_held_out, is_held_out, without_texts(counted))
        fits = dict(zip(later, pool.map(fitted, later.values(), chunksize=1), strict=True))
        for fit in fits.values():
            fit.blend = chosen
        plain = fits.pop("without", None)
        if not request.n_classes:
            _fit_sizes([*scored, *fits.values()], labels, request, pool)
    for fit in [*scored, *fits.values()]:
        if len(fit.asked):
            said = fit.said()
            told = said if request.n_classes else np.column_stack([said, fit.difficulty()])
            scores[fit.asked] = told
    if plain is not None:
        without[plain.asked] = plain.said().reshape(len(plain.asked), -1)
    return Crossfit(scores, fits.get("judge"), fits.get("served"), each, without)


def fit_once(
    table: Table, training_set: TrainingSet, asked: NDArray[np.int64], *, request: Request
) -> Fit:
    """Fit encoders and learners on some rows, and ask them about others."""
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
    """The same without what letters say."""
    return replace(request, layout=replace(request.layout, texts=()))


def _weigh(
    scored: Sequence[Fit], labels: NDArray, request: Request
) -> tuple[Blend, dict[str, NDArray]]:
    """Weigh the kinds by all folds, and those of each fold by the others alone."""
    if not scored:
        return _equal(request.kinds), {}
    rows = np.concatenate([fit.asked for fit in scored])
    fold = np.repeat(np.arange(len(scored)), [len(fit.asked) for fit in scored])
    said = {kind: np.concatenate([fit.answers[kind] for fit in scored]) for kind in request.kinds}

    def chosen(some: NDArray[np.bool_]) -> Blend:
        part = {kind: answers[some] for kind, answers in said.items()}
        return blend.choose(part, labels[rows[some]], is_class=bool(request.n_classes))

    for place, fit in enumerate(scored):
        fit.blend = chosen(fold != place)
    return chosen(fold >= 0), said | {"rows": rows}


def _equal(kinds: Sequence[str]) -> Blend:
    return Blend({kind: 1 / len(kinds) for kind in kinds})


def _fit_sizes(fits: Sequence[Fit], labels: NDArray, request: Request, pool: ThreadPool) -> None:
    """Learn the expected size of an error from the errors of rows that were not seen."""
    errors = np.full(len(labels), np.nan)
    for fit in fits:
        errors[fit.asked] = np.abs(labels[fit.asked] - fit.said())
    # Of trees: they learn sizes from the features of any kind of model.
    kind = learners.FOREST if request.kinds == (learners.FOREST,) else learners.BOOSTED

    def trained(fit: Fit) -> None:
        of_rows = errors[fit.rows]
        is_known = np.isfinite(of_rows)
        fit.least = max(_LEAST_SIZE_SHARE * float(of_rows[is_known].mean()), 1e-9)
        fit.sizes = learners.fit(
            kind,
            fit.known[is_known],
            of_rows[is_known],
            n_classes=0,
            weights=None,
            seed=request.seed,
            settings=request.sizes,
        )

    pool.map(trained, fits, chunksize=1)


def _class_weights(training_set: TrainingSet) -> NDArray[np.float64]:
    labels, place, counts = np.unique(training_set.labels, return_inverse=True, return_counts=True)
    return (len(place) / (len(labels) * counts))[place]


@contextmanager
def _few_threads(n_threads: int) -> Iterator[ThreadPool]:
    """Lend a pool of threads, each of whose linear algebra has one, and none of which warns."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings(), ThreadPool(n_threads) as pool:
        # scikit-learn doubts, once a tree, that so many classes are classes.
        warnings.simplefilter("ignore")
        yield pool
