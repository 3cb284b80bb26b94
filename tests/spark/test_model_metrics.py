"""Metrics of models on scored frames."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from sonic_lib.models import metrics


def test_confusions_are_counted_with_their_log_loss(spark):
    rows = [(1, 0, [0.5, 0.3, 0.2]), (2, 0, [0.4, 0.4, 0.2]), (3, 2, [0.9, 0.1, 0.0])]
    scored = spark.createDataFrame(rows, "song_id long, label int, probabilities array<double>")
    found = {(r.label, r.predicted): r for r in scored.transform(metrics.confusion).collect()}
    assert {pair: row.n for pair, row in found.items()} == {(0, 0): 2, (2, 0): 1}
    assert found[0, 0].log_loss == pytest.approx(-np.log(0.5) - np.log(0.4))
    assert found[2, 0].log_loss == pytest.approx(-np.log(1e-15))


def test_regression_errors_match_scikit_learn(spark, rng):
    target, prediction = rng.normal(size=(2, 50)) + 5
    rows = list(zip(target.tolist(), prediction.tolist(), strict=True))
    frame = spark.createDataFrame(rows, "target double, prediction double")
    found = frame.transform(metrics.regression_metrics).first().asDict()
    assert found == {
        "n": 50,
        "r2": pytest.approx(r2_score(target, prediction)),
        "rmse": pytest.approx(root_mean_squared_error(target, prediction)),
        "mae": pytest.approx(mean_absolute_error(target, prediction)),
    }


def test_constant_target_has_no_r2(spark):
    frame = spark.createDataFrame([(1.0, 2.0), (1.0, 1.0)], "target double, prediction double")
    assert frame.transform(metrics.regression_metrics).first().r2 is None


def test_residuals_are_binned_and_outliers_go_to_the_outer_bins(spark):
    rows = [(0.0, 0.0), (99.0, -3.0), (100.0, 120.0), (55.0, 45.0)]
    frame = spark.createDataFrame(rows, "target double, prediction double")
    counts = frame.transform(metrics.residual_counts, low=0, high=100, n_bins=10).collect()
    found = {(row.predicted_bin, row.target_bin): row.n for row in counts}
    assert found == {(0, 0): 1, (0, 9): 1, (9, 9): 1, (4, 5): 1}
