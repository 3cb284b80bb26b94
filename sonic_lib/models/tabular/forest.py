"""scikit-learn's extremely randomised trees as plain arrays, with prediction.

P. Geurts, D. Ernst and L. Wehenkel, Extremely randomized trees, 2006.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Fewer trees for more rows: time is proportional to the rows.  Blended with boosted trees, 60 trees
# predict as well as 115.
_ROW_TREES = 400_000
_MIN_TREES, _MAX_TREES = 60, 200
_MAX_LEAVES = 4_096  # per tree; a leaf holds a share of each class


def fit(
    features: NDArray[np.float32],
    labels: NDArray,
    *,
    n_classes: int,
    weights: NDArray | None,
    seed: int,
) -> dict[str, NDArray]:
    """Grow a forest; parameters as in `learners.fit`, classes without gaps."""
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    n_trees = int(np.clip(_ROW_TREES // len(features), _MIN_TREES, _MAX_TREES))
    grow: Any = ExtraTreesClassifier if n_classes else ExtraTreesRegressor
    grown = grow(
        n_trees,
        max_features="sqrt" if n_classes else max(1 / 3, min(3 / features.shape[1], 1.0)),
        # Weights would change nothing in leaves with a single class.
        min_samples_leaf=1 if n_classes and weights is None and len(features) < 5_000 else 3,
        max_leaf_nodes=_MAX_LEAVES if len(features) > _MAX_LEAVES else None,
        random_state=seed,
    ).fit(features, labels, sample_weight=weights)
    trees = [each.tree_ for each in grown.estimators_]
    starts = np.cumsum([0, *(tree.node_count for tree in trees)])
    left, right, feature, threshold, value = [], [], [], [], []
    for start, tree in zip(starts, trees, strict=False):
        is_leaf = tree.children_left < 0
        own = np.arange(tree.node_count)
        left.append(start + np.where(is_leaf, own, tree.children_left))
        right.append(start + np.where(is_leaf, own, tree.children_right))
        feature.append(np.maximum(tree.feature, 0))
        threshold.append(tree.threshold)
        value.append(tree.value[:, 0, :])
    values = np.concatenate(value)
    if n_classes:
        values = values / values.sum(axis=1, keepdims=True)
    places = np.concatenate(left) == np.arange(len(values))
    leaf = np.where(places, np.cumsum(places) - 1, -1)
    return {
        "roots": starts[:-1],
        "left": np.concatenate(left).astype(np.int32),
        "right": np.concatenate(right).astype(np.int32),
        "feature": np.concatenate(feature).astype(np.int32),
        "threshold": np.concatenate(threshold),
        "leaf": leaf.astype(np.int32),
        "values": values[places].astype(np.float32),
        "importances": grown.feature_importances_,
    }


def check(fitted: Mapping[str, NDArray], *, n_features: int) -> None:
    """Raise if a node has an invalid child; with `fit`, children always follow their parent.

    Raises
    ------
    ValueError, LookupError
        If a child is out of range, or precedes its parent, which could be a cycle.
    """
    left, right = (fitted[name].astype(np.int64) for name in ("left", "right"))
    leaf, feature = fitted["leaf"], fitted["feature"]
    own, is_leaf = np.arange(len(left)), leaf >= 0
    is_sound = (
        (is_leaf & (left == own) & (right == own) & (leaf < len(fitted["values"])))
        | (~is_leaf & (left > own) & (right > own) & (left < len(own)) & (right < len(own)))
    ) & ((feature >= 0) & (feature < n_features))
    roots = fitted["roots"]
    if not (is_sound.all() and len(roots) and ((roots >= 0) & (roots < len(own))).all()):
        raise ValueError("a forest with invalid child nodes")


def predict(fitted: Mapping[str, NDArray], features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean of the trees: [shape=(n, K)], or [shape=(n,)] for a regression."""
    given = np.asarray(features, np.float32)
    left, right = fitted["left"], fitted["right"]
    feature, threshold, leaf = fitted["feature"], fitted["threshold"], fitted["leaf"]
    total = np.zeros((len(given), fitted["values"].shape[1]))
    for root in fitted["roots"]:
        node = np.full(len(given), root, np.int32)
        going = np.arange(len(given))
        while len(going):
            at = node[going]
            goes_left = given[going, feature[at]] <= threshold[at]
            node[going] = np.where(goes_left, left[at], right[at])
            going = going[leaf[node[going]] < 0]
        total += fitted["values"][leaf[node]]
    answer = total / len(fitted["roots"])
    return answer if answer.shape[1] > 1 else answer[:, 0]
