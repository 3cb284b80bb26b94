"""From evidence to an answer: ranking, p-values and false accepts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonic_lib.matching.scoring import (
    MAX_COPIES,
    N_CANDIDATES,
    p_values,
    score_candidates,
    second_pass_threshold,
)


def by_chance(rng, n_songs: int, *, scale: float = 6.0) -> np.ndarray:
    """Evidence of songs that are not in the clip, best first."""
    return np.sort(20 + rng.exponential(scale, n_songs))[::-1][:N_CANDIDATES]


def judged(evidence, *, chance=20.0, rate=0.01) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and whether they are accepted."""
    scores = score_candidates(np.asarray(evidence, float), chance=chance)
    return scores, p_values(scores) <= rate


@given(
    evidence=st.lists(st.floats(0, 1e4), min_size=1, max_size=40),
    chance=st.floats(0, 100),
)
def test_scores_descend_and_are_never_negative(evidence, chance):
    scores = score_candidates(np.sort(evidence)[::-1], chance=chance)
    assert len(scores) == min(len(evidence), N_CANDIDATES)
    assert np.isfinite(scores).all()
    assert (np.diff(scores) <= 0).all()
    assert scores.min() >= 0


def test_p_values_fall_from_one_as_the_score_grows():
    p = p_values(np.array([0.0, 1.0, 10.0, 1e4]))
    assert p[0] == 1
    assert (np.diff(p) < 0).all()
    assert p[-1] >= 0


@pytest.mark.parametrize("n_others", [0, 1, 27, 100])
def test_lone_outlier_wins(rng, n_others):
    scores, accepted = judged(np.append(500.0, by_chance(rng, n_others)))
    assert accepted.tolist() == [True] + [False] * (len(scores) - 1)


@pytest.mark.parametrize("n_copies", range(1, MAX_COPIES + 1))
def test_copies_of_a_recording_are_all_accepted(rng, n_copies):
    scores, accepted = judged(np.append([500.0] * n_copies, by_chance(rng, 60)))
    assert accepted.sum() == n_copies
    assert len(set(scores[:n_copies])) == 1


def test_weaker_copy_shares_the_score_by_its_evidence(rng):
    scores, accepted = judged(np.append([500.0, 400.0], by_chance(rng, 60)))
    assert accepted[:3].tolist() == [True, True, False]
    assert scores[1] / scores[0] == pytest.approx(0.8)


def test_more_evidence_gives_a_higher_score(rng):
    others = by_chance(rng, 60)
    best = [score_candidates(np.append(e, others), chance=20.0)[0] for e in (60, 100, 200, 1000)]
    assert (np.diff(best) > 0).all()


def test_single_song_must_exceed_chance():
    assert not judged([20.0])[1][0]
    assert judged([20.0])[0][0] == 0
    assert judged([300.0])[1][0]


def test_equal_songs_are_not_evidence():
    assert judged([30.0] * N_CANDIDATES)[0].tolist() == [0] * N_CANDIDATES


@pytest.mark.parametrize("n_songs", [60, 500])
@pytest.mark.parametrize("rate", [0.2, 0.05, 0.01])
def test_false_accept_rate_is_close_to_the_requested_one(rng, n_songs, rate):
    n_clips = 2000
    evidence = [by_chance(rng, n_songs, scale=rng.uniform(5, 20)) for _ in range(n_clips)]
    p = np.array([p_values(score_candidates(e, chance=0.0))[0] for e in evidence])
    standard_error = np.sqrt(rate * (1 - rate) / n_clips)
    assert (p <= rate).mean() <= 1.2 * rate + 3 * standard_error
    assert (p <= 0.9).mean() > 0.05  # the bound is not vacuous


@pytest.mark.parametrize("rate", [0.1, 0.01, 1e-7])
def test_clips_without_a_second_pass_exceed_the_requested_certainty(rate):
    p = p_values(np.array([second_pass_threshold(rate)]))[0]
    assert p <= 0.1 * rate * (1 + 1e-9)
    assert p <= 1e-5 * (1 + 1e-9)
