"""Join clips with the fingerprint table: sorted columns in, the heaviest hits out; pure numpy.

Method
------
A hash that a window of a clip shares with a song is a hit: a vote for one offset between the two
(Wang, ISMIR 2003).  Its weight is its evidence against chance, in nats::

    weight = ln(frames in the index / rows with the hash) + LOG_LIKELIHOOD_RATIO[distance]

where the distance is the number of bits in which the two descriptors differ.  In a large index
nearly all hits are due to chance, and most of those have frequent hashes and distant descriptors.
So both sides are merged by hash, each pair is weighed on the spot, and only the heaviest hits of
each window are kept; the others are never stored, shuffled or sorted.

The hashes are joined slice by slice (`slices`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from sonic_lib.fingerprint.descriptor import LOG_LIKELIHOOD_RATIO
from sonic_lib.fingerprint.kernels import kernel
from sonic_lib.matching.alignment import Hits
from sonic_lib.matching.slices import Queries

# A window's hits are counted by weight class, to find the lightest class that it may keep.
CLASSES_PER_NAT = 16
N_CLASSES = 32 * CLASSES_PER_NAT
MIN_WEIGHT_NATS = 1.0 / CLASSES_PER_NAT  # class 0 is not evidence


class Rows(NamedTuple):
    """Rows of the fingerprint table, as columns of shape (n,), ordered by hash.

    Attributes
    ----------
    hash : np.ndarray of int64
    song_id : np.ndarray of int64
    offset_frames : np.ndarray of int32
    descriptor : np.ndarray of int32
    """

    hash: NDArray[np.int64]
    song_id: NDArray[np.int64]
    offset_frames: NDArray[np.int32]
    descriptor: NDArray[np.int32]


_PACKED_HIT = np.dtype(
    list(zip(Hits._fields, ("<i8", "i1", "<i4", "<i4", "<f4", "<f4"), strict=True))
)


def pack_hits(hits: Hits) -> NDArray[np.void]:
    """Pack hits into one array, 25 bytes each."""
    packed = np.empty(len(hits.song_id), _PACKED_HIT)
    for name, column in hits._asdict().items():
        packed[name] = column
    return packed


def unpack_hits(parts: Sequence[bytes]) -> Hits:
    """Undo `pack_hits` for all parts of a window."""
    packed = np.concatenate([np.frombuffer(part, _PACKED_HIT) for part in parts])
    return Hits(*(np.ascontiguousarray(packed[name]) for name in Hits._fields))


def join_slice(
    queries: Queries, rows: Rows, *, n_index_frames: float, max_hits: int
) -> tuple[NDArray[np.int32], NDArray[np.intp], Hits]:
    """Join one slice of the hashes.

    Parameters
    ----------
    queries : Queries
        All queries with a hash in the slice.
    rows : Rows
        All rows of the slice.
    n_index_frames : float
        Frames of all songs of the index together.
    max_hits : int
        How many hits of the slice a window may keep.  A weight class is kept as a whole or dropped.

    Returns
    -------
    windows : np.ndarray [shape=(n_windows,)]
        Numbers of the windows that have hits, ascending.
    stops : np.ndarray [shape=(n_windows,)]
        Where the hits of each window end.
    hits : Hits
        Ordered by window, then by hash.
    """
    is_next = np.diff(queries.window, prepend=-1) != 0
    windows, window = queries.window[is_next], np.cumsum(is_next, dtype=np.int32) - np.int32(1)
    first, n_rows = _spans(queries.hash, rows.hash)
    rarity = (math.log(max(n_index_frames, 1.0)) - np.log(np.maximum(n_rows, 1))).astype(np.float32)
    pairs = (first, n_rows, window, queries.descriptor, rows.descriptor, rarity)
    counts = _count_classes(*pairs, LOG_LIKELIHOOD_RATIO, len(windows))
    lightest, n_kept = _lightest_classes(counts, max_hits)
    stops = np.cumsum(n_kept)
    query, row, weight = _collect(
        *pairs, LOG_LIKELIHOOD_RATIO, lightest, stops - n_kept, int(n_kept.sum())
    )
    hits = Hits(
        rows.song_id[row],
        queries.variant[query],
        rows.offset_frames[row],
        queries.frame[query],
        queries.detune[query],
        weight,
    )
    has_hits = n_kept > 0
    return windows[has_hits], stops[has_hits], hits


@kernel(nogil=True)
def _spans(wanted, column):
    """Find the first index and the count of some values in a sorted column.

    The values of a slice are uniformly distributed, so a value itself predicts its index closely.
    """
    n = len(column)
    first = np.zeros(len(wanted), np.int64)
    count = np.zeros(len(wanted), np.int32)
    if n == 0:
        return first, count
    least, width = column[0], column[n - 1] - column[0] + 1
    shift = 0
    while (width >> shift) > n:
        shift += 1
    starts = np.empty((width >> shift) + 2, np.int32)
    bucket = 0
    for i in range(n):
        while bucket <= (column[i] - least) >> shift:
            starts[bucket] = i
            bucket += 1
    starts[bucket:] = n
    for j in range(len(wanted)):
        distance = wanted[j] - least
        if not 0 <= distance < width:
            continue
        low, end = starts[distance >> shift], starts[(distance >> shift) + 1]
        low = _first_at_least(column, low, end, wanted[j])
        first[j] = low
        count[j] = _first_at_least(column, low, end, wanted[j] + 1) - low
    return first, count


@kernel(nogil=True)
def _first_at_least(column, low, high, value):
    while low < high:
        middle = (low + high) // 2
        if column[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@intrinsic
def _popcount(typing_context, value):
    """Count the bits of a 32-bit number."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(builder.trunc(arguments[0], ir.IntType(32)))

    return types.int32(types.int64), generate


@kernel(nogil=True)
def _class(rarity, ratio):
    return int(np.floor((rarity + ratio) * CLASSES_PER_NAT))


@kernel(nogil=True)
def _count_classes(first, n_rows, window, asked, stored, rarity, ratio, n_windows):
    """Count the hits of each window by weight class; shape (n_windows, N_CLASSES)."""
    counts = np.zeros((n_windows, N_CLASSES), np.int32)
    classes = np.empty(len(ratio), np.int64)
    for j in range(len(first)):
        if n_rows[j] == 0:
            continue
        for d in range(len(ratio)):
            classes[d] = min(_class(rarity[j], ratio[d]), N_CLASSES - 1)
        if classes.max() < 1:
            continue
        counted = counts[window[j]]
        for row in range(first[j], first[j] + n_rows[j]):
            c = classes[_popcount(asked[j] ^ stored[row])]
            if c >= 1:
                counted[c] += 1
    return counts


@kernel(nogil=True)
def _lightest_classes(counts, max_hits):
    """Find the lightest class that each window may keep, and the number of hits that leaves."""
    n_windows = len(counts)
    lightest = np.ones(n_windows, np.int64)
    n_kept = np.zeros(n_windows, np.int64)
    for w in range(n_windows):
        c = N_CLASSES - 1
        while c >= 1 and n_kept[w] + counts[w, c] <= max_hits:
            n_kept[w] += counts[w, c]
            c -= 1
        lightest[w] = c + 1
    return lightest, n_kept


@kernel(nogil=True)
def _collect(first, n_rows, window, asked, stored, rarity, ratio, lightest, starts, n_hits):
    """Return the pairs of query and row that are heavy enough, by window, and their weights."""
    query = np.empty(n_hits, np.int64)
    found = np.empty(n_hits, np.int64)
    weight = np.empty(n_hits, np.float32)
    place = starts.copy()
    classes = np.empty(len(ratio), np.int64)
    for j in range(len(first)):
        if n_rows[j] == 0:
            continue
        for d in range(len(ratio)):
            classes[d] = min(_class(rarity[j], ratio[d]), N_CLASSES - 1)
        w = window[j]
        if classes.max() < lightest[w]:
            continue
        for row in range(first[j], first[j] + n_rows[j]):
            d = _popcount(asked[j] ^ stored[row])
            if classes[d] >= lightest[w]:
                query[place[w]] = j
                found[place[w]] = row
                weight[place[w]] = rarity[j] + ratio[d]
                place[w] += 1
    return query, found, weight
