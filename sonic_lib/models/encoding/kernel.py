"""Kernel regression of the target within categories, with a learned kernel; pure numpy.

The songs of an album share their release date, but so do the songs of a thousand other albums.
Among the songs of one date (or artist) each is weighted by how probably it is *alike*: of the same
class, or with a target nearby (E. Nadaraya, On estimating regression, 1964).  The log-odds of that
come from a logistic regression on pairs of songs of one category (M. Guillaumin, J. Verbeek and
C. Schmid, Is that you? Metric learning approaches for face identification, 2009), here on the
differences of their numbers and categories.  Loudness separates albums, the key does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_PART_SONGS = 500  # of a category that are compared with one another
SAMPLE_SONGS = 20_000  # enough to learn a metric from, and small for one machine
_PAIRS_PER_SONG, _MAX_PAIRS = 5, 50_000  # to learn from
_NEARBY = 0.1  # targets are alike if their ranks differ by at most this share of all ranks
_LEAST_DIFFERENCE = 0.02  # in units of ranks: smaller ones are no closer
_MAX_LOG_ODDS = 6.0
_SMOOTHING = 1 / 3  # weight of the prior, in songs that are alike with even odds
_CHUNK_PAIRS = 30_000


class Songs(NamedTuple):
    """Songs with the values by which they are compared.

    Attributes
    ----------
    codes : np.ndarray [shape=(n,), int]
        Category of each song.
    folds : np.ndarray [shape=(n,), int]
        Songs of the same fold are not compared; -1 for songs of none.
    places : np.ndarray [shape=(n, p)]
        Numbers as `ranks`, then codes of further categories.
    """

    codes: NDArray[np.int64]
    folds: NDArray[np.int64]
    places: NDArray[np.floating]


def ranks(values: NDArray[np.float64], *, grids: Sequence[NDArray]) -> NDArray[np.float64]:
    """Rank values among those of the training rows.

    Parameters
    ----------
    values : np.ndarray [shape=(n, p)]
        NaN where missing.
    grids : sequence of p np.ndarray
        Ascending quantiles of each column.

    Returns
    -------
    np.ndarray [shape=(n, p)]
        Ranks in units of their standard deviation, 0 to sqrt(12); missing values get the middle.
    """
    placed = np.full(values.shape, 0.5)
    for place, grid in enumerate(grids):
        column_values = values[:, place]
        known = np.isfinite(column_values)
        below = np.searchsorted(grid, column_values[known], "left")
        upto = np.searchsorted(grid, column_values[known], "right")
        placed[known, place] = (below + upto) / (2 * len(grid))
    return placed * np.sqrt(12)


def fit_metric(
    *,
    codes: NDArray[np.int64],
    places: NDArray[np.floating],
    labels: NDArray[np.floating],
    n_numbers: int,
    is_class: bool,
) -> NDArray[np.float64]:
    """Learn the log-odds that two songs of a category are alike.

    Parameters
    ----------
    codes, places
        As in `Songs`.
    labels : np.ndarray [shape=(n,)]
        Number of the class, or the target.
    n_numbers : int
        How many of the places are numbers.
    is_class : bool

    Returns
    -------
    np.ndarray [shape=(1 + 3 p,)]
        The intercept, and the slopes of the difference in each place, of its square, and of its
        logarithm.
    """
    left, right = _sampled_pairs(codes)
    given = labels if is_class else _shares_below(labels)
    is_alike = np.abs(given[left] - given[right]) <= (0 if is_class else _NEARBY)
    terms = np.hstack(_terms(places[left], places[right], n_numbers)).astype(np.float64)
    n_alike, n = int(is_alike.sum()), len(is_alike)
    if n_alike in (0, n):
        return np.append(np.log((n_alike + 1) / (n - n_alike + 1)), np.zeros(terms.shape[1]))
    from sklearn.linear_model import LogisticRegression

    means, deviations = terms.mean(axis=0), terms.std(axis=0)
    scales = np.where(deviations > 0, deviations, 1)
    fitted = LogisticRegression(max_iter=200).fit((terms - means) / scales, is_alike)
    slopes = fitted.coef_[0] / scales
    return np.append(fitted.intercept_[0] - means @ slopes, slopes)


def local_means(
    songs: Songs,
    references: Songs,
    *,
    labels: NDArray[np.floating],
    prior: NDArray[np.float64],
    metric: NDArray[np.float64],
    n_numbers: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average the outcomes of the songs of the same category, weighted by squared odds.

    Parameters
    ----------
    songs : Songs
        n songs.
    references : Songs
        m songs with known outcomes.
    labels : np.ndarray [shape=(m,)]
        Their classes; or their targets, if the prior has one entry.
    prior : np.ndarray [shape=(K,)]
        Shares of the classes in all rows; or the mean target, K = 1.
    metric : np.ndarray [shape=(1 + 3 p,)]
        From `fit_metric`.
    n_numbers : int
        How many of the places are numbers.

    Returns
    -------
    means : np.ndarray [shape=(n, K)]
        Shares of the classes, or the mean target; the prior where there is no reference.
    weights : np.ndarray [shape=(n,)]
        Total weight of the references.
    """
    n_outcomes = len(prior)
    is_class = n_outcomes > 1
    outcomes = labels.astype(np.int64) if is_class else np.zeros(len(labels), np.int64)
    weights = np.zeros(len(songs.codes))
    means = np.tile(prior, (len(songs.codes), 1))
    slopes = metric[1:].reshape(3, -1).astype(references.places.dtype)
    for some, place, known in _pairs(songs.codes, references.codes):
        counts = songs.folds[some[place]] != references.folds[known]
        place, known = place[counts], known[counts]
        terms = _terms(songs.places[some[place]], references.places[known], n_numbers)
        log_odds = metric[0] + sum(term @ each for term, each in zip(terms, slopes, strict=True))
        weight = np.exp(2 * np.minimum(log_odds, _MAX_LOG_ODDS))
        amount = weight if is_class else weight * labels[known]
        cells = place * n_outcomes + outcomes[known]
        sums = np.bincount(cells, amount, len(some) * n_outcomes).reshape(-1, n_outcomes)
        weights[some] = np.bincount(place, weight, len(some))
        total = weights[some, None] + _SMOOTHING
        means[some] = (sums + _SMOOTHING * prior) / total
    return means, weights


def _terms(left: NDArray, right: NDArray, n_numbers: int) -> tuple[NDArray, NDArray, NDArray]:
    """Differences of pairs in each place, their squares, and their logarithms [shape=(n, p)]."""
    differences = np.abs(left - right)
    differences[:, n_numbers:] = differences[:, n_numbers:] > 0
    return differences, differences**2, np.log(differences + _LEAST_DIFFERENCE)


def _sampled_pairs(codes: NDArray[np.int64]) -> tuple[NDArray, NDArray]:
    """Draw songs at random, and for each another one of its category."""
    order = np.argsort(codes, kind="stable")
    _, starts, sizes = np.unique(codes[order], return_index=True, return_counts=True)
    start, size = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    has_others = np.flatnonzero(size > 1)
    rng = np.random.default_rng(0)
    n_pairs = min(_PAIRS_PER_SONG * len(has_others), _MAX_PAIRS)
    drawn = has_others[rng.integers(0, max(len(has_others), 1), n_pairs)]
    step = rng.integers(1, size[drawn]) if n_pairs else drawn
    other = start[drawn] + (drawn - start[drawn] + step) % size[drawn]
    return order[drawn], order[other]


def _shares_below(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Share of the values below each one; equal ones count half."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return ((np.cumsum(counts) - counts / 2) / max(len(values), 1))[place]


def _pairs(
    codes: NDArray[np.int64], reference_codes: NDArray[np.int64]
) -> Iterator[tuple[NDArray, NDArray, NDArray]]:
    """Pair songs with the references of their category: some songs, places among them, references.

    A song is with all its references in one of the triples, or in none.
    """
    order = np.argsort(reference_codes, kind="stable")
    known_codes = reference_codes[order]
    first = np.searchsorted(known_codes, codes, "left")
    n_known = np.searchsorted(known_codes, codes, "right") - first
    songs = np.flatnonzero(n_known)
    chunk = np.cumsum(n_known[songs]) // _CHUNK_PAIRS
    for some in np.split(songs, np.flatnonzero(np.diff(chunk)) + 1):
        n = n_known[some]
        turn = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        yield some, np.repeat(np.arange(len(some)), n), order[np.repeat(first[some], n) + turn]
