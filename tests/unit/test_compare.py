"""Paired tests, compared with brute force and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sonic_lib.models.significance import classifier_p_value, regression_p_value


@given(st.integers(0, 60), st.integers(0, 60))
def test_classifiers_are_compared_by_the_exact_binomial_tail(champion, challenger):
    n = champion + challenger
    tail = sum(math.comb(n, k) for k in range(challenger, n + 1)) / 2**n
    p = classifier_p_value(n_only_champion=champion, n_only_challenger=challenger)
    assert p == pytest.approx(tail, rel=1e-9)


def test_regressions_are_compared_by_the_paired_t_test(rng):
    before, after = rng.normal(5, 1, 80), rng.normal(4.8, 1, 80)
    gain = before - after
    expected = stats.ttest_rel(before, after, alternative="greater").pvalue
    found = regression_p_value(n=80, mean_gain=gain.mean(), deviation=gain.std(ddof=1))
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("n", "gain", "p"), [(0, 0, 1), (1, 5, 1), (9, 0, 1), (9, 1, 0), (9, -1, 1)]
)
def test_regressions_without_variance(n, gain, p):
    assert regression_p_value(n=n, mean_gain=gain, deviation=0.0) == p


def test_equal_models_are_promoted_no_more_often_than_stated():
    rng = np.random.default_rng(2)
    promoted = [
        classifier_p_value(n_only_champion=int(50 - k), n_only_challenger=int(k)) < 0.05
        for k in rng.binomial(50, 0.5, 2000)
    ]
    assert np.mean(promoted) <= 0.05
