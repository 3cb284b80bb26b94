"""Encode titles and names by naive Bayes on hashed n-grams, out of fold.

Each n-gram of 3 to 5 letters has a weight: how much it changes the log-odds of each class, shrunk
to 0 if it is rare (A. McCallum and K. Nigam, A comparison of event models for naive Bayes text
classification, 1998), or, for a numeric target, how far the target is above the mean.  The logits
become features.  Counts of folds add up, so leaving one out is a subtraction, not a fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_HASHES = 2**16
_SMOOTHING = 3.0  # pseudo-count of average songs added to each n-gram
_N_FOLDS = 5


def hashed(texts: Sequence[str | None]) -> Any:
    """Hash the n-grams of each text.

    Parameters
    ----------
    texts : sequence of n str or None

    Returns
    -------
    scipy.sparse.csr_matrix [shape=(n, N_HASHES), float32]
        1 if an n-gram with this hash is in the text, divided by the root of their number.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    hasher = HashingVectorizer(
        analyzer="char_wb",
        ngram_range=(3, 5),
        n_features=N_HASHES,
        alternate_sign=False,
        binary=True,
        norm="l2",
        dtype=np.float32,
    )
    return hasher.transform([text or "" for text in texts])


def out_of_fold(
    words: Any, outcomes: NDArray, folds: NDArray[np.int64], *, is_class: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return logits of each row from the weights of the other folds, and weights of all rows.

    Parameters
    ----------
    words : csr_matrix [shape=(n, N_HASHES)]
    outcomes : np.ndarray [shape=(n, K)]
        1 for the class of the row; or its target, K = 1.
    folds : np.ndarray [shape=(n,), int]
    is_class : bool

    Returns
    -------
    logits : np.ndarray [shape=(n, K)]
    weights : np.ndarray [shape=(N_HASHES, K)]
    """
    parts = folds % _N_FOLDS
    mean = outcomes.mean(axis=0)
    by_part = {part: _sums(words[parts == part], outcomes[parts == part]) for part in set(parts)}
    n, sums = (np.sum(each, axis=0) for each in zip(*by_part.values(), strict=True))
    logits = np.zeros(outcomes.shape, np.float32)
    for part, (own_n, own_sums) in by_part.items():
        weights = _weights(n - own_n, sums - own_sums, mean, is_class)
        logits[parts == part] = words[parts == part] @ weights
    return logits, _weights(n, sums, mean, is_class)


def _sums(words: Any, outcomes: NDArray) -> tuple[NDArray, NDArray]:
    is_present = words.copy()
    is_present.data[:] = 1.0
    n = np.asarray(is_present.sum(axis=0)).ravel()
    return n.astype(np.float64), np.asarray(is_present.T @ outcomes.astype(np.float64))


def _weights(n: NDArray, sums: NDArray, mean: NDArray, is_class: bool) -> NDArray[np.float32]:
    shrunk = (np.maximum(sums, 0) if is_class else sums) + _SMOOTHING * mean
    shares = shrunk / (n + _SMOOTHING)[:, None]
    if not is_class:
        return (shares - mean).astype(np.float32)
    tiny = 1e-9  # for a class without rows
    return np.log((shares + tiny) / (mean + tiny)).astype(np.float32)
