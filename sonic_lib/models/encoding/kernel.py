"""Kernel regression of the class within categories; pure numpy.

The songs of an album share their release date, but so do the songs of a thousand other albums.
Among the songs of one date (or artist) each has the weight exp(-8 d), where d is the weighted mean
of the squared differences of their ranks in every number, in units of a rank's variance
(E. Nadaraya, On estimating regression, 1964). The weight of a number is its `relevance`: how much
closer songs of one class are in it than songs of two. Loudness separates albums, the key does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

MAX_PART_SONGS = 2_000  # of a category that are compared with one another
RELEVANCE_SONGS = 20_000  # enough for the weights, and small for one machine
_SHARPNESS = 8.0
_SMOOTHING = 1.0  # weight of the prior, in equal songs
_CHUNK_ROWS = 500
# Small categories are processed together: a Python loop over them would cost more.
_SMALL_PAIRS, _CHUNK_PAIRS = 4_096, 200_000


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


def relevance(
    *, codes: NDArray[np.int64], labels: NDArray[np.int64], places: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Measure how well each number separates classes within categories.

    Parameters
    ----------
    codes, labels : np.ndarray [shape=(n,), int]
        Category and class of each song.
    places : np.ndarray [shape=(n, p)]
        From `ranks`.

    Returns
    -------
    np.ndarray [shape=(p,)]
        Not negative, sum 1. For two songs of a category: the mean squared difference if their
        classes differ, divided by the one if they agree, minus one. Categories are weighted by
        their songs, not pairs. Equal weights if no number separates classes.
    """
    sizes = np.bincount(codes)[codes]
    within, n_within = _pair_squares(codes, sizes, places)
    _, both = np.unique(np.column_stack([codes, labels]), axis=0, return_inverse=True)
    same, n_same = _pair_squares(both.ravel(), sizes, places)
    tiny = 1e-12
    apart = (within - same) / max(n_within - n_same, tiny)
    gain = np.maximum(apart / np.maximum(same / max(n_same, tiny), tiny) - 1, 0)
    if n_same < tiny or n_within - n_same < tiny or not gain.any():
        return np.full(len(gain), 1 / len(gain))
    return gain / gain.sum()


def local_shares(
    *,
    codes: NDArray[np.int64],
    folds: NDArray[np.int64],
    places: NDArray[np.float64],
    reference_codes: NDArray[np.int64],
    reference_folds: NDArray[np.int64],
    reference_places: NDArray[np.float64],
    labels: NDArray[np.int64],
    prior: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of the classes among the songs of the same category, weighted by similarity.

    Parameters
    ----------
    codes : np.ndarray [shape=(n,), int]
        Category of each row.
    folds : np.ndarray [shape=(n,), int]
        References of the same fold are ignored; -1 uses all references.
    places : np.ndarray [shape=(n, p)]
        From `ranks`, times the roots of the weights.
    reference_codes, reference_folds, reference_places, labels
        The same for the m songs with known classes, and these classes.
    prior : np.ndarray [shape=(K,)]
        Shares of the classes in all rows.

    Returns
    -------
    shares : np.ndarray [shape=(n, K)]
    weights : np.ndarray [shape=(n,)]
        Total weight of the references; an equal song weighs 1.
    """
    weights = np.zeros(len(codes))
    weighted = np.tile(_SMOOTHING * prior, (len(codes), 1))
    order = np.argsort(codes, kind="stable")
    reference_order = np.argsort(reference_codes, kind="stable")
    sorted_codes, starts = np.unique(codes[order], return_index=True)
    stops = np.append(starts[1:], len(codes))
    known_codes = reference_codes[reference_order]
    first_known = np.searchsorted(known_codes, sorted_codes, "left")
    n_known = np.searchsorted(known_codes, sorted_codes, "right") - first_known
    is_small = (stops - starts) * n_known <= _SMALL_PAIRS
    for left, right in _small_pairs(starts, stops, first_known, n_known * is_small):
        row, known = order[left], reference_order[right]
        counts = folds[row] != reference_folds[known]
        row, known = row[counts], known[counts]
        similarity = _kernel(((places[row] - reference_places[known]) ** 2).sum(axis=1))
        weights += np.bincount(row, similarity, len(codes))
        pairs = row * len(prior) + labels[known]
        weighted += np.bincount(pairs, similarity, weighted.size).reshape(weighted.shape)
    for category in np.flatnonzero(~is_small):
        stop = first_known[category] + n_known[category]
        known = reference_order[first_known[category] : stop]
        is_class = np.eye(len(prior))[labels[known]]
        for first in range(starts[category], stops[category], _CHUNK_ROWS):
            rows = order[first : min(first + _CHUNK_ROWS, stops[category])]
            similarity = _kernel_matrix(places[rows], reference_places[known])
            similarity[folds[rows][:, None] == reference_folds[known][None]] = 0.0
            weights[rows] = similarity.sum(axis=1)
            weighted[rows] += similarity @ is_class
    return weighted / (weights + _SMOOTHING)[:, None], weights


def _small_pairs(
    starts: NDArray, stops: NDArray, first_known: NDArray, n_known: NDArray
) -> Iterator[tuple[NDArray, NDArray]]:
    """Pair the rows of each category with its references, for many categories at a time."""
    n_pairs = (stops - starts) * n_known
    chosen = np.flatnonzero(n_pairs)
    chunk = np.cumsum(n_pairs[chosen]) // _CHUNK_PAIRS
    for some in np.split(chosen, np.flatnonzero(np.diff(chunk)) + 1):
        n = n_pairs[some]
        category = np.repeat(some, n)
        turn = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        width = n_known[category]
        yield starts[category] + turn // width, first_known[category] + turn % width


def _kernel(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(-_SHARPNESS * np.maximum(squares, 0.0))


def _kernel_matrix(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    return _kernel(squares)


def _pair_squares(
    groups: NDArray[np.int64], sizes: NDArray[np.int64], places: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Per group, sum squared differences over all pairs, and count pairs, both divided by size."""
    n = np.bincount(groups)
    sums, squares = np.zeros((2, len(n), places.shape[1]))
    np.add.at(sums, groups, places)
    np.add.at(squares, groups, places**2)
    weights = np.zeros(len(n))
    weights[groups] = 1 / sizes
    pairs = (n[:, None] * squares - sums**2) * weights[:, None]
    return pairs.sum(axis=0), float((n * (n - 1) / 2 * weights).sum())
