"""What `predict --output` writes: gaps are filled, and what was there stands."""

from __future__ import annotations

import csv

from sonic_lib.cli.commands.predict import completed
from sonic_lib.cli.writers import write_output
from sonic_lib.schemas import FEATURES, PREDICTIONS


def test_true_labels_stand_and_gaps_are_filled(spark, tmp_path):
    rows = [
        ("a", {"tempo": 90.0, "popularity": 7.0}, {"Style": "bebop", "genre_set": "an old answer"}),
        ("b", {"tempo": 91.0}, {}),
    ]
    features = spark.createDataFrame(
        [("songs", i, key, numbers, texts, 0, "r", None) for i, (key, numbers, texts) in
         enumerate(rows)],
        FEATURES.schema,
    )  # fmt: skip

    def predicted(song_id: int, model: str, **values) -> dict:
        named = {"song_id": song_id, "source": "songs", "model": model, **values}
        return {name: named.get(name) for name in PREDICTIONS.schema.names}

    genre = {"genre": "funk", "genre_probability": 0.5, "genre_set": ["funk", "bebop"]}
    fame = {"popularity": 40.0, "popularity_low": 10.0, "popularity_high": 70.0}
    answers = [
        predicted(song, model, **values)
        for song in (0, 1)
        for model, values in (("genre", genre), ("popularity", fame))
    ]
    frame = spark.createDataFrame([tuple(row.values()) for row in answers], PREDICTIONS.schema)
    said = {"Style": ("genre", "v1"), "popularity": ("popularity", "v1")}
    write_output(completed(features, frame, said), str(tmp_path / "completed.csv"))
    with open(tmp_path / "completed.csv", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["Style"], first["popularity"]) == ("bebop", "7")
    assert (second["Style"], second["popularity"]) == ("funk", "40")
    told = {
        "genre_predicted": "funk",
        "genre_probability": "0.5",
        "genre_set": "funk; bebop",
        "popularity_predicted": "40",
        "popularity_low": "10",
        "popularity_high": "70",
    }
    for row in (first, second):
        assert {name: row[name] for name in told} == told
    assert list(first)[:2] == ["source_key", "tempo"]


def test_a_table_without_the_target_gains_it(spark):
    features = spark.createDataFrame(
        [("songs", 1, "a", {"tempo": 90.0}, {}, 0, "r", None)], FEATURES.schema
    )
    values = {"song_id": 1, "source": "songs", "model": "genre", "genre": "funk"}
    row = tuple(values.get(name) for name in PREDICTIONS.schema.names)
    frame = spark.createDataFrame([row], PREDICTIONS.schema)
    [found] = completed(features, frame, {"genre": ("genre", "v1")}).collect()
    assert (found.genre, found.genre_predicted, found.tempo) == ("funk", "funk", 90.0)
