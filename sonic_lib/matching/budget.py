"""Limits on lookups: how much is extracted, looked up together, and kept."""

from __future__ import annotations

from typing import Any

FIRST_PASS_SHARE = 0.3  # of the hits that a window may keep; a clean clip needs few
CHUNK_BYTES = 100_000_000  # of queries (`query.PACKED_QUERY`) looked up together
CHUNK_BYTES_PER_ROW = 1  # of queries, per row of the table, which every chunk reads
MIN_FREQUENCY_LIMIT = 10_000  # for `duplicates`, if its budget is not used up


def first_pass_hits(max_hits_per_window: int) -> int:
    """Return how many hits a window may keep in the first pass."""
    return round(FIRST_PASS_SHARE * max_hits_per_window)


def is_searched_again(window: Any, last: Any) -> Any:
    """Whether the second pass searches an uncertain window: every other one, and the last.

    They still cover the clip, since windows overlap by half.

    Parameters
    ----------
    window, last : int or Column
        Numbers of the window and of the last one of its clip.
    """
    return (window % 2 == 0) | (window == last)


def chunk_bytes(n_fingerprints: int) -> int:
    """Return how many bytes of queries the engine without Spark looks up together.

    Every chunk reads the table, so a larger table gets larger chunks.  A task of Spark, whose
    chunks have CHUNK_BYTES, reads one part of the table.
    """
    return max(CHUNK_BYTES, CHUNK_BYTES_PER_ROW * n_fingerprints)


def affordable_frequency(n_hits: dict[int, float], *, max_hits: float) -> int:
    """Return the largest number of rows per hash that keeps the hits within a budget.

    Parameters
    ----------
    n_hits : dict of int to float
        Hits by frequency, from `duplicates.pairs_by_frequency`.
    max_hits : float
        The budget.

    Notes
    -----
    The most frequent hashes are the weakest evidence and cost most of the join.
    """
    total, affordable = 0.0, 1
    for max_rows in sorted(n_hits):
        total += n_hits[max_rows]
        if total > max_hits:
            return affordable
        affordable = max_rows
    return max(affordable, MIN_FREQUENCY_LIMIT)
