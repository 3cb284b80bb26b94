"""Full conformal prediction by nearest neighbours: the project's first method, for comparison.

The nonconformity of a song to a genre is the sum of its distances to the k nearest songs of the
genre, divided by the same sum for all other songs (Proedrou et al., ECML 2002).  The p-value of a
genre is the share of its songs, including the new one, that are at least as nonconforming (Vovk,
Gammerman and Shafer 2005); the set holds the genres with a p-value above 1 - confidence.
Every new song is compared with every training song, so it only suits a few thousand songs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def genre_p_values(
    training: NDArray[np.float64],
    labels: NDArray[np.int64],
    new: NDArray[np.float64],
    *,
    n_labels: int,
    k: int = 5,
) -> NDArray[np.float64]:
    """Compute the p-value of each genre for each new song.

    Parameters
    ----------
    training : np.ndarray [shape=(n, d)]
        Standardised features.
    labels : np.ndarray [shape=(n,), int]
        Genres, from 0.
    new : np.ndarray [shape=(m, d)]
    n_labels : int
    k : int

    Returns
    -------
    np.ndarray [shape=(m, n_labels), in (0, 1]]
        1 for a genre of fewer than k + 1 songs, which cannot be excluded.
    """
    own, other = _nearest(_distances(training, training, same=True), labels, labels, k)
    towards_new = _distances(training, new)
    p_values = np.ones((len(new), n_labels))
    for label in range(n_labels):
        members = labels == label
        if members.sum() <= k:
            continue
        # Nonconformity of the new songs, and of the genre's own songs when the new one is added:
        # it may replace the farthest of the k neighbours.
        distances = towards_new.T
        near = np.partition(distances[:, members], k - 1, axis=1)[:, :k].sum(axis=1)
        far = np.partition(distances[:, ~members], k - 1, axis=1)[:, :k].sum(axis=1)
        strangeness = near / np.maximum(far, np.finfo(float).tiny)
        farthest = own[members].max(axis=1, keepdims=True)
        nearer = np.minimum(towards_new[members], farthest) - farthest
        sums = own[members].sum(axis=1, keepdims=True) + nearer
        strange = sums / np.maximum(other[members].sum(axis=1, keepdims=True), np.finfo(float).tiny)
        as_strange = (strange >= strangeness[None, :]).sum(axis=0) + 1
        p_values[:, label] = as_strange / (members.sum() + 1)
    return p_values


def _nearest(
    distances: NDArray, rows: NDArray, columns: NDArray, k: int
) -> tuple[NDArray, NDArray]:
    """Distances of each row to the k nearest columns of its own label, and of all others."""
    same = rows[:, None] == columns[None, :]
    own = np.sort(np.where(same, distances, np.inf), axis=1)[:, :k]
    other = np.sort(np.where(same, np.inf, distances), axis=1)[:, :k]
    return own, other


def _distances(a: NDArray, b: NDArray, *, same: bool = False) -> NDArray[np.float64]:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * a @ b.T
    distances = np.sqrt(np.maximum(squares, 0.0))
    if same:
        np.fill_diagonal(distances, np.inf)  # a song is not its own neighbour
    return distances
