"""The kernel of kernel-based target encoding, compared with a double loop and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sonic_lib.models.encoding.kernel import local_shares, ranks, relevance

PRIOR = np.array([0.5, 0.3, 0.2])


def plain(codes, folds, places, known_codes, known_folds, known_places, labels):
    """The definition, pair by pair."""
    shares, weights = np.zeros((len(codes), 3)), np.zeros(len(codes))
    for i in range(len(codes)):
        sums = PRIOR.copy()
        for j in range(len(known_codes)):
            if codes[i] == known_codes[j] and folds[i] != known_folds[j]:
                alike = np.exp(-8 * np.sum((places[i] - known_places[j]) ** 2))
                sums[labels[j]] += alike
                weights[i] += alike
        shares[i] = sums / (weights[i] + 1)
    return shares, weights


def call(rows, known, labels):
    return local_shares(
        codes=rows[0],
        folds=rows[1],
        places=rows[2],
        reference_codes=known[0],
        reference_folds=known[1],
        reference_places=known[2],
        labels=labels,
        prior=PRIOR,
    )


def songs(rng, n, *, first_fold=0):
    return rng.integers(0, 12, n), rng.integers(first_fold, 3, n), rng.uniform(0, 1, (n, 4))


@pytest.mark.parametrize("n_rows", [1, 40, 700])
def test_shares_match_the_definition(rng, n_rows):
    rows, known = songs(rng, n_rows, first_fold=-1), songs(rng, 90)
    labels = rng.integers(0, 3, 90)
    shares, weights = call(rows, known, labels)
    expected_shares, expected_weights = plain(*rows, *known, labels)
    np.testing.assert_allclose(shares, expected_shares, atol=1e-12)
    np.testing.assert_allclose(weights, expected_weights, atol=1e-12)
    np.testing.assert_allclose(shares.sum(axis=1), 1)


def test_chunks_of_a_large_category_are_combined(rng):
    rows = (np.zeros(1203, int), np.full(1203, -1), rng.uniform(0, 1, (1203, 2)))
    known = (np.zeros(5, int), np.arange(5), rng.uniform(0, 1, (5, 2)))
    labels = np.array([0, 1, 2, 0, 1])
    np.testing.assert_allclose(call(rows, known, labels)[0], plain(*rows, *known, labels)[0])


def test_unknown_category_and_own_fold_get_the_prior():
    rows = (np.array([7, 3]), np.array([-1, 2]), np.zeros((2, 1)))
    known = (np.array([3, 3]), np.array([2, 2]), np.zeros((2, 1)))
    shares, weights = call(rows, known, np.array([1, 1]))
    np.testing.assert_allclose(shares, [PRIOR, PRIOR])
    np.testing.assert_array_equal(weights, 0)


def test_identical_song_weighs_one_and_a_distant_one_zero():
    rows = (np.array([3]), np.array([-1]), np.zeros((1, 1)))
    known = (np.array([3, 3]), np.array([0, 0]), np.array([[0.0], [3.4]]))
    shares, weights = call(rows, known, np.array([2, 1]))
    np.testing.assert_allclose(weights, [1], atol=1e-9)
    np.testing.assert_allclose(shares, [(PRIOR + [0, 0, 1]) / 2], atol=1e-9)


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


def all_pairs(codes, labels, places):
    """The definition of relevance, pair by pair."""
    apart, same, n_apart, n_same = 0.0, 0.0, 0.0, 0.0
    for i in range(len(codes)):
        for j in range(i):
            if codes[i] == codes[j]:
                weight = 1 / np.sum(codes == codes[i])
                squares = weight * (places[i] - places[j]) ** 2
                if labels[i] == labels[j]:
                    same, n_same = same + squares, n_same + weight
                else:
                    apart, n_apart = apart + squares, n_apart + weight
    gain = np.maximum((apart / n_apart) / (same / n_same) - 1, 0)
    return gain / gain.sum()


def test_relevance_matches_the_definition(rng):
    codes, labels = rng.integers(0, 9, 80), rng.integers(0, 3, 80)
    places = rng.normal(size=(80, 3)) + np.outer(labels, [0, 1, 3])
    found = relevance(codes=codes, labels=labels, places=places)
    np.testing.assert_allclose(found, all_pairs(codes, labels, places))
    assert found[2] > 0.5


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_without_comparable_classes_all_numbers_weigh_the_same(rng, labels):
    codes, places = np.zeros(4, int), rng.normal(size=(4, 5))
    found = relevance(codes=codes, labels=np.array(labels), places=places)
    np.testing.assert_allclose(found, 0.2)
