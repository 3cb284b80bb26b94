"""Top-k search by cosine, and diverse selection; pure numpy.

Conventions
-----------
Vectors are rows of unit length (or zero), so that products are cosines.  A group is a number shared
by all versions of a song: a list never contains the query's own group, and any other group at most
once, represented by its best member.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLOCK = 512  # queries multiplied with some thousand references at once
_SEEN = 2048  # references that give a first lower bound of a list
_SPARE = 6  # extra candidates per list, as versions of one song are merged
_ERROR = np.float32(1e-5)  # bound on the error of a product in single precision
_EMPTY, _FREE = -2.0, -1.5  # marks an empty slot; no cosine is below -1


class TopK(NamedTuple):
    """Partial lists, best first.

    Attributes
    ----------
    similarities : np.ndarray [shape=(m, k), float64]
        Cosines; -2 marks an empty slot.
    ids, groups : np.ndarray [shape=(m, k), int64]
    """

    similarities: NDArray[np.float64]
    ids: NDArray[np.int64]
    groups: NDArray[np.int64]


def empty_lists(n_queries: int, k: int) -> TopK:
    """Return empty lists of length k."""
    shape = (n_queries, k)
    return TopK(np.full(shape, _EMPTY), np.zeros(shape, np.int64), np.zeros(shape, np.int64))


def unit_rows(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale rows to unit length; a row of zeros stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def update_topk(
    lists: TopK,
    queries: NDArray[np.float64],
    query_groups: NDArray[np.int64],
    vectors: NDArray[np.float64],
    ids: NDArray[np.int64],
    groups: NDArray[np.int64],
) -> None:
    """Merge references into the lists of the queries they resemble most.

    Parameters
    ----------
    lists : TopK
        One per query; changed in place.
    queries : np.ndarray [shape=(m, d), float64]
    query_groups : np.ndarray [shape=(m,), int64]
    vectors : np.ndarray [shape=(n, d), float64]
        References.
    ids, groups : np.ndarray [shape=(n,), int64]

    Notes
    -----
    All products are computed in single precision by BLAS.  Nearly all fall short of the list's last
    entry by more than their error; only the rest are recomputed in double precision.  Ties are
    ordered by id, so lists do not depend on the order of the references.
    """
    for first in range(0, len(queries), _BLOCK):
        block = slice(first, first + _BLOCK)
        own = TopK(lists.similarities[block], lists.ids[block], lists.groups[block])
        # While lists are empty, a few references give a lower bound.
        is_new = bool((own.similarities[:, -1] <= _FREE).any())
        for chosen in (slice(_SEEN), slice(_SEEN, None)) if is_new else (slice(None),):
            if len(ids[chosen]):
                _offer_block(
                    own,
                    queries[block],
                    query_groups[block],
                    vectors[chosen],
                    ids[chosen],
                    groups[chosen],
                )


def _offer_block(
    lists: TopK,
    queries: NDArray[np.float64],
    query_groups: NDArray[np.int64],
    vectors: NDArray[np.float64],
    ids: NDArray[np.int64],
    groups: NDArray[np.int64],
) -> None:
    products = queries.astype(np.float32) @ vectors.T.astype(np.float32)
    n = products.shape[1]

    def put(wanted: NDArray[np.bool_], queried: NDArray[np.intp] | None = None) -> None:
        # nonzero is several times as fast on a flat array.
        rows, places = np.divmod(np.flatnonzero(wanted), n)
        rows = rows if queried is None else queried[rows]
        is_other = groups[places] != query_groups[rows]
        rows, places = rows[is_other], places[is_other]
        exact = np.einsum("ij,ij->i", queries[rows], vectors[places])
        _merge(lists, rows, exact, ids[places], groups[places])

    least = lists.similarities[:, -1].astype(np.float32)
    n_likely = lists.ids.shape[1] + _SPARE
    if (least <= _FREE).any() and n > 2 * n_likely:
        likely = np.partition(products, n - n_likely, axis=1)[:, n - n_likely]
        least = np.maximum(least, likely)
    put(products >= (least - _ERROR)[:, None])
    # If a song has many versions among the candidates, more candidates are needed.
    reached = lists.similarities[:, -1].astype(np.float32)
    short = np.flatnonzero(reached < least - _ERROR)
    if short.size:
        of_short = products[short]
        is_left = of_short < (least[short] - _ERROR)[:, None]
        put(is_left & (of_short >= (reached[short] - _ERROR)[:, None]), short)


def _merge(
    lists: TopK,
    rows: NDArray[np.int64],
    similarities: NDArray[np.float64],
    ids: NDArray[np.int64],
    groups: NDArray[np.int64],
) -> None:
    """Merge each candidate into the list of its row."""
    k = lists.ids.shape[1]
    is_touched = np.zeros(len(lists.ids), bool)
    is_touched[rows] = True
    touched = np.flatnonzero(is_touched)
    is_held = lists.similarities[touched] > _FREE
    row = np.concatenate([np.broadcast_to(touched[:, None], is_held.shape)[is_held], rows])
    held = [part[touched][is_held] for part in lists]
    candidates = [
        np.concatenate(pair) for pair in zip(held, (similarities, ids, groups), strict=True)
    ]
    order = np.lexsort((candidates[1], -candidates[0], row))
    row, candidates = row[order], [part[order] for part in candidates]
    # The best of a group stays; in a tie, the first in this order.
    by_group = np.lexsort((candidates[2], row))
    is_first = np.ones(len(row), bool)
    is_first[by_group[1:]] = (np.diff(row[by_group]) != 0) | (np.diff(candidates[2][by_group]) != 0)
    row, candidates = row[is_first], [part[is_first] for part in candidates]
    starts = np.searchsorted(row, touched)
    place = np.arange(len(row)) - starts[np.searchsorted(touched, row)]
    is_in = place < k
    for part, values, free in zip(lists, candidates, (_EMPTY, 0, 0), strict=True):
        part[touched] = free
        part[row[is_in], place[is_in]] = values[is_in]


def diverse(
    similarities: NDArray[np.float64],
    relevance: NDArray[np.float64],
    groups: NDArray[np.int64],
    *,
    n: int,
    diversity: float,
) -> NDArray[np.intp]:
    """Choose candidates that are relevant but differ from one another.

    Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): each step picks the largest
    (1 - diversity) relevance - diversity (largest similarity to those already chosen).

    Parameters
    ----------
    similarities : np.ndarray [shape=(m, m)]
        Cosines of the candidates.
    relevance : np.ndarray [shape=(m,)]
    groups : np.ndarray [shape=(m,)]
        At most one candidate per group is chosen.
    n : int
    diversity : float in [0, 1]
        0 picks the most relevant candidates, 1 the most diverse.

    Returns
    -------
    np.ndarray [shape=(at most n,), int]
        Indices of the chosen candidates, in order of choice.
    """
    free = np.ones(relevance.size, bool)
    nearest = np.full(relevance.size, -np.inf)
    chosen: list[int] = []
    while len(chosen) < n and free.any():
        redundancy = nearest if chosen else 0.0
        gain = np.where(free, (1 - diversity) * relevance - diversity * redundancy, -np.inf)
        best = int(np.argmax(gain))
        chosen.append(best)
        free &= groups != groups[best]
        nearest = np.maximum(nearest, similarities[best])
    return np.array(chosen, np.intp)
