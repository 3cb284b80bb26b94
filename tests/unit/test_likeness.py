"""Target encoding by a learned kernel, compared with a double loop and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sonic_lib.models.encoding import kernel
from sonic_lib.models.encoding.kernel import Songs, fit_metric, local_means, ranks

N_NUMBERS = 3
METRIC = np.array([0.7, -1.0, -0.4, -2.0, 0.3, 0.2, -0.1, 0.0, -0.6, -0.9, 0.1, -0.3, -0.2])


def log_odds(one, other):
    """The definition for a pair: three numbers and a category."""
    apart = [abs(a - b) for a, b in zip(one[:3], other[:3], strict=True)]
    apart.append(float(one[3] != other[3]))
    terms = [*apart, *(x**2 for x in apart), *(np.log(x + 0.02) for x in apart)]
    return 0.7 + sum(slope * term for slope, term in zip(METRIC[1:], terms, strict=True))


def plain(rows, known, outcomes, prior):
    """The definition, pair by pair; one row of outcomes per known song."""
    means, weights = np.zeros((len(rows.codes), len(prior))), np.zeros(len(rows.codes))
    for i in range(len(rows.codes)):
        sums = prior / 3
        for j in range(len(known.codes)):
            if rows.codes[i] == known.codes[j] and rows.folds[i] != known.folds[j]:
                weight = np.exp(min(log_odds(rows.places[i], known.places[j]), 6)) ** 2
                sums = sums + weight * outcomes[j]
                weights[i] += weight
        means[i] = sums / (weights[i] + 1 / 3)
    return means, weights


def songs(rng, n, *, first_fold=0, n_codes=12):
    places = np.column_stack([rng.uniform(0, 1, (n, 3)), rng.integers(-1, 2, n)])
    return Songs(rng.integers(0, n_codes, n), rng.integers(first_fold, 3, n), places)


@pytest.mark.parametrize("chunk_pairs", [1, 50, 30_000])
@pytest.mark.parametrize("prior", [[0.5, 0.3, 0.2], [40.0]], ids=["classes", "number"])
def test_means_match_the_definition(rng, monkeypatch, prior, chunk_pairs):
    monkeypatch.setattr(kernel, "_CHUNK_PAIRS", chunk_pairs)
    rows, known = songs(rng, 70, first_fold=-1), songs(rng, 90)
    is_class = len(prior) > 1
    labels = rng.integers(0, 3, 90).astype(float) if is_class else rng.uniform(0, 100, 90)
    outcomes = np.eye(3)[labels.astype(int)] if is_class else labels[:, None]
    prior = np.array(prior)
    means, weights = local_means(
        rows, known, labels=labels, prior=prior, metric=METRIC, n_numbers=N_NUMBERS
    )
    expected_means, expected_weights = plain(rows, known, outcomes, prior)
    np.testing.assert_allclose(means, expected_means, rtol=1e-9)
    np.testing.assert_allclose(weights, expected_weights, rtol=1e-9)
    if is_class:
        np.testing.assert_allclose(means.sum(axis=1), 1)


def test_unknown_category_and_own_fold_get_the_prior():
    rows = Songs(np.array([7, 3]), np.array([-1, 2]), np.zeros((2, 1)))
    known = Songs(np.array([3, 3]), np.array([2, 2]), np.zeros((2, 1)))
    prior = np.array([0.5, 0.3, 0.2])
    means, weights = local_means(
        rows, known, labels=np.array([1.0, 1.0]), prior=prior, metric=np.zeros(4), n_numbers=1
    )
    np.testing.assert_allclose(means, [prior, prior])
    np.testing.assert_array_equal(weights, 0)


def metric_of(codes, places, labels, *, n_numbers=1, is_class=True):
    return fit_metric(
        codes=np.asarray(codes),
        places=np.asarray(places, float),
        labels=np.asarray(labels, float),
        n_numbers=n_numbers,
        is_class=is_class,
    )


def odds_of(metric, differences):
    """Odds that two songs are alike whose numbers differ by so much."""
    apart = np.asarray(differences, float)
    terms = np.concatenate([apart, apart**2, np.log(apart + 0.02)])
    return np.exp(metric[0] + metric[1:] @ terms)


def test_metric_of_classes_is_that_of_the_number_that_separates_them(rng):
    codes, labels = rng.integers(0, 100, 2_000), rng.integers(0, 4, 2_000)
    places = np.column_stack([labels * 0.8 + rng.normal(0, 0.1, 2_000), rng.uniform(0, 3, 2_000)])
    metric = metric_of(codes, places, labels, n_numbers=2)
    assert odds_of(metric, [0.05, 1.0]) > 10
    assert odds_of(metric, [0.8, 1.0]) < 0.1
    assert odds_of(metric, [0.05, 0.1]) == pytest.approx(odds_of(metric, [0.05, 2.0]), rel=0.5)


def test_metric_is_a_calibrated_probability(rng):
    """One of two places says in four pairs of five whether the class is the same."""
    n = 20_000
    labels = rng.integers(0, 2, n)
    flag = np.where(rng.uniform(size=n) < 0.9, labels, 1 - labels)
    metric = metric_of(rng.integers(0, 500, n), flag[:, None], labels, n_numbers=0)
    same, different = odds_of(metric, [0.0]), odds_of(metric, [1.0])
    assert same == pytest.approx(0.82 / 0.18, rel=0.1)
    assert different == pytest.approx(0.18 / 0.82, rel=0.1)


def test_metric_of_a_number_is_about_targets_nearby_whatever_their_scale(rng):
    codes, place = rng.integers(0, 50, 2_000), rng.uniform(0, 3.4, 2_000)
    metric = metric_of(codes, place[:, None], 100 * place, is_class=False)
    assert odds_of(metric, [0.1]) > 5
    assert odds_of(metric, [1.0]) < 0.2
    heavy = metric_of(codes, place[:, None], np.exp(10 * place), is_class=False)
    np.testing.assert_allclose(heavy, metric)


def test_equal_targets_share_their_mean_rank():
    np.testing.assert_allclose(
        kernel._shares_below(np.array([5.0, 1, 5, 9])), [0.5, 0.125, 0.5, 0.875]
    )


@pytest.mark.parametrize(
    ("codes", "labels", "odds"),
    [
        ([0, 0, 0, 0], [1, 1, 1, 1], 21.0),
        ([0, 0, 0, 0], [0, 1, 2, 3], 1 / 21),
        ([0, 1, 2, 3], [0, 1, 0, 1], 1.0),
        ([], [], 1.0),
    ],
    ids=["all alike", "none alike", "no pairs", "no songs"],
)
def test_without_a_difference_to_learn_all_pairs_have_the_same_odds(rng, codes, labels, odds):
    places = rng.normal(size=(len(codes), 2))
    metric = metric_of(np.array(codes, int), places, labels, n_numbers=2)
    np.testing.assert_allclose(np.exp(metric[0]), odds)
    np.testing.assert_array_equal(metric[1:], np.zeros(6))


def test_pairs_are_drawn_within_categories_and_never_a_song_with_itself(rng):
    codes = rng.integers(0, 40, 100)
    left, right = kernel._sampled_pairs(codes)
    assert len(left) == 5 * np.sum(np.bincount(codes)[codes] > 1)
    assert np.all(codes[left] == codes[right])
    assert np.all(left != right)
    triple = {(a, b) for a, b in zip(*kernel._sampled_pairs(np.zeros(3, int)), strict=True)}
    assert len(triple) >= 4


def test_ranks_follow_the_quantiles_whatever_the_unit():
    grid = np.arange(101.0)
    values = np.array([[-5.0], [50.0], [500.0], [np.nan]])
    placed = ranks(values, grids=[grid])
    np.testing.assert_allclose(placed[:, 0] / np.sqrt(12), [0, 0.5, 1, 0.5])
    np.testing.assert_allclose(ranks(values * 1e6, grids=[grid * 1e6]), placed)


def test_equal_values_share_their_mean_rank():
    flags = np.repeat([0.0, 1.0], [75, 25])
    placed = ranks(np.array([[0.0], [1.0]]), grids=[flags])
    np.testing.assert_allclose(placed[:, 0] / np.sqrt(12), [0.375, 0.875])
