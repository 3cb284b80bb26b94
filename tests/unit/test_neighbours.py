"""Full conformal prediction with nearest neighbours, compared with its definition."""

from __future__ import annotations

import numpy as np
import pytest

from sonic_lib.models.conformal.knn_baseline import genre_p_values


def nonconformity(points, labels, place, k):
    """Nonconformity of one song among all others, by the definition."""
    distances = np.linalg.norm(points - points[place], axis=1)
    distances[place] = np.inf
    own = np.sort(distances[labels == labels[place]])[:k].sum()
    return own / np.sort(distances[labels != labels[place]])[:k].sum()


def by_definition(training, labels, song, n_labels, k):
    """Put the song into each genre in turn, and compare it with the songs of that genre."""
    points = np.vstack([training, song])
    p_values = []
    for label in range(n_labels):
        given = np.append(labels, label)
        strange = [nonconformity(points, given, i, k) for i in np.flatnonzero(given == label)]
        p_values.append(np.mean(np.array(strange) >= strange[-1] - 1e-12))
    return p_values


def test_p_values_match_the_definition(rng):
    labels = rng.integers(0, 3, 60)
    training = rng.normal(size=(60, 2)) + labels[:, None]
    new = rng.normal(size=(8, 2)) + 1
    found = genre_p_values(training, labels, new, n_labels=3, k=4)
    expected = [by_definition(training, labels, song, 3, 4) for song in new]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_coverage_is_as_stated(confidence):
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 4, 900)
    points = rng.normal(size=(900, 3)) + rng.normal(size=(4, 3))[labels]
    p = genre_p_values(points[:500], labels[:500], points[500:], n_labels=4, k=5)
    covered = p[np.arange(400), labels[500:]] > 1 - confidence
    assert abs(covered.mean() - confidence) < 4 * np.sqrt(confidence * (1 - confidence) / 250)
    assert (p > 1 - confidence).sum(axis=1).mean() < 4


def test_genre_of_few_songs_is_never_excluded(rng):
    labels = np.array([0] * 20 + [1] * 3)
    p = genre_p_values(rng.normal(size=(23, 2)), labels, rng.normal(size=(5, 2)), n_labels=3, k=3)
    assert (p[:, 1:] == 1).all()
