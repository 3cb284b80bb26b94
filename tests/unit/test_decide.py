"""From evidence to an answer: who wins, and how often chance does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonic_lib.matching.decide import (
    MAX_COPIES,
    N_CANDIDATES,
    judge_clip,
    p_values,
    score_candidates,
)


def by_chance(rng, n_songs: int, *, scale: float = 6.0) -> np.ndarray:
    """Evidence of songs that are not in the clip, the best first."""
    return np.sort(20 + rng.exponential(scale, n_songs))[::-1][:N_CANDIDATES]


def judged(evidence, *, chance=20.0, false_accept_rate=0.01, n_listed=N_CANDIDATES):
    candidates = pd.DataFrame({"song_id": range(len(evidence)), "evidence": evidence})
    return judge_clip(
        candidates, chance=chance, false_accept_rate=false_accept_rate, n_listed=n_listed
    )


@given(
    evidence=st.lists(st.floats(1e-6, 1e4), min_size=1, max_size=40),
    chance=st.floats(0, 100),
)
def test_scores_descend_and_are_never_negative(evidence, chance):
    scores = score_candidates(np.sort(evidence)[::-1], chance=chance)
    assert len(scores) == min(len(evidence), N_CANDIDATES)
    assert np.isfinite(scores).all()
    assert (np.diff(scores) <= 0).all()
    assert scores.min() >= 0


def test_p_values_fall_with_the_score_from_one():
    p = p_values(np.array([0.0, 1.0, 10.0, 1e4]))
    assert p[0] == 1
    assert (np.diff(p) < 0).all()
    assert p[-1] >= 0


@pytest.mark.parametrize("n_others", [0, 1, 27, 100])
def test_a_lone_outlier_wins(rng, n_others):
    evidence = np.append(500.0, by_chance(rng, n_others))
    answer = judged(evidence)
    assert answer.accepted.tolist() == [True] + [False] * (len(answer) - 1)
    assert answer.song_id[0] == 0


@pytest.mark.parametrize("n_copies", range(1, MAX_COPIES + 1))
def test_copies_of_a_recording_are_all_accepted(rng, n_copies):
    answer = judged(np.append([500.0] * n_copies, by_chance(rng, 60)))
    assert answer.accepted.sum() == n_copies
    assert answer.score[:n_copies].nunique() == 1


def test_a_weaker_copy_shares_the_score_by_its_evidence(rng):
    answer = judged(np.append([500.0, 400.0], by_chance(rng, 60)))
    assert answer.accepted[:3].tolist() == [True, True, False]
    assert answer.score[1] / answer.score[0] == pytest.approx(0.8)


def test_more_evidence_gives_a_higher_score(rng):
    others = by_chance(rng, 60)
    best = [score_candidates(np.append(e, others), chance=20.0)[0] for e in (60, 100, 200, 1000)]
    assert (np.diff(best) > 0).all()


def test_a_single_song_must_exceed_chance():
    assert not judged([20.0]).accepted[0]
    assert judged([20.0]).score[0] == 0
    assert judged([300.0]).accepted[0]


def test_equal_songs_say_nothing():
    assert judged([30.0] * N_CANDIDATES).score.tolist() == [0] * N_CANDIDATES


@pytest.mark.parametrize("n_songs", [60, 500])
@pytest.mark.parametrize("rate", [0.2, 0.05, 0.01])
def test_chance_is_accepted_hardly_more_often_than_asked(rng, n_songs, rate):
    n_clips = 2000
    evidence = [by_chance(rng, n_songs, scale=rng.uniform(5, 20)) for _ in range(n_clips)]
    p = np.array([p_values(score_candidates(e, chance=0.0))[0] for e in evidence])
    standard_error = np.sqrt(rate * (1 - rate) / n_clips)
    assert (p <= rate).mean() <= 1.2 * rate + 3 * standard_error
    assert (p <= 0.9).mean() > 0.05  # the bound is no empty one


@pytest.mark.parametrize("asked", [0.5, 0.01, 1e-6])
def test_the_rate_asked_for_is_the_largest_p_value_accepted(rng, asked):
    answers = [
        judged(np.append(rng.uniform(30, 400), by_chance(rng, 60)), false_accept_rate=asked)
        for _ in range(40)
    ]
    rows = pd.concat(answers)
    assert (rows.accepted == (rows.p_value <= asked)).all()
    assert 0 < rows.accepted.sum() < len(rows)


def test_candidates_come_ranked_and_no_more_than_wanted(rng):
    candidates = pd.DataFrame(
        {
            "clip_id": 7,
            "song_id": [5, 4, 3, 2, 1],
            "evidence": [30.0, 400.0, 30.0, 50.0, 30.0],
            "n_votes": [3, 40, 4, 6, 5],
            "offset_s": [0.1, 0.2, 0.3, 0.4, 0.5],
        }
    ).sample(frac=1, random_state=1)
    answer = judge_clip(candidates, chance=20.0, false_accept_rate=0.01, n_listed=4)
    assert answer.song_id.tolist() == [4, 2, 1, 3]  # equal evidence: the smaller id first
    assert answer["rank"].tolist() == [1, 2, 3, 4]
    assert answer.n_votes.tolist() == [40, 6, 5, 4]
    assert answer.offset_s.tolist() == [0.2, 0.4, 0.5, 0.3]
    assert answer.clip_id.eq(7).all()


def test_what_is_listed_does_not_change_what_is_judged(rng):
    evidence = np.append(80.0, by_chance(rng, 60))
    pd.testing.assert_frame_equal(judged(evidence, n_listed=2), judged(evidence).head(2))
