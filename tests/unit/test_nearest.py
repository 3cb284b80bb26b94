"""Nearest-neighbour lists compared with plain numpy, and the choice of a playlist."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonic_lib.models.similarity.topk import diverse, empty_lists, unit_rows, update_topk


def lists_of(vectors, groups, k, *, order, cuts=()):
    """Compare all rows with all rows, in any order and in any chunks."""
    lists = empty_lists(len(vectors), k)
    ids = np.arange(len(vectors)) * 10
    for part in np.split(order, sorted(cuts)):
        update_topk(lists, vectors, groups, vectors[part], ids[part], groups[part])
    return lists


def brute_force(vectors, groups, k):
    """Return ids and cosines by sorting everything, one member per group."""
    products = vectors @ vectors.T
    found = []
    for own, row in zip(groups, products, strict=True):
        taken, best = {own}, []
        for place in np.lexsort((np.arange(len(row)), -row)):
            if groups[place] not in taken:
                taken.add(groups[place])
                best.append((10 * place, row[place]))
        found.append(best[:k])
    return found


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 60),
    d=st.integers(1, 9),
    k=st.integers(1, 8),
    n_groups=st.integers(1, 60),
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 60), max_size=3),
)
def test_lists_match_a_full_sort(n, d, k, n_groups, seed, cuts):
    rng = np.random.default_rng(seed)
    # Few signs, so that many products are equal; powers of two, so that they are exact.
    vectors = rng.choice([-0.5, 0.0, 0.5], (n, d))
    groups = rng.integers(0, n_groups, n)
    lists = lists_of(vectors, groups, k, order=rng.permutation(n), cuts=cuts)
    for row, expected in enumerate(brute_force(vectors, groups, k)):
        filled = lists.similarities[row] > -1.5
        found = list(zip(lists.ids[row][filled], lists.similarities[row][filled], strict=True))
        assert found == expected


def test_many_chunks_are_searched(rng):
    vectors = unit_rows(rng.normal(size=(3000, 13)))
    groups = np.arange(3000)
    lists = lists_of(vectors, groups, 10, order=rng.permutation(3000))
    products = vectors[:50] @ vectors.T
    np.fill_diagonal(products, -2)
    expected = np.argsort(-products, axis=1)[:, :10]
    np.testing.assert_array_equal(lists.ids[:50], 10 * expected)
    np.testing.assert_allclose(
        lists.similarities[:50], np.take_along_axis(products, expected, 1), atol=1e-12
    )


def test_songs_with_many_versions_leave_room_for_others(rng):
    """The best positions are versions of one song; the list holds it once, and continues."""
    vectors = unit_rows(rng.normal(size=(3000, 5)))
    groups = np.arange(3000)
    vectors[100:400] = unit_rows(vectors[0] + 1e-4 * rng.normal(size=(300, 5)))
    groups[100:400] = 100
    lists = lists_of(vectors, groups, 10, order=rng.permutation(3000))
    for row, expected in enumerate(brute_force(vectors, groups, 10)):
        assert lists.ids[row].tolist() == [i for i, _ in expected]
    assert (np.sum(np.isin(lists.ids[0] // 10, np.arange(100, 400)))) == 1


def test_unit_rows_keep_zeros(rng):
    rows = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_array_equal(rows, [[0.6, 0.8], [0.0, 0.0]])


# ---- playlists ----


def test_without_diversity_the_most_relevant_come_first(rng):
    relevance = rng.normal(size=30)
    chosen = diverse(np.eye(30), relevance, np.arange(30), n=5, diversity=0.0)
    assert chosen.tolist() == np.argsort(-relevance)[:5].tolist()


def test_diversity_skips_songs_similar_to_the_first():
    # Two nearly equal songs that fit best, and a third that differs from them.
    vectors = unit_rows(np.array([[1.0, 0.0], [0.99, 0.02], [0.6, 0.8]]))
    relevance = np.array([0.9, 0.89, 0.7])
    chosen = {
        diversity: diverse(
            vectors @ vectors.T, relevance, np.arange(3), n=2, diversity=diversity
        ).tolist()
        for diversity in (0.0, 0.5)
    }
    assert chosen == {0.0: [0, 1], 0.5: [0, 2]}


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_no_song_is_listed_twice(seed, diversity):
    rng = np.random.default_rng(seed)
    vectors = unit_rows(rng.normal(size=(20, 3)))
    groups = rng.integers(0, 8, 20)
    chosen = diverse(vectors @ vectors.T, vectors[:, 0], groups, n=12, diversity=diversity)
    assert len(set(groups[chosen])) == len(chosen) == len(set(groups))


@pytest.mark.parametrize("n", [0, 3])
def test_no_candidates_give_no_list(n):
    assert diverse(np.zeros((0, 0)), np.zeros(0), np.zeros(0), n=n, diversity=0.5).size == 0
