"""Assign groups of rows to the parts of a split; no Spark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_LEAST_GAIN = 1e-3  # of all rows; smaller deviations from a share are ignored
_MAX_CLASSES = 50  # the rarer ones are balanced together
_SWAPPED = 200  # with more groups than this, only single moves are tried, no exchanges


def balanced_parts(groups: pd.DataFrame, *, shares: Sequence[float]) -> dict[str, int]:
    """Assign groups to parts so that each part has its share of rows and of each class.

    Parameters
    ----------
    groups : pd.DataFrame
        From `splits.large_groups`.
    shares : sequence of float
        As given to it.

    Returns
    -------
    dict of str to int
        Part of each group: the same for the same rows, in any order, on any cluster.
    """
    if groups.empty:
        return {}
    common = groups.groupby("label")["n"].sum().sort_index().sort_values(kind="stable")
    rare = set(common.index[:-_MAX_CLASSES])
    labels = ["" if label in rare else f"={label}" for label in groups["label"]]
    counts = (
        groups.assign(label=labels)
        .pivot_table(index="_group", columns="label", values="n", aggfunc="sum", fill_value=0)
        .sort_index()
    )
    firsts = groups.groupby("_group")["first"].first().loc[counts.index]
    chosen = balanced(counts.to_numpy(), shares=np.asarray(shares), start=firsts.to_numpy(np.int64))
    return dict(zip(counts.index.tolist(), chosen.tolist(), strict=True))


def balanced(
    counts: NDArray[np.int64], *, shares: NDArray[np.float64], start: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Move whole groups until every part has its share of the rows of every class.

    Greedy local search: starts from a given split and repeats the best move, or swap of two
    groups, while that lowers the cost.  A balanced split is not changed, and few groups move when
    rows are added.

    Parameters
    ----------
    counts : np.ndarray [shape=(n_groups, n_classes)]
        Rows per group and class; every class has at least one row.
    shares : np.ndarray [shape=(n_parts,)]
        Greater than 0; the sum is 1.
    start : np.ndarray [shape=(n_groups,)]
        Part of each group, 0 to n_parts - 1.

    Returns
    -------
    np.ndarray [shape=(n_groups,), int]
        Part of each group.

    Notes
    -----
    Minimises Pearson's chi-square, the sum over parts and classes of (rows - wanted)^2 / wanted,
    so a class that is missing from a part costs the number of rows it should have there.
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
    """Cost of moving each group to each part; shape=(n_groups, n_parts)."""
    own = rows**2 @ (1 / wanted).T
    pull = 2 * rows @ (excess / wanted).T
    here = np.arange(len(rows)), parts
    costs = own + pull + (own[here] - pull[here])[:, None]
    costs[here] = 0.0
    return costs


def _cost_of_swaps(
    rows: NDArray, parts: NDArray, excess: NDArray, wanted: NDArray
) -> NDArray[np.float64]:
    """Cost of exchanging two groups; shape=(n_groups, n_groups)."""
    gained = rows[None, :] - rows[:, None]  # of the first one's part
    weight, pull = 1 / wanted[parts], excess[parts] / wanted[parts]
    costs = gained**2 * (weight[:, None] + weight[None, :])
    costs += 2 * gained * (pull[:, None] - pull[None, :])
    total = costs.sum(axis=2)
    total[parts[:, None] == parts[None, :]] = 0.0
    return total
