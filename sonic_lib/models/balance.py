"""Which group of rows goes to which part of a split: numpy arrays in, numpy arrays out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEAST_GAIN = 1e-3  # of all rows; a part that misses its share by less stays as it is
_SWAPPED = 200  # up to so many groups, pairs of them may change places, too


def balanced(
    counts: NDArray[np.int64], *, shares: NDArray[np.float64], start: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Move whole groups until every part has its share of the rows of every class.

    It begins with a given split and takes the best move, or exchange of two groups, as long as
    one helps: what is balanced already stays, and most of the rest does when rows are added.

    Parameters
    ----------
    counts : np.ndarray [shape=(n_groups, n_classes)]
        Rows of a class in a group; every class has one.
    shares : np.ndarray [shape=(n_parts,)]
        Above 0, of sum 1.
    start : np.ndarray [shape=(n_groups,)]
        Part of each group, 0 to n_parts - 1.

    Returns
    -------
    np.ndarray [shape=(n_groups,), int]
        Part of each group.

    Notes
    -----
    What is made small is sum over parts and classes of (rows - wanted)^2 / wanted, Pearson's
    chi-square: a class that a part lacks costs as many rows as it should have.
    """
    rows = np.asarray(counts, float)
    parts = np.array(start, np.int64)
    n_groups, n_parts = len(rows), len(shares)
    if n_groups < 2 or n_parts < 2:
        return parts
    wanted = np.outer(shares, rows.sum(axis=0))
    least = _LEAST_GAIN * rows.sum()
    places = np.arange(n_groups)
    for _ in range(10 * n_groups):
        excess = np.stack([rows[parts == part].sum(axis=0) for part in range(n_parts)]) - wanted
        moves = _cost_of_moves(rows, parts, excess, wanted)
        group, part = np.unravel_index(np.argmin(moves), moves.shape)
        best, changed = moves[group, part], ([group], [part])
        if n_groups <= _SWAPPED:
            swaps = _cost_of_swaps(rows, parts, excess, wanted)
            one, other = np.unravel_index(np.argmin(swaps), swaps.shape)
            if swaps[one, other] < best:
                best, changed = swaps[one, other], ([one, other], [parts[other], parts[one]])
        if best > -least:
            break
        parts[places[changed[0]]] = changed[1]
    return parts


def _cost_of_moves(
    rows: NDArray, parts: NDArray, excess: NDArray, wanted: NDArray
) -> NDArray[np.float64]:
    """What it costs to move each group to each part; shape=(n_groups, n_parts)."""
    own = rows**2 @ (1 / wanted).T
    pull = 2 * rows @ (excess / wanted).T
    here = np.arange(len(rows)), parts
    costs = own + pull + (own[here] - pull[here])[:, None]
    costs[here] = 0.0
    return costs


def _cost_of_swaps(
    rows: NDArray, parts: NDArray, excess: NDArray, wanted: NDArray
) -> NDArray[np.float64]:
    """What it costs to exchange two groups; shape=(n_groups, n_groups)."""
    gained = rows[None, :] - rows[:, None]  # of the first one's part
    weight, pull = 1 / wanted[parts], excess[parts] / wanted[parts]
    costs = gained**2 * (weight[:, None] + weight[None, :])
    costs += 2 * gained * (pull[:, None] - pull[None, :])
    total = costs.sum(axis=2)
    total[parts[:, None] == parts[None, :]] = 0.0
    return total
