"""The join of clips and table in numpy, for a few clips and a table that one machine reads.

It gives the hits that `candidates` gives on Spark: see there for what they are and why hashes
above a number of rows are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonic_lib.fingerprint.params import HASH_BITS
from sonic_lib.fingerprint.window import WindowHashes
from sonic_lib.matching.lines import Hits


class Entries(NamedTuple):
    """Rows of the fingerprint table in columns, all of shape (n,), ordered by hash.

    Attributes
    ----------
    hash : np.ndarray of int64
    song_id : np.ndarray of int64
    offset_frames : np.ndarray of int32
    n_rows : np.ndarray of int64
        How many entries have this hash.
    """

    hash: NDArray[np.int64]
    song_id: NDArray[np.int64]
    offset_frames: NDArray[np.int32]
    n_rows: NDArray[np.int64]


def places_of(wanted: NDArray[np.int64], hashes: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where some hashes stand in a column.

    Parameters
    ----------
    wanted : np.ndarray [shape=(k,), int64]
        Distinct hashes.
    hashes : np.ndarray [shape=(n,), int64]
        Sorted, as in a file of the table, or not.

    Returns
    -------
    np.ndarray [shape=(m,)]
        Places, ordered by hash.
    """
    is_sorted = bool(np.all(hashes[1:] >= hashes[:-1]))
    order = None if is_sorted else np.argsort(hashes, kind="stable")
    column = hashes if is_sorted else hashes[order]
    _, places = _spans(column, np.sort(wanted))
    return places if order is None else order[places]


def collect_entries(parts: Sequence[tuple[NDArray, NDArray, NDArray]]) -> Entries:
    """Put what was found in every file together.

    Parameters
    ----------
    parts : sequence of (hash, song_id, offset_frames)
        Fingerprints of songs that count.
    """
    empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int32))
    hashes, song_ids, offsets = map(np.concatenate, zip(empty, *parts, strict=True))
    order = np.argsort(hashes, kind="stable")
    _, place, counts = np.unique(hashes[order], return_inverse=True, return_counts=True)
    return Entries(hashes[order], song_ids[order], offsets[order], counts[place])


def hits_by_frequency(
    entries: Entries, queries: Sequence[WindowHashes], *, prefix_bits: int
) -> dict[int, float]:
    """How many hits come from hashes of which frequency, in powers of two.

    Parameters
    ----------
    entries : Entries
        All that the queries meet.
    prefix_bits : int
        The first partition stands for all, as on Spark.

    Returns
    -------
    dict of int to float
        The upper end of each class, and its hits in the whole table.
    """
    limit = 1 << (HASH_BITS - prefix_bits)
    looked_up = np.concatenate([query.hashes for query in queries])
    wanted, n_uses = np.unique(looked_up[looked_up < limit], return_counts=True)
    n_rows = _count(entries.hash, wanted)
    met = n_rows > 0
    classes = 2 ** np.ceil(np.log2(n_rows[met])).astype(np.int64)
    n_hits = n_rows[met] * n_uses[met] * 2**prefix_bits
    return {int(c): float(n_hits[classes == c].sum()) for c in np.unique(classes)}


def without_frequent(entries: Entries, *, max_rows_per_hash: int, n_index_frames: float) -> Entries:
    """Leave out hashes that say little: above a number of rows, or in every frame."""
    rare = (entries.n_rows <= max_rows_per_hash) & (entries.n_rows < n_index_frames)
    return Entries._make(column[rare] for column in entries)


def window_hits(
    queries: Sequence[WindowHashes], entries: Entries, *, n_index_frames: float
) -> Hits:
    """All hits of one window.

    Parameters
    ----------
    queries : sequence of WindowHashes, not empty
        The window's hashes, one value a variant.
    entries : Entries
        Those that count.
    n_index_frames : float
        Frames of all songs of the index together.
    """
    looked_up = np.concatenate([query.hashes for query in queries])
    variants = np.repeat([query.variant for query in queries], [len(q.hashes) for q in queries])
    query, place = _spans(entries.hash, looked_up)
    return Hits(
        song_id=entries.song_id[place],
        variant=variants[query].astype(np.int32),
        offset_frames=entries.offset_frames[place],
        frame=np.concatenate([q.frames for q in queries])[query],
        detune=np.concatenate([q.detunes for q in queries])[query],
        weight=np.log(n_index_frames / entries.n_rows[place]).astype(np.float32),
    )


def _count(column: NDArray, wanted: NDArray) -> NDArray[np.int64]:
    return np.searchsorted(column, wanted, "right") - np.searchsorted(column, wanted, "left")


def _spans(column: NDArray, wanted: NDArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of equal values in `wanted` and a sorted column: their places in both."""
    first = np.searchsorted(column, wanted, "left")
    counts = np.searchsorted(column, wanted, "right") - first
    query = np.repeat(np.arange(len(wanted)), counts)
    before = np.cumsum(counts) - counts
    return query, np.arange(len(query)) + (first - before)[query]
