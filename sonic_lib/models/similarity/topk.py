"""The k songs most like each song: numpy arrays in, numpy arrays out.

Conventions
-----------
Vectors are rows of unit length (or zero), so that products are cosines.  A group is a number
that is equal for recordings of the same song; nothing is most like itself, so its own group is
left out, and every other group stands once in a list, by its best member.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

_CHUNK = 512  # products of a chunk stay in the first cache


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
    return TopK(np.full(shape, -2.0), np.zeros(shape, np.int64), np.zeros(shape, np.int64))


def unit_rows(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide rows by their lengths; a row of zeros remains one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


@numba.njit(cache=True, fastmath=True, nogil=True)
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
    vectors : np.ndarray [shape=(d, n), float64, C order]
        References, a column each: neighbours in memory are then multiplied together.
    ids, groups : np.ndarray [shape=(n,), int64]

    Notes
    -----
    Nearly all products are below the last place of a list: a chunk is only looked through where
    its largest product is not.  Equal products are ordered by id, so lists do not depend on the
    order in which references come.
    """
    n = vectors.shape[1]
    held = np.empty(_CHUNK)
    for first in range(0, n, _CHUNK):
        stop = min(first + _CHUNK, n)
        products = held[: stop - first]
        for query in range(queries.shape[0]):
            largest = _multiply(queries[query], vectors, first, products)
            if largest < lists.similarities[query, -1]:
                continue
            for j in range(products.size):
                if products[j] >= lists.similarities[query, -1]:
                    reference = first + j
                    if groups[reference] != query_groups[query]:
                        _insert(lists, query, products[j], ids[reference], groups[reference])


@numba.njit(cache=True, fastmath=True, nogil=True)
def _multiply(
    query: NDArray[np.float64],
    vectors: NDArray[np.float64],
    first: int,
    products: NDArray[np.float64],
) -> float:
    """Multiply, and return the largest product.

    Four features a round: the products are then loaded and stored once for them.
    """
    products[:] = 0.0
    stop = first + products.size
    n_fours = query.size // 4 * 4
    for f in range(0, n_fours, 4):
        a = vectors[f, first:stop]
        b = vectors[f + 1, first:stop]
        c = vectors[f + 2, first:stop]
        d = vectors[f + 3, first:stop]
        # Values of their own: the compiler cannot know that writing products leaves query alone.
        of_a, of_b, of_c, of_d = query[f], query[f + 1], query[f + 2], query[f + 3]
        for j in range(products.size):
            products[j] += of_a * a[j] + of_b * b[j] + of_c * c[j] + of_d * d[j]
    for f in range(n_fours, query.size):
        a, of_a = vectors[f, first:stop], query[f]
        for j in range(products.size):
            products[j] += of_a * a[j]
    largest = products[0]
    for j in range(products.size):
        largest = max(largest, products[j])
    return largest


@numba.njit(cache=True, nogil=True)
def _insert(lists: TopK, query: int, similarity: float, new_id: int, group: int) -> None:
    similarities, ids, groups = lists.similarities[query], lists.ids[query], lists.groups[query]
    place = similarities.size
    while place > 0 and (
        similarity > similarities[place - 1]
        or (similarity == similarities[place - 1] and new_id < ids[place - 1])
    ):
        place -= 1
    last = similarities.size - 1  # the entry that goes: the group's own, or the worst
    for other in range(similarities.size):
        if similarities[other] >= -1.5 and groups[other] == group:
            if other < place:
                return
            last = other
            break
    if place > last:
        return
    for other in range(last, place, -1):
        similarities[other] = similarities[other - 1]
        ids[other] = ids[other - 1]
        groups[other] = groups[other - 1]
    similarities[place], ids[place], groups[place] = similarity, new_id, group


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
