"""Rank and score the songs of one window: pure numpy, used by both engines."""

from __future__ import annotations

import math

import numpy as np

from sonic_lib.matching.alignment import Alignment, Hits, find_alignments
from sonic_lib.matching.scoring import N_CANDIDATES, score_candidates

# Songs whose lines are measured precisely, and lines per song: enough for two overlapping songs,
# the same song twice, and songs that repeat themselves.
N_LINED, N_LINES = 3, 4


def chance_evidence(n_index_frames: float) -> float:
    """Return the evidence that any clip reaches by chance: that of two votes, in nats."""
    return 2 * math.log(max(n_index_frames, 2.0))


def window_rows(hits: Hits, *, chance: float, n_listed: int) -> list[dict]:
    """Group the hits of one window by song and line, and score the songs.

    Parameters
    ----------
    chance : float, nats
        From `chance_evidence`.
    n_listed : int
        Minimum number of songs to return.

    Returns
    -------
    list of dict
        Rows of `schemas.LINES`, without window_id.
    """
    songs = find_alignments(
        hits, n_songs=N_CANDIDATES, n_lined=max(N_LINED, n_listed), n_lines=N_LINES
    )
    evidence = np.array([lines[0].evidence for lines in songs])
    scores = score_candidates(evidence, chance=chance)

    def share(line: Alignment, best: Alignment) -> float:
        return min(1.0, line.evidence / best.evidence) if best.evidence > 0 else 0.0

    # The lines of a song share its score in proportion to their evidence, as copies do.
    return [
        {"rank": rank, "line": number, "score": float(score) * share(line, lines[0])}
        | line._asdict()
        for rank, (lines, score) in enumerate(zip(songs, scores, strict=True), start=1)
        for number, line in enumerate(lines)
        if rank <= max(N_LINED, n_listed)
    ]
