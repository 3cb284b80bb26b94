"""Estimators of both tasks on small frames: fitted, saved, cross-validated."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from pyspark.ml import PipelineModel
from pyspark.sql import functions as F
from sklearn.metrics import r2_score

from sonic_lib.errors import ModelError, SetupError
from sonic_lib.models import estimators, metrics, targets, training
from sonic_lib.models.columns import Columns
from sonic_lib.models.estimators import AUTO, BOOSTED, FOREST, KERNEL, LINEAR
from sonic_lib.models.loading import load_pipeline
from sonic_lib.models.tabular import stage

ONE_TASK, CLUSTER = "one task", "cluster"
CLASSES = ("folk", "jazz", "rock")
N_SONGS = 240


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Use few trees: the tests do not depend on their number."""
    for settings in ("_BOOSTED_CLASSES", "_BOOSTED_NUMBER", "_BOOSTED_ROOT"):
        few = getattr(estimators, settings) | {"n_estimators": 15, "learning_rate": 0.3}
        monkeypatch.setattr(estimators, settings, few)
    small = {"numTrees": 5, "maxDepth": 4}
    monkeypatch.setattr(estimators, "_FOREST", estimators._FOREST | small)


@pytest.fixture(params=[ONE_TASK, CLUSTER])
def way(request, monkeypatch):
    """Train in one task and on the cluster: both must behave alike."""
    if request.param == CLUSTER:
        monkeypatch.setattr(stage, "MAX_ROWS", 0)
    return request.param


@pytest.fixture
def by_cluster(monkeypatch):
    monkeypatch.setattr(stage, "MAX_ROWS", 0)


def columns(task, target, **roles):
    names = ("numbers", "categories", "encoded", "lists", "dates")
    chosen = dict.fromkeys(names, ()) | {"numbers": ("x", "the tempo")} | roles
    is_number = task == "regression"
    return Columns(task, target, **chosen, group=None, dropped={}, target_is_number=is_number)


GENRE = training.Recipe(columns("classification", "genre"), CLASSES, seed=1)
FAME = training.Recipe(columns("regression", "fame"), seed=1)


@pytest.fixture
def songs(spark, rng):
    """Genres differ in x; fame follows x, with more noise for faster songs."""
    place = rng.integers(0, 3, N_SONGS)
    x, tempo = rng.normal(3.0 * place, 0.6), rng.uniform(0, 1, N_SONGS)
    fame = 10 * x + rng.normal(0, 12, N_SONGS) * tempo
    rows = zip(map(int, range(N_SONGS)), x.tolist(), tempo.tolist(), fame.tolist(), strict=True)
    full = [(*row, CLASSES[p]) for row, p in zip(rows, place, strict=True)]
    schema = "song_id long, x double, `the tempo` double, fame double, genre string"
    return spark.createDataFrame(full, schema)


def ready(frame, recipe):
    return frame.transform(
        targets.labelled, columns=recipe.columns, classes=recipe.classes
    ).persist()


def fit(rows, *, recipe):
    """Fit a model; in one task, with the one that `training.scored` uses for some of the rows."""
    if not stage.MAX_ROWS:
        return training.fit(rows, recipe=recipe)
    is_held_out = F.pmod(F.xxhash64("song_id"), F.lit(6)) == 0
    return training.train(rows, recipe=recipe, n_folds=3, is_held_out=is_held_out).model


def by_song(scored):
    return sorted(tuple(row) for row in scored.collect())


def accuracy(scored):
    is_right = (metrics.predicted() == F.col("label")).cast("int")
    return scored.agg(F.avg(is_right)).first()[0]


# ---- labelled ----


def test_rows_without_a_known_class_are_excluded(spark):
    rows = [(1, " jazz "), (2, None), (3, "folk"), (4, "unknown")]
    frame = spark.createDataFrame(rows, "song_id long, genre string")
    found = ready(frame, GENRE).select("song_id", "_label").collect()
    assert sorted(map(tuple, found)) == [(1, 1.0), (3, 0.0)]
    counts = frame.transform(targets.class_counts, target="genre").collect()
    assert sorted(map(tuple, counts)) == [("folk", 1), ("jazz", 1), ("unknown", 1)]


def test_rows_without_a_finite_number_are_excluded(spark):
    rows = [(1, 5.0), (2, None), (3, float("nan")), (4, float("inf"))]
    frame = spark.createDataFrame(rows, "song_id long, fame double")
    assert [row.song_id for row in ready(frame, FAME).collect()] == [1]


# ---- fit ----


@pytest.mark.parametrize("kind", [BOOSTED, FOREST])
def test_fitted_classifier_predicts_genres_and_survives_saving(songs, kind, way, tmp_path):
    recipe = replace(GENRE, kind=kind)
    rows = ready(songs, recipe)
    model = fit(rows.filter("song_id < 180"), recipe=recipe)
    test = rows.filter("song_id >= 180")
    scored = training.scored(test, model=model, recipe=recipe)
    assert scored.columns == ["song_id", "label", "probabilities"]
    assert accuracy(scored) > 0.9
    for row in scored.collect():
        assert sum(row.probabilities) == pytest.approx(1, abs=1e-9)
        assert min(row.probabilities) >= 0
    model.save(str(tmp_path / "a model"))
    read = PipelineModel.load(str(tmp_path / "a model"))
    assert by_song(training.scored(test, model=read, recipe=recipe)) == by_song(scored)
    # Rows without a known genre are predicted too, and keep their columns.
    new = songs.drop("genre", "fame")
    assert read.transform(new).columns == [*new.columns, "probabilities"]
    shares = training.feature_importances(read, recipe=recipe)
    assert shares[0][0] == "x"
    assert sum(share for _, share in shares) == pytest.approx(1)


@pytest.mark.parametrize("kind", [BOOSTED, FOREST])
def test_fitted_regressor_knows_where_its_errors_are_largest(songs, kind, way):
    recipe = replace(FAME, kind=kind)
    rows = ready(songs, recipe)
    model = fit(rows, recipe=recipe)
    assert model.transform(songs).columns == [*songs.columns, "prediction", "difficulty"]
    scored = training.scored(rows, model=model, recipe=recipe)
    assert scored.columns == ["song_id", "target", "prediction", "difficulty"]
    found = scored.join(songs, "song_id").toPandas()
    assert found["difficulty"].min() > 0
    assert np.corrcoef(found["difficulty"], found["the tempo"])[0, 1] > 0.4
    assert r2_score(found["target"], found["prediction"]) > 0.6


def test_row_order_does_not_change_the_model(songs, way, monkeypatch):
    monkeypatch.setattr(estimators, "_ROWS_PER_WORKER", 200)  # two tasks train together
    recipe = replace(GENRE, columns=columns("classification", "genre", encoded=("day",)))
    dated = songs.withColumn("day", F.format_string("2001-01-%02d", F.col("song_id") % 20))
    answers = []
    for frame in (dated, dated.repartition(7, "x")):
        rows = ready(frame, recipe)
        model = fit(rows, recipe=recipe)
        answers.append(by_song(training.scored(rows, model=model, recipe=recipe)))
    assert answers[0] == answers[1]


def test_unseen_class_has_no_probability(songs, way):
    rows = ready(songs, GENRE)
    model = fit(rows.filter("_label <> 1"), recipe=GENRE)
    found = training.scored(rows, model=model, recipe=GENRE).collect()
    # Not 0 where learners are combined: none of them can rule out a class.
    assert max(row.probabilities[1] for row in found) < 0.01
    sure = [row for row in found if row.label == 2]
    assert np.mean([row.probabilities[2] > 0.5 for row in sure]) > 0.9


def test_class_weights_raise_the_recall_of_rare_classes(songs, way):
    noise = F.col("x") + 8 * F.pmod(F.xxhash64("song_id"), F.lit(100)) / 100
    rare = songs.filter("genre = 'folk' OR (genre = 'jazz' AND song_id % 5 = 0)")
    rows = ready(rare.withColumn("x", noise), GENRE)

    def n_jazz(recipe):
        model = fit(rows, recipe=recipe)
        scored = training.scored(rows, model=model, recipe=recipe)
        return scored.filter(metrics.predicted() == 1).count()

    forest = replace(GENRE, kind=FOREST)
    assert n_jazz(replace(forest, class_weights=True)) > n_jazz(forest)


@pytest.mark.parametrize(
    ("condition", "words"), [("song_id < 3", "[123] rows"), ("_label = 0", "one")]
)
def test_too_few_training_rows_are_refused(songs, way, condition, words):
    with pytest.raises(ModelError, match=words):
        fit(ready(songs, GENRE).filter(condition), recipe=GENRE)


def test_missing_xgboost_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(SetupError, match="pip install 'xgboost"):
        estimators.check_kind(BOOSTED)
    estimators.check_kind(FOREST)


# ---- cross_validate ----


def test_every_row_is_scored_once_by_a_model_that_has_not_seen_it(songs, by_cluster, monkeypatch):
    seen, asked = [], []

    def fit(rows, *, recipe):
        seen.append({row.song_id for row in rows.collect()})
        return recipe

    def scored(rows, *, model, recipe):
        asked.append({row.song_id for row in rows.collect()})
        return rows.select("song_id", "_label")

    monkeypatch.setattr(training, "fit", fit)
    monkeypatch.setattr(training, "scored", scored)
    monkeypatch.setattr(training, "release", lambda model: None)
    found = training.cross_validate(ready(songs, GENRE), recipe=GENRE, n_folds=4)
    assert sorted(row.song_id for row in found.collect()) == list(range(N_SONGS))
    every = set(range(N_SONGS))
    assert sorted(map(sorted, asked)) == sorted(sorted(every - training) for training in seen)
    assert len(asked) == 4


def test_groups_are_not_split(songs, by_cluster, monkeypatch):
    monkeypatch.setattr(training, "fit", lambda rows, *, recipe: None)
    monkeypatch.setattr(training, "release", lambda model: None)
    recipe = replace(GENRE, columns=replace(GENRE.columns, group="genre"))
    seen = []

    def scored(rows, *, model, recipe):
        seen.extend(row.genre for row in rows.select("genre").distinct().collect())
        return rows

    monkeypatch.setattr(training, "scored", scored)
    training.cross_validate(ready(songs, recipe), recipe=recipe, n_folds=3)
    assert sorted(seen) == sorted(CLASSES)


def test_cross_validation_scores_like_a_fit(songs, way):
    is_held_out = F.col("song_id") < 60
    done = training.train(ready(songs, GENRE), recipe=GENRE, n_folds=2, is_held_out=is_held_out)
    assert done.folds.count() == N_SONGS - 60
    assert accuracy(done.folds) > 0.9


# ---- one task and many ----


def rich(songs):
    """Songs with a label and a title that depend on the genre, and a mood that does not."""
    style = F.array_position(F.array(*map(F.lit, CLASSES)), F.col("genre")).cast("int")
    hashed = F.pmod(F.xxhash64("song_id"), F.lit(6))
    return songs.withColumns(
        {
            "label": F.concat(F.lit("label "), (style * 3 + F.pmod("song_id", F.lit(5))) % 8),
            "title": F.format_string("%s %d", F.when(hashed < 4, F.col("genre")), F.col("song_id")),
            "mood": F.when(hashed == 1, "calm").when(hashed > 2, "loud"),
            "tags": F.format_string("['a%d', 'b%d']", hashed, F.pmod("song_id", F.lit(3))),
            "the date": F.format_string("20%02d-0%d", hashed + 10, hashed + 1),
        }
    )


RICH = {
    "encoded": ("label",),
    "categories": ("mood",),
    "lists": ("tags",),
    "dates": ("the date",),
}


@pytest.mark.parametrize("task", ["genre", "fame"])
def test_one_task_and_a_cluster_encode_and_score_alike(songs, monkeypatch, task):
    base = GENRE if task == "genre" else FAME
    kind = "classification" if task == "genre" else "regression"
    recipe = replace(base, columns=columns(kind, task, **RICH))
    rows = ready(rich(songs), recipe)
    found = {}
    for limit in (stage.MAX_ROWS, 0):
        monkeypatch.setattr(stage, "MAX_ROWS", limit)
        model = fit(rows.filter("song_id < 180"), recipe=recipe)
        names = [name for name, _ in training.feature_importances(model, recipe=recipe)]
        answered = model.transform(rows.filter("song_id >= 180"))  # by the models of all rows
        found[limit] = (
            sorted(names),
            np.array(
                [
                    row.probabilities if recipe.classes else [row.prediction]
                    for row in answered.orderBy("song_id").collect()
                ]
            ),
        )
    (names, first), (other_names, second) = found.values()
    assert names == other_names
    spread = first.std(axis=0).mean()
    assert np.abs(first - second).mean() < 0.2 * spread


@pytest.mark.parametrize("kind", [LINEAR, KERNEL, AUTO])
def test_other_learners_are_saved_without_pickle(spark, songs, kind, tmp_path):
    recipe = replace(GENRE, kind=kind, columns=replace(GENRE.columns, texts=("title",)))
    rows = ready(rich(songs), recipe)
    model = fit(rows.filter("song_id < 180"), recipe=recipe)
    test = rows.filter("song_id >= 180")
    scored = training.scored(test, model=model, recipe=recipe)
    assert accuracy(scored) > 0.9
    path = f"file://{tmp_path}/a model"
    model.save(path)
    read = load_pipeline(spark, path)
    assert by_song(training.scored(test, model=read, recipe=recipe)) == by_song(scored)
    assert sum(read.stages[0].weights.values()) == pytest.approx(1)


@pytest.mark.parametrize("base", [GENRE, FAME], ids=["genre", "fame"])
def test_final_model_uses_all_rows_and_is_evaluated_out_of_sample(songs, base, way):
    recipe = replace(base, columns=replace(base.columns, texts=("title",)))
    rows = ready(rich(songs), recipe)
    is_held_out = F.pmod(F.xxhash64("song_id"), F.lit(4)) == 0
    done = training.train(rows, recipe=recipe, n_folds=3, is_held_out=is_held_out)
    asked = rows.filter(is_held_out)
    ids = {row.song_id for row in asked.collect()}
    assert {row.song_id for row in done.held_out.collect()} == ids
    assert done.folds.count() == N_SONGS - len(ids)
    assert done.folds.columns == done.held_out.columns
    predictions = training.scored(asked, model=done.model, recipe=recipe)
    for row, again in zip(by_song(done.held_out), by_song(predictions), strict=True):
        np.testing.assert_allclose(np.hstack(row), np.hstack(again), rtol=1e-5)
    assert done.on_all_rows == (way == ONE_TASK)
    output = "probabilities" if recipe.classes else "prediction"
    served = {r.song_id: r[output] for r in done.model.transform(asked).collect()}
    judged = {r.song_id: r[output] for r in predictions.collect()}
    assert (served != judged) == done.on_all_rows
    if way == ONE_TASK:
        assert {row.song_id for row in done.without_texts.collect()} == ids


def test_tables_too_large_for_one_task_have_no_kernels(songs, by_cluster):
    rows = ready(songs, GENRE)
    with pytest.raises(ModelError, match=r"kernel \(--model\) takes at most 0 rows"):
        fit(rows, recipe=replace(GENRE, kind=KERNEL))


def test_folds_of_a_table_too_large_for_one_task_are_fitted_by_the_cluster(songs, monkeypatch):
    rows = ready(songs, GENRE)
    is_held_out = F.pmod(F.xxhash64("song_id"), F.lit(4)) == 0
    n_training = rows.filter(~is_held_out).count()
    monkeypatch.setattr(stage, "MAX_ROWS", n_training - 1)  # a fold would fit
    monkeypatch.setattr(training.one_task, "train", None)
    done = training.train(rows, recipe=GENRE, n_folds=2, is_held_out=is_held_out)
    assert done.folds.count() == n_training
    with pytest.raises(ModelError, match="takes at most"):
        training.train(rows, recipe=replace(GENRE, kind=KERNEL), n_folds=2, is_held_out=is_held_out)


@pytest.mark.parametrize(("is_held_out", "n_artists"), [("false", 9), ("`the tempo` > 0.5", 1)])
def test_too_few_rows_or_groups_are_refused(songs, is_held_out, n_artists):
    recipe = replace(GENRE, columns=replace(GENRE.columns, group="artist"))
    artist = F.concat(F.lit("a"), F.pmod("song_id", F.lit(n_artists)))
    rows = ready(songs.withColumn("artist", artist), recipe)
    with pytest.raises(ModelError, match=r"too few distinct values of artist \(--group\)"):
        training.train(rows, recipe=recipe, n_folds=3, is_held_out=F.expr(is_held_out))


def test_numbers_too_large_for_learners_count_as_missing(songs):
    large = F.when(F.col("song_id") % 50 == 1, F.lit(1e39)).otherwise(F.col("x"))
    rows = ready(songs.withColumn("x", large), GENRE)
    model = fit(rows.filter("song_id < 180"), recipe=replace(GENRE, kind=AUTO))
    test = rows.filter("song_id >= 180")
    assert accuracy(training.scored(test, model=model, recipe=GENRE)) > 0.8
    huge = songs.withColumn("fame", F.when(F.col("song_id") % 50 == 1, F.lit(1e39)))
    assert ready(huge, FAME).count() == 0
