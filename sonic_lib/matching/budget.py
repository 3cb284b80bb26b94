"""What every way to look clips up shares: how much is extracted and how much is kept."""

from __future__ import annotations

MIN_CLIP_S = 0.5  # less holds no triangle worth a vote
FIRST_PASS_SHARE = 0.3  # of the hits that a window may keep: few tell a clean clip from all songs
MAX_ROWS_PER_HASH = 10_000  # of `duplicates`: hashes beyond say little of a pair


def first_pass_hits(max_hits_per_window: int) -> int:
    """Return how many hits a window may keep when it is looked up as it is."""
    return round(FIRST_PASS_SHARE * max_hits_per_window)


def affordable_frequency(n_hits: dict[int, float], *, max_hits: float) -> int:
    """Return the largest number of rows a hash may have, for the hits to stay in a budget.

    Parameters
    ----------
    n_hits : dict of int to float
        Hits by frequency, from `candidates.hits_by_frequency`.
    max_hits : float
        The budget.

    Notes
    -----
    Hashes beyond it are frequent ones, which say little and cost most of the join.
    """
    total, affordable = 0.0, 1
    for max_rows in sorted(n_hits):
        total += n_hits[max_rows]
        if total > max_hits:
            return affordable
        affordable = max_rows
    return max(affordable, MAX_ROWS_PER_HASH)
