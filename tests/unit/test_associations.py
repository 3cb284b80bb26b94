"""Leave-one-out scores of columns against slow definitions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonic_lib.models.associations import binned, extent, scores

COLUMNS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=60)


def accuracy_of_others(codes: list[int], labels: list[int]) -> float | None:
    """Predict each row by the most frequent label of the other rows with its value."""
    right, n = 0.0, 0
    for i, (code, label) in enumerate(zip(codes, labels, strict=True)):
        others = Counter(other for j, other in enumerate(labels) if j != i and codes[j] == code)
        if not others:
            continue
        n += 1
        best = [each for each, count in others.items() if count == max(others.values())]
        if label in best:
            # Of several alike, one is taken; its own class is one short unless it is alone.
            right += 1 / len(best) if len(best) <= 2 else 0
    return right / n if n else None


@given(COLUMNS)
def test_accuracy_is_that_of_the_other_rows_with_the_value(pairs):
    codes, labels = (np.array(each, np.int64) for each in zip(*pairs, strict=True))
    # Two classes: with more, ties of three are scored as those of two.
    labels = labels % 2
    found = scores(codes * 7 - 3, labels, n_rows=len(codes))
    expected = accuracy_of_others(codes.tolist(), labels.tolist())
    assert found["accuracy"] == (None if expected is None else pytest.approx(expected))
    assert found["n"] == sum(n for n in Counter(codes.tolist()).values() if n > 1)
    largest = [max(Counter(codes[labels == label].tolist()).values()) for label in set(labels)]
    assert found["back_accuracy"] == pytest.approx(sum(largest) / len(codes))


@given(COLUMNS, st.integers(0, 2**32 - 1))
def test_r2_is_that_of_the_mean_of_the_other_rows(pairs, seed):
    codes, labels = (np.array(each, np.int64) for each in zip(*pairs, strict=True))
    y = np.random.default_rng(seed).normal(40, 9, len(codes))
    found = scores(codes, labels, n_rows=len(codes), y=y)["r2"]
    others = [(codes == code) & (np.arange(len(codes)) != i) for i, code in enumerate(codes)]
    known = np.array([each.any() for each in others])
    if found is None:
        assert known.sum() < 2
        return
    predicted = np.array([y[each].mean() for each in others if each.any()])
    errors = ((y[known] - predicted) ** 2).sum()
    assert found == pytest.approx(1 - errors / ((y[known] - y[known].mean()) ** 2).sum())


def test_a_column_that_follows_from_the_target_is_scored_backwards():
    x = np.repeat([0.0, 1.0, 2.0], 20)
    found = scores(np.arange(60), (x > 0).astype(np.int64), n_rows=60, x=(x > 0) * 3.5)
    assert (found["n"], found["accuracy"]) == (0, None)
    assert found["back_r2"] == pytest.approx(1)


def test_numbers_are_binned_by_quantiles():
    x = np.random.default_rng(0).permutation(400).astype(float)
    bins = binned(x)
    assert np.abs(np.bincount(bins) - 20).max() <= 1
    assert (np.diff(bins[np.argsort(x)]) >= 0).all()
    assert set(binned(np.ones(50))) == {1}


def test_the_extent_of_a_sample_is_scaled_to_all_rows():
    assert extent(np.array([0.0, 4.0, 9.0]), share=0.3) == {
        "n_numbers": 10,
        "low": 0.0,
        "high": 9.0,
        "are_whole": True,
        "n_distinct": 10,
    }
