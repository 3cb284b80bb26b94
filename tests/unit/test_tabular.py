"""Tabular models in one task, without Spark: encodings by hand, learners, weights, folds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_digits
from sklearn.kernel_ridge import KernelRidge

from sonic_lib.models.columns import Columns
from sonic_lib.models.tabular import blend, encode, forest, learners, linear
from sonic_lib.models.tabular.encode import TrainingSet
from sonic_lib.models.tabular.table import Layout, from_arrow, vocabulary_of

COLUMNS = Columns(
    "classification",
    "y",
    numbers=("a", "b", "c", "d"),
    categories=("mood",),
    encoded=("artist",),
    lists=("tags",),
    dates=(),
    group=None,
    dropped={},
    target_is_number=False,
    texts=("artist",),
)
TREES = {"tree_method": "hist", "num_boost_round": 20, "max_depth": 3, "learning_rate": 0.2}


def arrow(plain, *, categories=(), encoded=(), lists=(), texts=()):
    """Rows as Spark sends them, from columns."""
    n = len(plain)

    def rows(columns, kind):
        return pa.array([[c[i] for c in columns] for i in range(n)], pa.list_(kind))

    return {
        "hash": pa.array(np.arange(n) * 7919),
        "plain": pa.array([list(map(float, row)) for row in plain], pa.list_(pa.float64())),
        "categories": rows(categories, pa.string()),
        "encoded": rows(encoded, pa.string()),
        "lists": rows(lists, pa.list_(pa.string())),
        "texts": rows(texts, pa.string()),
    }


def training_set(labels, folds, *, n_classes, rows=None):
    rows = np.arange(len(labels)) if rows is None else np.asarray(rows)
    return TrainingSet(rows, np.asarray(labels, float), np.asarray(folds), n_classes)


# ---- encodings ----


def test_missing_numbers_are_medians_and_few_values_are_one_hot():
    layout = Layout(("x",), 1, categories=("mood",))
    given = arrow([[1], [np.nan], [3], [5]], categories=[["b", "a", None, "a"]])
    table = from_arrow(given, layout=layout)
    taught = training_set([0, 1, 2, 3], [0, 1, 0, 1], n_classes=0)
    _, found = encode.fit(table, taught, layout=layout)
    np.testing.assert_array_equal(found, [[1, 0, 1], [3, 1, 0], [3, 0, 0], [5, 1, 0]])


def test_training_rows_are_encoded_out_of_fold_and_new_rows_by_all_folds():
    layout = Layout((), 0, encoded=("artist",))
    given = arrow(np.empty((5, 0)), encoded=[["a", "a", "a", "b", None]])
    labels, folds = [1, 1, 0, 0, 1], [0, 1, 1, 0, 1]
    table = from_arrow(given, layout=layout)
    state, found = encode.fit(table, training_set(labels, folds, n_classes=2), layout=layout)
    one, zero = 3 * 0.6, 3 * 0.4
    expected = [
        [(1 + zero) / 5, (1 + one) / 5, 2],  # one song of each class in the other fold
        [zero / 4, (1 + one) / 4, 1],
        [zero / 4, (1 + one) / 4, 1],
        [0.4, 0.6, 0],
        [0.4, 0.6, 0],
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    new = arrow(np.empty((2, 0)), encoded=[["a", "never seen"]])
    rows = from_arrow(new, layout=layout, vocabulary=vocabulary_of(table))
    encoded = encode.features(rows, np.arange(2), state, layout=layout, n_classes=2)
    np.testing.assert_allclose(
        encoded, [[(1 + zero) / 6, (2 + one) / 6, 3], [0.4, 0.6, 0]], rtol=1e-6
    )


def test_lists_have_mean_minimum_and_maximum_encodings():
    layout = Layout((), 0, lists=("genres",))
    given = arrow(np.empty((4, 0)), lists=[[["x", "y"], ["x"], ["y"], []]])
    table = from_arrow(given, layout=layout)
    state, _ = encode.fit(
        table, training_set([0, 10, 50, 20], [0, 1, 2, 3], n_classes=0), layout=layout
    )
    new = from_arrow(
        arrow(np.empty((2, 0)), lists=[[["x", "y", "z"], None]]),
        layout=layout,
        vocabulary=vocabulary_of(table),
    )
    found = encode.features(new, np.arange(2), state, layout=layout, n_classes=0)
    x, y = (10 + 60) / 5, (50 + 60) / 5
    np.testing.assert_allclose(found, [[(x + y) / 2, x, y, 2], [20, 20, 20, 0]], rtol=1e-6)


def test_no_row_is_encoded_by_its_own_target(rng):
    """Labels are random, so features must be independent of them."""
    n = 600
    layout = Layout(("x",), 1, encoded=("artist",), texts=("title",))
    artists = [f"artist {i // 3}" for i in range(n)]
    titles = [f"{rng.integers(10**9)} {rng.integers(10**9)}" for _ in range(n)]
    table = from_arrow(
        arrow(rng.normal(size=(n, 1)), encoded=[artists], texts=[titles]), layout=layout
    )
    labels, folds = rng.integers(0, 2, n).astype(float), rng.integers(0, 10, n)
    _, found = encode.fit(table, training_set(labels, folds, n_classes=2), layout=layout)
    names = encode.feature_names(layout, classes=("a", "b"), vocabulary=vocabulary_of(table))
    assert found.shape == (n, len(names))
    assert names[-2:] == ["title, letters: a", "title, letters: b"]
    for column in found.T:
        assert abs(np.corrcoef(column, labels)[0, 1]) < 0.13  # 3 standard deviations of chance


def test_texts_are_encoded_by_letters(rng):
    layout = Layout((), 0, texts=("title",))
    n = 400
    labels = rng.integers(0, 2, n).astype(float)
    words = np.array([["waltz", "sonata"], ["riot", "anarchy"]])
    titles = [f"{words[int(y), rng.integers(2)]} no {i}" for i, y in enumerate(labels)]
    table = from_arrow(arrow(np.empty((n, 0)), texts=[titles]), layout=layout)
    state, found = encode.fit(
        table, training_set(labels, np.arange(n) % 10, n_classes=2), layout=layout
    )
    assert np.mean((found[:, 1] > found[:, 0]) == labels) > 0.99
    new = from_arrow(
        arrow(np.empty((3, 0)), texts=[["Little Riot", "Sonata in C", None]]), layout=layout
    )
    encoded = encode.features(new, np.arange(3), state, layout=layout, n_classes=2)
    assert encoded[0, 1] > encoded[0, 0]
    assert encoded[1, 1] < encoded[1, 0]
    assert not encoded[2].any()


# ---- learners ----


def blobs(rng, n=300, *, n_classes=3):
    labels = rng.integers(0, n_classes, n)
    features = rng.normal(size=(n, 4)).astype(np.float32)
    features[:, 0] += 3 * labels
    return features, labels.astype(float)


@pytest.mark.parametrize("kind", ["boosted", "forest", "linear", "kernel"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_each_kind_separates_classes(rng, kind, n_classes):
    features, labels = blobs(rng, n_classes=n_classes)
    fitted = learners.fit(
        kind,
        features[:200],
        labels[:200] + 1,  # class 0 is missing
        n_classes=n_classes + 1,
        weights=None,
        seed=1,
        settings=TREES,
    )
    assert all(isinstance(value, np.ndarray) for value in fitted.values())
    predicted = learners.predict(fitted, features[200:])
    np.testing.assert_allclose(predicted.sum(axis=1), 1)
    assert not predicted[:, 0].any()
    # The kernel weighs all features equally, and three of four are noise.
    assert np.mean(predicted.argmax(axis=1) == labels[200:] + 1) > (
        0.7 if kind == "kernel" else 0.85
    )
    again = learners.predict(learners.ready(fitted), features[200:])
    np.testing.assert_array_equal(again, predicted)
    shares = learners.importances(fitted, n_features=4)
    if kind == "kernel":
        assert not shares.any()
    else:
        assert shares.sum() == pytest.approx(1)
        assert shares.argmax() == 0


@pytest.mark.parametrize("kind", ["boosted", "forest", "linear", "kernel"])
def test_each_kind_learns_a_number(rng, kind):
    features = rng.normal(size=(400, 3)).astype(np.float32)
    target = 50 + 10 * features[:, 0] + rng.normal(size=400)
    fitted = learners.fit(
        kind, features[:300], target[:300], n_classes=0, weights=None, seed=1, settings=TREES
    )
    predicted = learners.predict(fitted, features[300:])
    assert 1 - np.var(predicted - target[300:]) / np.var(target[300:]) > 0.8


def test_array_forest_predicts_like_the_library(rng, monkeypatch):
    from sklearn import ensemble

    grown = []

    class Kept(ensemble.ExtraTreesClassifier):
        def fit(self, *args, **kwargs):
            grown.append(super().fit(*args, **kwargs))
            return self

    monkeypatch.setattr(ensemble, "ExtraTreesClassifier", Kept)
    features, labels = blobs(rng)
    fitted = forest.fit(features, labels.astype(int), n_classes=3, weights=None, seed=2)
    np.testing.assert_allclose(
        forest.predict(fitted, features), grown[0].predict_proba(features), atol=1e-6
    )


@pytest.mark.parametrize(("shape", "kernel"), [("gaussian", "rbf"), ("laplacian", "laplacian")])
def test_left_out_predictions_of_the_kernel_machine_match_refitting(rng, shape, kernel):
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(30, 1))
    values, basis, _ = linear._kernel_features(x, x, shape, 0.4, np.ones((30, 1)))
    error, _, predicted = linear._ridge_by_kernel(x, x, y, np.ones(30), shape, 0.4)

    def left_out(penalty):
        model = KernelRidge(alpha=penalty, kernel=kernel, gamma=0.4 / 2)
        every = np.arange(30)
        return np.array([model.fit(x[every != i], y[every != i]).predict(x[[i]])[0] for i in every])

    expected = {p: float(((left_out(p) - y) ** 2).mean()) for p in linear._PENALTIES}
    best = min(expected, key=expected.get)
    assert error == pytest.approx(expected[best], rel=1e-4)
    np.testing.assert_allclose(predicted, left_out(best), atol=1e-4)
    assert len(values) == basis.shape[1]


def test_kernels_are_best_on_digits():
    digits = load_digits()
    x, y = digits.data.astype(np.float32)[:800], digits.target[:800].astype(float)
    right = {}
    for kind in ("kernel", "linear"):
        fitted = learners.fit(
            kind, x[:600], y[:600], n_classes=10, weights=None, seed=0, settings={}
        )
        right[kind] = np.mean(learners.predict(fitted, x[600:]).argmax(axis=1) == y[600:])
    assert right["kernel"] > right["linear"] > 0.85


# ---- weights ----


def test_mean_is_used_only_where_it_is_significantly_better(rng):
    n = 2000
    labels = rng.integers(0, 2, n)
    truth = np.eye(2)[labels]
    first, second = (np.clip(truth + rng.normal(0, 0.6, (n, 2)), 0.05, None) for _ in "ab")
    first, second = (each / each.sum(axis=1, keepdims=True) for each in (first, second))
    weights = blend.choose({"a": first, "b": second}, labels, is_class=True).weights
    assert set(weights) == {"a", "b"}
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["a"] == pytest.approx(0.5, abs=0.1)
    worse = np.full((n, 2), 0.5)
    answers = {"a": first, "copy": first, "no": worse}
    assert "no" not in blend.choose(answers, labels, is_class=True).weights
    blended = blend.choose({"a": truth, "b": worse}, labels, is_class=True)
    assert blended.weights == {"a": 1.0}


def test_underconfident_probabilities_are_sharpened_and_others_kept(rng):
    scores = 2 * rng.normal(size=(4000, 3))
    right = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(3, p=each) for each in right])
    cautious = np.sqrt(right) / np.sqrt(right).sum(axis=1, keepdims=True)
    blended = blend.choose({"forest": cautious}, labels, is_class=True)
    assert blended.sharpness == pytest.approx(2, abs=0.15)
    sharpened = blended.of({"forest": cautious}, is_class=True)
    assert np.allclose(sharpened.sum(axis=1), 1)
    assert np.abs(sharpened - right).max() < 0.05
    assert blend.choose({"forest": right}, labels, is_class=True) == blend.Blend({"forest": 1.0})


def test_weights_of_a_number_are_least_squares(rng):
    target = 50 + 20 * rng.normal(size=5000)
    answers = {"a": target + rng.normal(0, 5, 5000), "b": target + rng.normal(0, 10, 5000)}
    weights = blend.choose(answers, target, is_class=False).weights
    assert weights["a"] == pytest.approx(0.8, abs=0.03)  # by the inverse of the variances
