"""Limits that every lookup shares: how much is extracted and how much is kept."""

from __future__ import annotations

MIN_CLIP_S = 0.5  # shorter clips hold no useful triangle
FIRST_PASS_SHARE = 0.3  # of the hits that a window may keep: few identify a clean clip
CHUNK_BYTES = 100_000_000  # of what windows look up together
CHUNK_BYTES_PER_ROW = 1  # of the table, which each chunk reads
MAX_ROWS_PER_HASH = 10_000  # for `duplicates`: more frequent hashes say little about a pair


def first_pass_hits(max_hits_per_window: int) -> int:
    """Return how many hits a window may keep in the first pass."""
    return round(FIRST_PASS_SHARE * max_hits_per_window)


def chunk_bytes(n_fingerprints: int) -> int:
    """Return how many bytes of queries (`query.PACKED_QUERY`) are looked up together.

    Each chunk reads the table, so those for a larger table are larger.
    """
    return max(CHUNK_BYTES, CHUNK_BYTES_PER_ROW * n_fingerprints)


def affordable_frequency(n_hits: dict[int, float], *, max_hits: float) -> int:
    """Return the most rows that a hash may have if the hits are to stay within a budget.

    Parameters
    ----------
    n_hits : dict of int to float
        Hits by frequency, from `duplicates.pairs_by_frequency`.
    max_hits : float
        The budget.

    Notes
    -----
    More frequent hashes say little and cost most of the join.
    """
    total, affordable = 0.0, 1
    for max_rows in sorted(n_hits):
        total += n_hits[max_rows]
        if total > max_hits:
            return affordable
        affordable = max_rows
    return max(affordable, MAX_ROWS_PER_HASH)
