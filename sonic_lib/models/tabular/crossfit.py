"""All folds of one table in one go: scores of rows not seen, and the model that serves.

The table is made once (`table.from_arrow`), then every fold is described and fitted on the same
arrays, as many at a time as there are threads. Each fit is single-threaded: how many run together
changes nothing in what comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.pool import ThreadPool
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonic_lib.models.tabular import blend, encode, learners
from sonic_lib.models.tabular.encode import TrainingSet, State
from sonic_lib.models.tabular.table import Layout, Table

HELD_OUT = -1  # the fold of rows that are kept from every fold
_LEAST_SIZE_SHARE = 0.05  # of the mean error: no song is foretold with certainty
_INNER_PARTS = 3  # that weights, or errors, come from if there are no folds


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
    sizes: learners.Fitted | None = None
    least: float = 0.0
    weights: dict[str, float] = field(default_factory=dict)

    def said(self) -> NDArray[np.float64]:
        """What the learners say together of the rows asked."""
        return blend.mean(self.answers, self.weights)

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
    """

    scores: NDArray[np.float64]
    judge: Fit | None
    served: Fit | None
    each: dict[str, NDArray]


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
    folds = sorted(set(outer[outer != HELD_OUT].tolist()))
    jobs = {fold: (outer != fold) & (outer != HELD_OUT) for fold in folds if len(folds) > 1}
    asked = {fold: outer == fold for fold in jobs}
    is_held_out = outer == HELD_OUT
    nobody = np.zeros(len(labels), bool)
    if is_held_out.any():
        jobs["judge"], asked["judge"] = ~is_held_out, is_held_out
    if serve:
        jobs["served"], asked["served"] = ~nobody, nobody

    def fitted(name: Any) -> Fit:
        rows = np.flatnonzero(jobs[name])
        training_set = TrainingSet(rows, labels[rows], inner[rows], request.n_classes)
        return fit_once(table, training_set, np.flatnonzero(asked[name]), request=request)

    with _few_threads(n_threads) as pool:
        fits = dict(zip(jobs, pool.map(fitted, jobs, chunksize=1), strict=True))
        scored = {name: fits[name] for name in jobs if name not in ("judge", "served")}
        each = _weigh(scored, [fits[n] for n in ("judge", "served") if n in fits], labels, request)
        if not request.n_classes:
            _fit_sizes(fits, labels, request, pool)
    width = request.n_classes or 2
    scores = np.full((len(labels), width), np.nan)
    for fit in fits.values():
        if len(fit.asked):
            said = fit.said()
            scores[fit.asked] = (
                said if request.n_classes else np.column_stack([said, fit.difficulty()])
            )
    return Crossfit(scores, fits.get("judge"), fits.get("served"), each)


def inner_parts(inner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Outer folds where none are asked for, but weights or errors need some."""
    return inner % _INNER_PARTS


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
    equal = {kind: 1 / len(request.kinds) for kind in request.kinds}
    return Fit(training_set.rows, asked, state, known, new, fitted, answers, weights=equal)


def without_texts(request: Request) -> Request:
    """The same without what letters say."""
    return replace(request, layout=replace(request.layout, texts=()))


def _weigh(
    scored: Mapping[Any, Fit], others: Sequence[Fit], labels: NDArray, request: Request
) -> dict[str, NDArray]:
    """Give every fit its weights: a fold those that the other folds have chosen."""
    is_class = bool(request.n_classes)
    if not scored:
        return {}
    rows = np.concatenate([fit.asked for fit in scored.values()])
    fold = np.concatenate([np.full(len(fit.asked), i) for i, fit in enumerate(scored.values())])
    said = {
        kind: np.concatenate([fit.answers[kind] for fit in scored.values()])
        for kind in request.kinds
    }

    def chosen(some: NDArray[np.bool_]) -> dict[str, float]:
        part = {kind: answers[some] for kind, answers in said.items()}
        return blend.choose(part, labels[rows[some]], is_class=is_class)

    for place, fit in enumerate(scored.values()):
        others_said = fold != place
        fit.weights = chosen(others_said)
    for fit in others:
        fit.weights = chosen(np.ones(len(rows), bool))
    order = np.argsort(rows, kind="stable")
    return {kind: answers[order] for kind, answers in said.items()} | {"rows": rows[order]}


def _fit_sizes(
    fits: Mapping[Any, Fit], labels: NDArray, request: Request, pool: ThreadPool
) -> None:
    """Learn the expected size of an error from the errors of rows that were not seen."""
    errors = np.full(len(labels), np.nan)
    for fit in fits.values():
        if len(fit.asked):
            errors[fit.asked] = np.abs(labels[fit.asked] - fit.said())

    def trained(fit: Fit) -> None:
        of_rows = errors[fit.rows]
        is_known = np.isfinite(of_rows)
        fit.least = max(_LEAST_SIZE_SHARE * float(of_rows[is_known].mean()), 1e-9)
        # Of trees: they learn sizes from the features of any kind of model.
        kind = request.kinds[0] if request.kinds[0] == learners.FOREST else learners.BOOSTED
        fit.sizes = learners.fit(
            kind,
            fit.known[is_known],
            of_rows[is_known],
            n_classes=0,
            weights=None,
            seed=request.seed,
            settings=request.sizes,
        )

    pool.map(trained, fits.values(), chunksize=1)


def _class_weights(training_set: TrainingSet) -> NDArray[np.float64]:
    labels, place, counts = np.unique(training_set.labels, return_inverse=True, return_counts=True)
    return (len(place) / (len(labels) * counts))[place]


class _few_threads:
    """A pool of threads, each of whose linear algebra has one."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads

    def __enter__(self) -> ThreadPool:
        from threadpoolctl import threadpool_limits

        self.limits = threadpool_limits(1)
        self.pool = ThreadPool(self.n_threads)
        return self.pool

    def __exit__(self, *_: object) -> None:
        self.pool.terminate()
        self.limits.restore_original_limits()
