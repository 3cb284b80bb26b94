"""Cross-fits in one task, without Spark: folds, threads, sizes of errors, stored models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from sonic_lib.models.estimators import BOOSTED, in_one_task
from sonic_lib.models.tabular import learners, serialisation, stage
from sonic_lib.models.tabular.crossfit import HELD_OUT_FOLD, Request, crossfit
from sonic_lib.models.tabular.table import Layout, from_arrow
from tests.unit.test_tabular import COLUMNS, TREES, arrow, blobs


def request(layout, kinds=("boosted",), *, n_classes):
    return Request(layout, kinds, n_classes, 0, False, TREES, TREES)


def test_every_row_is_scored_once_by_a_model_that_has_not_seen_it(rng):
    features, _ = blobs(rng, 200)
    layout = Layout(("a", "b", "c", "d"), 4)
    outer = rng.integers(-1, 3, 200)
    noise = rng.integers(0, 3, 200).astype(float)  # unpredictable
    table = from_arrow(arrow(features), layout=layout)
    asked = request(layout, ("forest",), n_classes=3)
    done = crossfit(table, noise, outer + 1, outer, request=asked, n_threads=3)
    assert not np.isnan(done.scores).any()
    assert np.mean(done.scores.argmax(axis=1) == noise) < 0.45
    served = learners.predict(done.served.fitted["forest"], done.served.known)
    assert np.mean(served.argmax(axis=1) == noise) > 0.9  # the final model has seen all of them
    assert sorted(done.judge.asked) == sorted(np.flatnonzero(outer == HELD_OUT_FOLD))
    assert not set(done.judge.rows) & set(done.judge.asked)


@pytest.mark.parametrize("n_classes", [3, 0])
def test_threads_change_nothing(rng, n_classes):
    features, labels = blobs(rng, 240)
    layout = Layout(("a", "b", "c", "d"), 4, texts=("title",))
    table = from_arrow(
        arrow(features, texts=[[f"song {i % 7}" for i in range(240)]]), layout=layout
    )
    folds = rng.integers(-1, 3, 240)
    asked = request(layout, ("boosted", "linear"), n_classes=n_classes)
    first, second = (
        crossfit(table, labels, folds + 1, folds, request=asked, n_threads=n) for n in (1, 4)
    )
    np.testing.assert_array_equal(first.scores, second.scores)
    np.testing.assert_array_equal(first.without, second.without)
    assert np.isfinite(first.without).all(axis=1).sum() == (folds == HELD_OUT_FOLD).sum()


def test_expected_errors_follow_the_noise(rng):
    x = rng.uniform(0, 1, (1500, 2))
    target = 10 * x[:, 0] + rng.normal(0, 1, 1500) * (0.2 + 3 * x[:, 1])
    layout = Layout(("a", "b"), 2)
    table = from_arrow(arrow(x), layout=layout)
    folds = rng.integers(0, 3, 1500)
    asked = replace(request(layout, n_classes=0), boosted=TREES | {"num_boost_round": 40})
    done = crossfit(table, target, folds, folds, request=asked, n_threads=2)
    assert done.judge is None
    assert done.scores[:, 1].min() > 0
    assert np.corrcoef(done.scores[:, 1], x[:, 1])[0, 1] > 0.7


def test_huge_errors_do_not_widen_all_intervals(rng):
    """Intervals are about as wide as with one width for all even if a few songs have most plays."""
    layout = Layout(("a", "b", "c", "d"), 4)
    asked = in_one_task(BOOSTED, n_rows=1000, n_classes=0, seed=0, weighted=False, layout=layout)
    ratios = []
    for _ in range(3):
        x = rng.normal(0, 1, (1000, 4))
        log_plays = 10 + 1.75 * x[:, 0] + 1.25 * x[:, 1] * x[:, 2] + rng.normal(0, 1.5, 1000)
        plays, folds = np.exp(log_plays), rng.integers(0, 3, 1000)
        table = from_arrow(arrow(x), layout=layout)
        done = crossfit(table, plays, folds, folds, request=asked, n_threads=2)
        predicted, difficulty = done.scores.T

        def mean_width(sizes, plays=plays, predicted=predicted):
            reach = sizes * np.quantile(np.abs(plays - predicted) / sizes, 0.9)
            return np.mean(predicted + reach - np.clip(predicted - reach, 0, None))

        ratios.append(mean_width(difficulty) / mean_width(np.ones(1000)))
    assert np.mean(ratios) < 1.3


@pytest.mark.parametrize("n_classes", [3, 0])
def test_model_survives_serialisation(rng, n_classes):
    columns = replace(COLUMNS, task="classification" if n_classes else "regression")
    features, labels = blobs(rng, 240)
    artists = [f"artist {i % 30}" for i in range(240)]
    given = arrow(
        np.column_stack([features, rng.integers(1, 3, 240)]),  # and the entries of the list
        categories=[["calm" if i % 5 else None for i in range(240)]],
        encoded=[artists],
        lists=[[[f"tag {i % 4}", f"tag {i % 7}"] for i in range(240)]],
        texts=[artists],
    )
    layout = stage.layout_of(columns)
    table = from_arrow(given, layout=layout)
    folds = rng.integers(-1, 3, 240)
    asked = request(layout, ("boosted", "forest", "linear", "kernel"), n_classes=n_classes)
    done = crossfit(table, labels, folds + 1, folds, request=asked, n_threads=2)
    content = serialisation.packed(done, table=table)
    model = serialisation.Unpacked(
        content, role=serialisation.JUDGE, layout=stage.layout_of(columns), n_classes=n_classes
    )
    held_out = np.flatnonzero(folds == HELD_OUT_FOLD)
    rows = {name: values.take(pa.array(held_out)) for name, values in given.items()}
    answers = np.array(model.answer(rows).to_pylist())
    np.testing.assert_allclose(answers, done.scores[held_out], rtol=1e-5, atol=1e-7)
    nobody = {name: values.slice(0, 0) for name, values in given.items()}
    assert model.answer(nobody).to_pylist() == []


def test_many_classes_of_few_rows_are_learned_without_a_warning(rng, recwarn):
    layout = Layout(("a", "b"), 2)
    labels = np.repeat(np.arange(30.0), 3)
    given = arrow(np.column_stack([labels, rng.normal(size=90)]))
    folds = np.tile(np.arange(3), 30)
    asked = request(layout, ("forest", "linear"), n_classes=30)
    done = crossfit(
        from_arrow(given, layout=layout),
        labels,
        folds,
        folds,
        request=asked,
        n_threads=2,
    )
    assert np.allclose(done.scores.sum(axis=1), 1)
    assert not recwarn.list
