"""Calibration and comparison of models."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from pyspark.sql import functions as F

from sonic_lib.models import training
from sonic_lib.models.estimators import LINEAR
from sonic_lib.workflows import fitting
from sonic_lib.workflows.comparison import MAX_P, compare_models
from tests.spark.test_training import GENRE, fit, ready

N_SONGS = 300


@pytest.fixture
def songs(spark):
    """Genres differ in x, and a little in the tempo."""
    genre = F.element_at(F.array(*map(F.lit, GENRE.classes)), F.col("place") + 1)
    return (
        spark.range(N_SONGS)
        .withColumn("place", F.pmod("id", F.lit(3)).cast("int"))
        .select(
            F.col("id").alias("song_id"),
            (F.col("place") + 0.6 * F.randn(1)).alias("x"),
            (0.2 * F.col("place") + F.randn(2)).alias("the tempo"),
            genre.alias("genre"),
        )
        .persist()
    )


def test_more_songs_than_one_task_sorts_are_sampled(songs, monkeypatch):
    n_sorted = []
    thresholds = fitting.conformal.thresholds

    def counted(scores, **options):
        n_sorted.append(scores.count())
        return thresholds(scores, **options)

    monkeypatch.setattr(fitting.conformal, "thresholds", counted)
    thirds = F.array(*[F.lit(1 / 3)] * 3)
    scored = songs.select("song_id", F.lit(0).alias("label"), thirds.alias("probabilities"))
    for limit in (N_SONGS, N_SONGS // 3):
        monkeypatch.setattr(fitting.conformal, "MAX_CALIBRATION_ROWS", limit)
        fitting._calibrated(scored, recipe=GENRE, method="lac", mondrian=False)
    assert n_sorted[0] == N_SONGS
    assert n_sorted[1] == pytest.approx(N_SONGS / 3, rel=0.3)


def test_champion_that_lost_a_column_of_little_use_stays(spark, songs):
    recipe = replace(GENRE, kind=LINEAR)
    champion = fit(ready(songs, recipe), recipe=recipe)
    card = {"version": "v1", "kind": LINEAR, "seed": 1, "task": "classification"}
    card |= {"columns": recipe.columns.to_card(), "classes": recipe.classes}
    smaller = replace(recipe, columns=replace(recipe.columns, numbers=("x",)))
    rows = ready(songs.drop("the tempo"), smaller)
    challenger = fit(rows, recipe=smaller)
    p_value, reason = compare_models(
        champion,
        card,
        data=SimpleNamespace(name="genre", recipe=smaller, rows=rows, held_out_rows=rows),
        trained=SimpleNamespace(held_out=training.scored(rows, model=challenger, recipe=smaller)),
        known=spark.createDataFrame([], "song_id long"),
    )
    assert f"v1 without the tempo on the same {N_SONGS} held-out songs" in reason
    assert p_value > MAX_P
