"""The k songs most like each song: numpy arrays in, numpy arrays out.

Conventions
-----------
Vectors are rows of unit length (or zero), so that products are cosines.  A group is a number
that is equal for recordings of the same song; nothing is most like itself, so its own group is
left out, and every other group stands once in a list, by its best member.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLOCK = 512  # queries whose products with some thousand references are held at once
_SEEN = 2048  # references that tell what a list will hold at least
_SPARE = 6  # likely ones beyond a list's length, for a song's versions
_ERROR = np.float32(1e-5)  # of a product at single precision
_EMPTY, _FREE = -2.0, -1.5  # of a free place; no cosine is below -1


class TopK(NamedTuple):
    """Lists under way, best first.

    Attributes
    ----------
    similarities : np.ndarray [shape=(m, k), float64]
        Cosines; -2 where a place is still free.
    ids, groups : np.ndarray [shape=(m, k), int64]
    """

    similarities: NDArray[np.float64]
    ids: NDArray[np.int64]
    groups: NDArray[np.int64]


def empty_lists(n_queries: int, k: int) -> TopK:
    """Lists that hold nothing yet."""
    shape = (n_queries, k)
    return TopK(np.full(shape, _EMPTY), np.zeros(shape, np.int64), np.zeros(shape, np.int64))


def unit_rows(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide rows by their lengths; a row of zeros remains one."""
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
    """Put references into the lists where they belong.

    Parameters
    ----------
    lists : TopK
        One for each query; changed in place.
    queries : np.ndarray [shape=(m, d), float64]
    query_groups : np.ndarray [shape=(m,), int64]
    vectors : np.ndarray [shape=(n, d), float64]
        References.
    ids, groups : np.ndarray [shape=(n,), int64]

    Notes
    -----
    All products are taken at single precision, by BLAS; nearly all are below the last place of a
    list by more than their error. What is left is multiplied again at double precision. Equal
    products are ordered by id, so lists do not depend on the order in which references come.
    """
    for first in range(0, len(queries), _BLOCK):
        block = slice(first, first + _BLOCK)
        own = TopK(lists.similarities[block], lists.ids[block], lists.groups[block])
        # While lists are empty, a few references tell what they will hold at least.
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
        # Of a flat array nonzero is several times as fast.
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
    # Where one song stands among the likely ones many times, others are needed as well.
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
    """Merge candidates, each for the list of its row, into the lists."""
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
    # Of a group the best stays: of equal ones in this order the first.
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
    """Choose candidates that are relevant and unlike each other.

    Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): the next one has the largest
    (1 - diversity) relevance - diversity (largest similarity to those chosen before).

    Parameters
    ----------
    similarities : np.ndarray [shape=(m, m)]
        Cosines of the candidates.
    relevance : np.ndarray [shape=(m,)]
    groups : np.ndarray [shape=(m,)]
        No group is chosen twice.
    n : int
    diversity : float in [0, 1]
        0 takes the most relevant ones, 1 those most unlike each other.

    Returns
    -------
    np.ndarray [shape=(at most n,), int]
        Places of the chosen ones, in order.
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
