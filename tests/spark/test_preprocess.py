"""Preprocessing stages: by hand on small frames, and after saving and loading."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.functions import vector_to_array

from sonic_lib.features.spark import profile
from sonic_lib.models import preprocess
from sonic_lib.models.columns import Columns
from sonic_lib.models.encoding.target import TargetEncoder

PRIOR_WEIGHT = 3.0
PARTS = ("year", "month", "day", "weekday", "precision", "time")


def columns(**roles):
    empty = dict.fromkeys(("numbers", "categories", "encoded", "lists", "dates"), ())
    task = roles.pop("task", "classification")
    fixed = {"task": task, "target": "y", "group": None, "dropped": {}, "target_is_number": False}
    return Columns(**(empty | fixed | roles))


def by_song(frame, name):
    return {row.song_id: row[name] for row in frame.select("song_id", name).collect()}


# ---- profile, date_parts ----


def test_shapes_of_texts_are_counted(spark):
    rows = [("2015-06-23", "['a', 'b']"), ("1979", "[]"), (" 2001-03 ", "a"), ("23-6.2015", None)]
    features = spark.createDataFrame(
        [({"size": 7.0}, {"the date": date, "items": items}) for date, items in rows],
        "numbers map<string,double>, texts map<string,string>",
    )
    found = {row.name: tuple(row)[1:] for row in profile(features).collect()}
    assert found == {
        "size": ("number", 4, 1, 0, 0),
        "the date": ("text", 4, 4, 3, 0),
        "items": ("text", 3, 3, 0, 2),
    }


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("2015-06-23", (2015, 6, 23, 1, 3, 2015 + 5 / 12 + 22 / 372)),  # a Tuesday
        ("1979", (1979, None, None, None, 1, 1979)),
        (" 2001-03", (2001, 3, None, None, 2, 2001 + 2 / 12)),
        ("2015-06-23T10:00:00Z", (2015, 6, 23, 1, 3, 2015 + 5 / 12 + 22 / 372)),
        ("2015/6/23", (2015, 6, 23, 1, 3, 2015 + 5 / 12 + 22 / 372)),
        ("4/26/2024", (2024, None, None, None, 1, 2024)),
        ("26.04.2024 12:30", (2024, None, None, None, 1, 2024)),
        ("26.04-2024", (None,) * 6),
        ("1999/2000", (None,) * 6),
        ("2015-13-01", (2015, None, None, None, 1, 2015)),
        ("2015-02-30", (2015, 2, 30, None, 3, 2015 + 1 / 12 + 29 / 372)),
        ("0000", (0, None, None, None, 1, 0)),
        ("soon", (None,) * 6),
        (None, (None,) * 6),
    ],
)
def test_dates_have_only_the_parts_they_state(spark, text, parts):
    frame = spark.createDataFrame([(text,)], "released string")
    found = preprocess.date_parts("released")
    row = frame.select(*(values.alias(name) for name, values in found.items())).first()
    assert list(found) == [
        f"released_{p}" for p in ["year", "month", "day", "weekday", "precision", "time"]
    ]
    assert [None if v is None else pytest.approx(v) for v in row] == list(parts)


# ---- Preparation ----


def test_numbers_are_imputed_by_the_training_median(spark):
    schema = "song_id long, x double, kind string"
    known = [(1, 1.0, "a"), (2, 3.0, "b"), (3, None, None), (4, 100.0, "a"), (5, float("nan"), "b")]
    stage = preprocess.Preparation(columns(numbers=("x",), categories=("kind",)))
    model = stage.fit(spark.createDataFrame(known, schema))
    rows = [(1, None, "b"), (2, 7.0, "new"), (3, float("inf"), None)]
    found = by_song(model.transform(spark.createDataFrame(rows, schema)), "_prepared")
    assert found == {1: [3.0, 0.0, 1.0], 2: [7.0, 0.0, 0.0], 3: [3.0, 0.0, 0.0]}
    assert model.entry_names(()) == ["x", "kind = a", "kind = b"]


def test_entries_of_lists_are_counted(spark):
    texts = ["['bebop', 'swing', 'bebop']", "[]", None, "[a, b]"]
    frame = spark.createDataFrame(enumerate(texts), "song_id long, styles string")
    found = preprocess.finite_numbers((), (), (), ("styles",))
    assert list(found) == preprocess.number_names((), (), (), ("styles",)) == ["styles, entries"]
    counted = by_song(frame.withColumns(found), "styles, entries")
    assert counted == {0: 2.0, 1: 0.0, 2: 0.0, 3: 2.0}


# ---- TargetEncoder ----

CLASSES = [  # song_id, _fold, _label, artist, tags
    (1, 0, 0.0, "abba", "['pop', 'disco']"),
    (2, 1, 0.0, "abba", "['pop']"),
    (3, 2, 1.0, "abba", "[]"),
    (4, 0, 1.0, "queen", "['rock', 'rock']"),
    (5, 1, 1.0, None, None),
]
SCHEMA = "song_id long, _fold int, _label double, artist string, tags string"
SHARES = np.array([2 / 5, 3 / 5])


def drawn(*counts):
    return list((np.array(counts) + PRIOR_WEIGHT * SHARES) / (sum(counts) + PRIOR_WEIGHT))


def test_training_rows_are_encoded_from_the_other_folds_only(spark):
    frame = spark.createDataFrame(CLASSES, SCHEMA)
    model = TargetEncoder(["artist"], [], n_classes=2, output="encoding").fit(frame)
    found = by_song(model.transform(frame), "encoding")
    assert found[1] == pytest.approx([*drawn(1, 1), 2], rel=1e-6)  # songs 2 and 3
    assert found[3] == pytest.approx([*drawn(2, 0), 2], rel=1e-6)  # songs 1 and 2
    assert found[4] == pytest.approx([*drawn(0, 0), 0], rel=1e-6)  # its only song is itself
    assert found[5] == pytest.approx([*SHARES, 0], rel=1e-6)  # no artist
    assert model.entry_names(["p", "q"]) == ["artist: p", "artist: q", "artist: songs"]


def test_new_rows_are_encoded_from_all_folds(spark):
    frame = spark.createDataFrame(CLASSES, SCHEMA)
    model = TargetEncoder(["artist"], ["tags"], n_classes=2, output="encoding").fit(frame)
    rows = [(9, "abba", "['pop', 'rock', 'unheard']"), (10, "unheard", "[]")]
    new = spark.createDataFrame(rows, "song_id long, artist string, tags string")
    found = by_song(model.transform(new), "encoding")
    tags = (np.array(drawn(2, 0)) + np.array(drawn(0, 1))) / 2
    assert found[9] == pytest.approx([*drawn(2, 1), 3, *tags, 2], rel=1e-6)
    assert found[10] == pytest.approx([*SHARES, 0, *SHARES, 0], rel=1e-6)


def test_texts_may_add_only_their_numbers_of_songs(spark):
    frame = spark.createDataFrame(CLASSES, SCHEMA)
    whole, counted = (
        TargetEncoder(["artist"], ["tags"], n_classes=2, output="e", counts_only=counts_only)
        .fit(frame)
        .transform(frame)
        for counts_only in (False, True)
    )
    encodings = by_song(whole, "e")
    assert by_song(counted, "e") == {song: encodings[song][2:] for song in encodings}


def test_own_target_does_not_change_the_encoding(spark):
    def encodings(first, fourth):
        rows = [(1, 0, first, "abba", None), *CLASSES[1:3], (4, 0, fourth, "queen", None)]
        frame = spark.createDataFrame(rows, SCHEMA)
        model = TargetEncoder(["artist"], [], n_classes=2, output="encoding").fit(frame)
        return by_song(model.transform(frame), "encoding")

    before, after = encodings(0.0, 1.0), encodings(1.0, 0.0)  # same overall shares
    assert before[1] == after[1]
    assert before[2] != after[2]


def test_numeric_targets_are_encoded_by_means_and_lists_also_by_range(spark):
    rows = [(1, 0, 10.0, "a", "['x']"), (2, 1, 30.0, "a", "['x', 'y']"), (3, 2, 20.0, None, None)]
    frame = spark.createDataFrame(rows, SCHEMA)
    stage = TargetEncoder(["artist"], ["tags"], n_classes=0, output="encoding")
    model = stage.fit(frame)
    new = spark.createDataFrame(
        [(8, "a", "['x', 'y']"), (9, "b", "z")], "song_id long, artist string, tags string"
    )
    found = by_song(model.transform(new), "encoding")
    x, y = (40 + 3 * 20) / 5, (30 + 3 * 20) / 4
    assert found[8] == pytest.approx([20, 2, (x + y) / 2, min(x, y), max(x, y), 2])
    assert found[9] == pytest.approx([20, 0, 20, 20, 20, 0])
    assert by_song(model.transform(frame), "encoding")[1][:2] == pytest.approx(
        [(30 + 3 * 20) / 4, 1]
    )
    assert len(model.entry_names(())) == len(found[8])


# ---- the pipeline ----


@pytest.fixture
def songs(spark, rng):
    rows = []
    for song_id in range(120):
        label = int(rng.integers(0, 2))
        date = f"{1980 + label * 10 + rng.integers(0, 3)}-0{rng.integers(1, 9)}"
        rows.append((song_id, int(song_id % 5), float(label), date, "['t']", rng.normal() + label))
    return spark.createDataFrame(
        rows, "song_id long, _fold int, _label double, `release date` string, t string, x double"
    )


ROLES = columns(numbers=("x",), encoded=("release date",), lists=("t",), dates=("release date",))


def vectors(frame):
    rows = frame.select("song_id", vector_to_array("_features").alias("v")).orderBy("song_id")
    return np.array([row.v for row in rows.collect()])


def test_pipeline_gives_complete_vectors_also_after_saving(songs, tmp_path):
    model = preprocess.pipeline(ROLES, n_classes=2).fit(songs)
    names = preprocess.feature_names(model, classes=["p", "q"])
    found = vectors(model.transform(songs.drop("_fold")))
    assert found.shape == (120, len(names))
    assert np.isfinite(found).all()
    assert names[:3] == ["x", "release date_year", "release date_month"]
    assert names[-3:] == [f"release date, alike: {part}" for part in ("p", "q", "weight")]
    # No date occurs in both classes, so its encoding alone identifies the class.
    labels = np.array([row._label for row in songs.orderBy("song_id").collect()])
    assert np.corrcoef(found[:, names.index("release date, alike: q")], labels)[0, 1] > 0.6
    assert "release date: q" not in names
    assert "release date: songs" in names

    model.save(str(tmp_path / "a model"))
    read = PipelineModel.load(str(tmp_path / "a model"))
    np.testing.assert_array_equal(vectors(read.transform(songs.drop("_fold"))), found)
    assert [stage.uid for stage in read.stages] == [stage.uid for stage in model.stages]


def test_encoding_does_not_depend_on_order_or_partitions(songs):
    base = vectors(preprocess.pipeline(ROLES, n_classes=2).fit(songs).transform(songs))
    mixed = songs.repartition(5, "x")
    again = vectors(preprocess.pipeline(ROLES, n_classes=2).fit(mixed).transform(mixed))
    np.testing.assert_array_equal(base, again)


def test_pipeline_of_numbers_needs_nothing_else(songs):
    model = preprocess.pipeline(columns(numbers=("x",), task="regression"), n_classes=0).fit(songs)
    assert len(model.stages) == 2
    assert vectors(model.transform(songs)).shape == (120, 1)
