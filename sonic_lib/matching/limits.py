"""What every way to look clips up shares: how much is extracted and how much may be joined."""

from __future__ import annotations

MIN_CLIP_S = 0.5  # less holds no triangle worth a vote
SECOND_PASS_HITS = 2  # times those that the first pass may have
MIN_HITS = 5_000_000  # what a batch of any size may have: less than reading a large table costs
MAX_ROWS_PER_HASH = 10_000  # hashes beyond say less than a rare one's rounding
# The chance that a hash of a clip is that of a row of the table, a little above what music has:
# a join that may be too large by it is measured on a sample before.
HITS_PER_PAIR = 1e-5


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
