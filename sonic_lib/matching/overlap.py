"""Find the passages that two songs have in common, from their shared hashes: pure numpy.

Method
------
A hash at frame t of one song and frame T of the other is a hit.  Where both have the same music,
the hits lie on a line T = offset + slope t (`alignment`, searched over offsets and slopes from
0.97 to 1.03).  On a line, passages are runs of hits without long gaps.  A cut in one copy moves
the rest to another line, so several lines are followed.

Chance alone puts hits on every line, Poisson distributed, since the n hits of the pair are spread
over all offsets.  The p-value of a passage is the probability of at least its number of hits in its
length, times the number of lines and positions tried (Bonferroni).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson

from sonic_lib.fingerprint.params import FRAME_S
from sonic_lib.matching.alignment import Hits, find_alignments
from sonic_lib.matching.lines import LINE_FRAMES

MAX_LINES = 6
MAX_GAP_S = 5.0  # longest stretch without a hit within a passage
MIN_PASSAGE_S = 8.0  # between first and last hit, which a passage of 10 s just reaches
MIN_VOTES = 12
# Copies have 2 to 150; songs by one composer on the same instruments reach about 0.6 in places.
MIN_VOTES_PER_S = 1.0
MAX_SPEED = 0.025  # with larger differences, similar rhythms are more common than copies


class Overlap(NamedTuple):
    """The common passages of two songs.

    Attributes
    ----------
    overlap_s : float
        Seconds of the first song that are also in the second.
    start_s, other_start_s : float
        Where the longest passage starts in each song.
    speed : float
        Seconds of the other song per second of the first.
    n_votes : int
        Hashes that agree on the passages.
    p_value : float in 0..1
        Probability that two songs with this many hits but no common music have such a passage.
    """

    overlap_s: float
    start_s: float
    other_start_s: float
    speed: float
    n_votes: int
    p_value: float


def common_passages(
    frames: NDArray[np.int32],
    other_frames: NDArray[np.int32],
    weights: NDArray[np.float32],
) -> Overlap | None:
    """Find the common passages of two songs.

    Parameters
    ----------
    frames, other_frames : np.ndarray [shape=(n,)]
        Positions of each shared hash in the two songs (frames of 32 ms).
    weights : np.ndarray [shape=(n,), nats]
        Evidence of each hit against chance.

    Returns
    -------
    Overlap or None
        None if no passage of `MIN_PASSAGE_S` stands out.
    """
    if len(frames) < MIN_VOTES:
        return None
    middle = int(frames.min() + frames.max()) // 2
    zeros = np.zeros(len(frames))
    hits = Hits(
        zeros.astype(np.int64),
        zeros.astype(np.int8),
        other_frames.astype(np.int32),
        (frames - middle).astype(np.int32),
        zeros.astype(np.float32),
        weights.astype(np.float32),
    )
    n_places = float(np.ptp(frames) + np.ptp(other_frames) + 1)
    found = []
    for line in find_alignments(hits, n_songs=1, n_lined=1, n_lines=MAX_LINES)[0]:
        if abs(np.log(line.speed)) > MAX_SPEED:
            continue
        expected = line.offset_s / FRAME_S + line.speed * hits.frame
        on_line = np.abs(hits.offset_frames - expected) <= LINE_FRAMES
        # Chance hits per frame on one line, estimated from the hits off this line.
        rate = (~on_line).sum() * (2 * LINE_FRAMES + 1) / n_places / max(float(np.ptp(frames)), 1.0)
        for first, last, n_votes in _runs(np.sort(frames[on_line])):
            p = float(poisson.sf(n_votes - 1, rate * (last - first + 1)))
            p_value = min(1.0, p * n_places**2)
            other = line.offset_s + line.speed * (first - middle) * FRAME_S
            found.append((first, last, n_votes, p_value, other, line.speed))
    if not found:
        return None
    longest = max(found, key=lambda passage: passage[1] - passage[0])
    return Overlap(
        _union(found) * FRAME_S,
        longest[0] * FRAME_S,
        max(longest[4], 0.0),
        longest[5],
        sum(passage[2] for passage in found),
        min(passage[3] for passage in found),
    )


def _runs(frames: NDArray) -> list[tuple[int, int, int]]:
    """Return first frame, last frame and number of hits of runs that are dense and long enough."""
    cuts = np.flatnonzero(np.diff(frames) > MAX_GAP_S / FRAME_S) + 1
    found = []
    for part in np.split(frames, cuts):
        length_s = (part[-1] - part[0]) * FRAME_S if len(part) else 0.0
        if length_s >= MIN_PASSAGE_S and len(part) >= max(MIN_VOTES, MIN_VOTES_PER_S * length_s):
            found.append((int(part[0]), int(part[-1]), len(part)))
    return found


def _union(passages: list[tuple]) -> int:
    """Return the number of frames covered by any passage."""
    total, end = 0, -1
    for first, last, *_ in sorted(passages):
        total += max(0, last - max(first, end))
        end = max(end, last)
    return total
