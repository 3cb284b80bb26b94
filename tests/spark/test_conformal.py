"""Conformal sets and intervals, compared with MAPIE, crepes and plain numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pyspark.sql import functions as F
from scipy.stats import binom
from sklearn.base import BaseEstimator, ClassifierMixin

from sonic_lib.errors import UsageError
from sonic_lib.models.conformal import intervals as ranges
from sonic_lib.models.conformal.sets import (
    METHODS,
    RAPS_FREE_RANKS,
    RAPS_PENALTY,
    calibration_scores,
    coverage,
    coverage_curve,
    limits_of,
    nonconformity,
    prediction_sets,
    thresholds,
)

K = 7


def probabilities(rng, n):
    return rng.dirichlet(np.full(K, 0.4), n)


def labels(rng, chances):
    return np.array([rng.choice(K, p=row) for row in chances])


def scored_frame(spark, chances, truth, *, first_id=0):
    rows = [
        (first_id + i, int(label), [float(p) for p in row])
        for i, (row, label) in enumerate(zip(chances, truth, strict=True))
    ]
    return spark.createDataFrame(rows, "song_id long, label int, probabilities array<double>")


@pytest.fixture(scope="module")
def songs():
    """Two halves of songs whose genres are drawn from their probabilities."""
    rng = np.random.default_rng(5)
    chances = probabilities(rng, 800)
    return chances, labels(rng, chances)


@pytest.fixture
def halves(spark, songs):
    chances, truth = songs
    return (
        scored_frame(spark, chances[:400], truth[:400]).persist(),
        scored_frame(spark, chances[400:], truth[400:], first_id=400).persist(),
    )


def threshold_of(scored, *, method, confidence):
    scores = scored.transform(calibration_scores, method=method)
    return scores.transform(thresholds, confidences=[confidence]).first().threshold


class Known(ClassifierMixin, BaseEstimator):
    """A classifier that returns the given probabilities."""

    def fit(self, _, y):
        self.classes_ = np.arange(K)
        return self

    def predict_proba(self, chances):
        return chances

    def predict(self, chances):
        return chances.argmax(axis=1)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_lac_sets_match_mapie(songs, halves, confidence):
    from mapie.classification import SplitConformalClassifier

    chances, truth = songs
    model = SplitConformalClassifier(
        Known().fit(None, None), confidence_level=confidence, conformity_score="lac", prefit=True
    )
    model.conformalize(chances[:400], truth[:400])
    _, expected = model.predict_set(chances[400:])
    limit = threshold_of(halves[0], method="lac", confidence=confidence)
    sets = halves[1].transform(prediction_sets, method="lac", threshold=limit, allow_empty=True)
    found = np.zeros((400, K), bool)
    for row in sets.collect():
        found[row.song_id - 400, row.labels] = True
    np.testing.assert_array_equal(found, expected[:, :, 0])


@pytest.mark.parametrize("method", METHODS)
def test_scores_match_their_formulas(spark, songs, method):
    chances, truth = songs[0][:50], songs[1][:50]
    scored = scored_frame(spark, chances, truth)
    u = F.pmod(F.xxhash64("song_id", F.lit(271_828)), F.lit(2**20))
    rows = scored.select("*", nonconformity(method=method).alias("scores"), u.alias("u")).collect()
    for row in rows:
        p = np.array(row.probabilities)
        order = np.argsort(-p, kind="stable")
        rank = np.empty(K, int)
        rank[order] = np.arange(1, K + 1)
        above = np.concatenate([[0], np.cumsum(p[order])[:-1]])[rank - 1]
        aps = above + (row.u + 0.5) / 2**20 * p
        expected = {
            "lac": 1 - p,
            "aps": aps,
            "raps": aps + RAPS_PENALTY * np.maximum(rank - RAPS_FREE_RANKS, 0),
        }
        np.testing.assert_allclose(row.scores, expected[method], atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_coverage_is_as_stated(halves, method, confidence):
    limit = threshold_of(halves[0], method=method, confidence=confidence)
    sets = halves[1].transform(prediction_sets, method=method, threshold=limit, allow_empty=True)
    found = sets.transform(coverage).first()
    # Both halves are random: the coverage of one threshold is itself beta-distributed.
    deviation = math.sqrt(2 * confidence * (1 - confidence) / 400)
    assert abs(found.n_covered / found.n - confidence) < 4 * deviation
    assert 1 < found.mean_size < K


@pytest.mark.parametrize("method", METHODS)
def test_sets_grow_with_confidence_from_the_likeliest_genre(halves, method):
    smaller = None
    for confidence in (0.5, 0.8, 0.95, 0.99):
        limit = threshold_of(halves[0], method=method, confidence=confidence)
        sets = halves[1].transform(prediction_sets, method=method, threshold=limit)
        found = {row.song_id: row for row in sets.collect()}
        for song_id, row in found.items():
            p = row.probabilities
            assert row.labels[0] == int(np.argmax(p))
            assert [p[i] for i in row.labels] == sorted((p[i] for i in row.labels), reverse=True)
            assert smaller is None or set(smaller[song_id].labels) <= set(row.labels)
        smaller = found


@pytest.mark.parametrize(
    ("n", "confidence", "place"), [(9, 0.9, 9), (10, 0.9, 10), (8, 0.9, None), (100, 0.95, 96)]
)
def test_threshold_is_the_exact_order_statistic(spark, rng, n, confidence, place):
    scores = rng.normal(size=n)
    frame = spark.createDataFrame([(float(s),) for s in scores], "score double")
    row = frame.transform(thresholds, confidences=[confidence]).first()
    assert row.n == n
    assert row.threshold == (None if place is None else np.sort(scores)[place - 1])


def test_each_genre_has_its_own_threshold(spark, halves):
    scores = halves[0].transform(calibration_scores, method="lac")
    rows = scores.transform(thresholds, confidences=[0.9], by=["label"]).collect()
    by_label = {row.label: row.threshold for row in rows}
    assert sum(row.n for row in rows) == 400
    assert sorted(by_label) == list(range(K))
    sets = halves[1].transform(prediction_sets, method="lac", threshold=by_label)
    for row in sets.transform(coverage, by=["label"]).collect():
        # With an exact threshold, chance alone would fail this three times in a thousand.
        assert row.n_covered >= binom.ppf(1e-3, row.n, 0.8)
    one = scored_frame(spark, [[1.0] + [0.0] * (K - 1)], [0])
    sets = one.transform(prediction_sets, method="lac", threshold={0: 0.5, 1: 0.5, 2: None})
    assert sets.first().labels == [0, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("by", [(), ("label",)])
def test_curve_is_the_coverage_at_each_confidence(halves, by):
    threshold = {label: 0.5 + 0.05 * label for label in range(K - 1)}  # none for the last genre
    given = {0.5: 0.4, 0.9: 0.8, 0.99: None, 0.7: threshold}
    levels = [(c, limits_of(t, n_genres=K)) for c, t in given.items()]
    found = halves[1].transform(coverage_curve, method="lac", levels=levels, by=by)
    for confidence, limit in given.items():
        sets = halves[1].transform(prediction_sets, method="lac", threshold=limit, allow_empty=True)
        filled = halves[1].transform(prediction_sets, method="lac", threshold=limit)
        curve = found.filter(F.col("confidence") == confidence).drop("confidence")
        names = [*by, "n_covered"]
        assert sorted(curve.drop("n_covered_filled").collect()) == sorted(
            sets.transform(coverage, by=by).collect()
        )
        assert sorted(curve.select(*by, "n_covered_filled").collect()) == sorted(
            filled.transform(coverage, by=by).select(*names).collect()
        )


def test_too_few_songs_exclude_nothing(spark, halves):
    few = halves[0].limit(5)
    limit = threshold_of(few, method="lac", confidence=0.99)
    assert limit is None
    sets = few.transform(prediction_sets, method="lac", threshold=limit)
    assert all(len(row.labels) == K for row in sets.collect())


def test_empty_sets_get_the_likeliest_genre_unless_allowed(spark):
    scored = scored_frame(spark, [[0.3, 0.4, 0.3]], [0])
    for allow_empty, expected in ((False, [1]), (True, [])):
        sets = scored.transform(
            prediction_sets, method="lac", threshold=0.1, allow_empty=allow_empty
        )
        assert sets.first().labels == expected
    found = sets.transform(coverage).first()
    assert (found.n, found.n_covered, found.share_empty, found.share_single) == (1, 0, 1.0, 0.0)


def test_unknown_method_is_refused():
    with pytest.raises(UsageError, match=r"'best' \(--method\): expected one of lac, aps, raps"):
        nonconformity(method="best")


# ---- intervals ----


def test_intervals_match_crepes(spark, rng):
    from crepes import ConformalRegressor

    n = 300
    sigmas = rng.uniform(0.5, 3, 2 * n)
    predictions = rng.normal(50, 10, 2 * n)
    targets = predictions + rng.normal(0, sigmas)
    rows = list(zip(*(x.tolist() for x in (targets, predictions, sigmas)), strict=True))
    schema = "target double, prediction double, difficulty double"
    known, new = (spark.createDataFrame(part, schema) for part in (rows[:n], rows[n:]))
    scores = known.transform(ranges.error_scores)
    limit = scores.transform(thresholds, confidences=[0.9]).first().threshold
    found = new.transform(ranges.intervals, threshold=limit)

    oracle = ConformalRegressor().fit(residuals=targets[:n] - predictions[:n], sigmas=sigmas[:n])
    expected = oracle.predict_int(predictions[n:], sigmas=sigmas[n:], confidence=0.9)
    np.testing.assert_allclose(np.array(found.select("low", "high").collect()), expected, rtol=0.01)
    observed = found.transform(ranges.coverage).first()
    inside = (targets[n:] >= expected[:, 0]) & (targets[n:] <= expected[:, 1])
    assert abs(observed.n_covered - inside.sum()) <= 2
    assert observed.mean_width == pytest.approx(np.diff(expected).mean(), rel=0.01)


def test_intervals_stay_within_the_limits_of_the_target(spark):
    rows = [(2.0, 1.0, 5.0), (99.0, 98.0, 5.0), (50.0, 50.0, 1.0), (110.0, 120.0, 1.0)]
    frame = spark.createDataFrame(rows, "target double, prediction double, difficulty double")
    found = frame.transform(ranges.intervals, threshold=2.0, limits=(0, 100))
    assert [(row.low, row.high) for row in found.collect()] == [
        *[(0.0, 11.0), (88.0, 100.0), (48.0, 52.0), (100.0, 100.0)],
    ]
    assert [row.prediction for row in found.collect()] == [1.0, 98.0, 50.0, 100.0]
    wide = frame.transform(ranges.intervals, threshold=None).first()
    assert (wide.low, wide.high) == (-math.inf, math.inf)


def test_curve_of_intervals_matches_one_threshold_at_a_time(spark, rng):
    rows = [(float(t), float(p), float(d)) for t, p, d in rng.uniform(1, 99, (200, 3))]
    frame = spark.createDataFrame(rows, "target double, prediction double, difficulty double")
    levels = [(0.99, None), (0.8, 0.7), (0.5, 0.2)]
    curve = frame.transform(ranges.coverage_curve, levels=levels, limits=(0, 100)).collect()
    assert [row.confidence for row in curve] == [0.5, 0.8, 0.99]
    for row, (_, threshold) in zip(curve, levels[::-1], strict=True):
        one = frame.transform(ranges.intervals, threshold=threshold, limits=(0, 100))
        expected = one.transform(ranges.coverage).first()
        assert (row.n, row.n_covered) == (expected.n, expected.n_covered)
        assert row.mean_width == pytest.approx(expected.mean_width)
