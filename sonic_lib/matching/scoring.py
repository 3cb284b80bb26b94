"""Score the best song of a window against chance.

Method
------
Every song of a large index shares some hashes with every clip by chance.  The evidence of the
songs that are not in the clip falls off nearly exponentially, so by Rényi's representation of
order statistics the gap below the j best of them, times j, is exponential with the scale of that
decay.  The scale is estimated from the lower candidates of the same clip in the same index, so
nothing has to be trained or adjusted as the index grows.

The score is the largest such gap for j = 1, 2, 3, in units of that scale; j > 1 covers recordings
that the index holds more than once, with a penalty for the choice.  Songs share drum loops and
samples, so real unknown clips have a heavier tail than the model: the p-value is
exp(-score / TAIL), with TAIL fitted to held-out unknown songs (benchmarks/results).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

N_CANDIDATES = 28  # songs from whose evidence the scale is estimated
MAX_COPIES = 3
MIN_SCALE = 4.0  # nats; less than half the weight of one shared hash
TAIL = 3.8
SURE_P = 1e-5  # songs that share loops go as low as this; the second pass tells them apart


def score_candidates(evidence: NDArray[np.float64], *, chance: float) -> NDArray[np.float64]:
    """Score the candidates of one window of a clip.

    Parameters
    ----------
    evidence : np.ndarray [shape=(n,), nats]
        In descending order.
    chance : float >= 0, nats
        Evidence that any song reaches by chance; replaces candidates that a small index lacks.

    Returns
    -------
    np.ndarray [shape=(n,)]
        Scores, in descending order.  0 for the songs below the answer, whose similarity to the
        clip the answer explains.
    """
    n = min(len(evidence), N_CANDIDATES)
    ranked = np.full(N_CANDIDATES, chance)
    ranked[:n] = evidence[:n]
    gaps = np.zeros(MAX_COPIES)
    for j in range(1, MAX_COPIES + 1):
        rest = ranked[j:N_CANDIDATES]
        scale = max(float(np.mean(rest - ranked[N_CANDIDATES - 1])), MIN_SCALE)
        gaps[j - 1] = j * (ranked[j - 1] - ranked[j]) / scale - np.log(MAX_COPIES) * (j > 1)
    n_copies = min(1 + int(np.argmax(gaps)), n)
    # Copies of the recording share its score, in proportion to their evidence.
    scores = np.zeros(n)
    if evidence[0] > 0:  # a weak line of a variant may have none left
        scores[:n_copies] = max(gaps.max(), 0.0) * evidence[:n_copies] / evidence[0]
    return scores


def p_values(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability that a clip of a song that is not in the index scores this high."""
    return np.exp(-np.asarray(scores) / TAIL)


def second_pass_threshold(false_accept_rate: float) -> float:
    """Return the lowest score at which a clip needs no second pass."""
    return -TAIL * np.log(min(SURE_P, 0.1 * false_accept_rate))
