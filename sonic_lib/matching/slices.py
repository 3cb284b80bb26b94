"""Cut the hashes that clips look up into slices; pure numpy.

The range of hashes is cut into 2**bits slices of equal width, and each is joined separately.  Hash
values are uniformly distributed, so each slice is a fair sample and gets an equal share of a
window's `max_hits_per_window`.  The hits that a window keeps thus depend on the window and the
index alone, not on other clips, the number of tasks, or the engine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonic_lib.fingerprint.kernels import kernel
from sonic_lib.fingerprint.params import HASH_BITS
from sonic_lib.fingerprint.query import PACKED_QUERY

ROWS_PER_SLICE = 1 << 20  # approximate maximum; 24 MB
MIN_SLICE_BITS = 4


class Queries(NamedTuple):
    """Hashes that windows of clips look up, as columns of shape (n,), by window, then hash.

    Attributes
    ----------
    hash : np.ndarray of int64
    window : np.ndarray of int32
        Index of the window in the batch.
    variant : np.ndarray of int8
        Index in `variants.VARIANTS`.
    frame : np.ndarray of int32
        Frames from the middle of the window, times the variant's tempo.
    detune : np.ndarray of float32
        As from `hashes.query_hashes`.
    descriptor : np.ndarray of int32
    """

    hash: NDArray[np.int64]
    window: NDArray[np.int32]
    variant: NDArray[np.int8]
    frame: NDArray[np.int32]
    detune: NDArray[np.float32]
    descriptor: NDArray[np.int32]


class SlicedQueries(NamedTuple):
    """Queries of several windows, by slice.

    Attributes
    ----------
    queries : Queries
        Ordered by slice, window and hash.
    stops : np.ndarray [shape=(2**bits,)]
        Where the queries of each slice end.
    """

    queries: Queries
    stops: NDArray[np.intp]


def slice_bits(n_fingerprints: int, *, prefix_bits: int) -> int:
    """Return log2 of the number of slices of a table.

    A slice lies within one partition and has about `ROWS_PER_SLICE` rows at most.
    """
    wanted = math.ceil(math.log2(max(n_fingerprints, 1) / ROWS_PER_SLICE))
    return max(prefix_bits, MIN_SLICE_BITS, wanted)


def cut(packed: bytes, *, parts_bits: int) -> list[bytes]:
    """Cut the queries of a window into 2**parts_bits parts by hash, of equal width."""
    queries = np.frombuffer(packed, PACKED_QUERY)
    edges = np.arange(1, 1 << parts_bits, dtype=np.int64) << (HASH_BITS - parts_bits)
    return [part.tobytes() for part in np.split(queries, np.searchsorted(queries["hash"], edges))]


def gather(windows: Sequence[bytes], *, bits: int) -> SlicedQueries:
    """Concatenate the queries of several windows, which are numbered in the order given."""
    packed = [np.frombuffer(window, PACKED_QUERY) for window in windows]
    shift = HASH_BITS - bits
    sizes = np.zeros(1 << bits, np.intp)
    for window in packed:
        _count_by_slice(window, shift, sizes)
    stops = np.cumsum(sizes)
    kinds = (np.int64, np.int32, np.int8, np.int32, np.float32, np.int32)
    queries = Queries(*(np.empty(sizes.sum(), kind) for kind in kinds))
    free = stops - sizes
    for number, window in enumerate(packed):
        _sort_by_slice(window, number, shift, free, *queries)
    return SlicedQueries(queries, stops)


def within(sliced: SlicedQueries, number: int) -> Queries:
    """Return the queries of one slice."""
    first = sliced.stops[number - 1] if number else 0
    return Queries._make(column[first : sliced.stops[number]] for column in sliced.queries)


@kernel(nogil=True)
def _count_by_slice(packed, shift, sizes):
    for query in packed:
        sizes[query.hash >> shift] += 1


@kernel(nogil=True)
def _sort_by_slice(packed, number, shift, free, hash_, window, variant, frame, detune, descriptor):
    """Append the queries of one window to their slices."""
    for query in packed:
        j = free[query.hash >> shift]
        free[query.hash >> shift] += 1
        hash_[j], window[j], variant[j] = query.hash, number, query.variant
        frame[j], detune[j], descriptor[j] = query.frame, query.detune, query.descriptor
