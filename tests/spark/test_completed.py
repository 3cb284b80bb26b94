"""`predict --output` fills gaps and keeps existing values."""

from __future__ import annotations

import csv

from sonic_lib.cli.writers import write_output
from sonic_lib.features import csv_import, csv_reading
from sonic_lib.schemas import FEATURES, PREDICTIONS
from sonic_lib.workflows.completed_table import completed, header_of, kinds_of


def test_existing_labels_are_kept_and_gaps_filled(spark, tmp_path):
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
    models = {"Style": "genre", "popularity": "popularity"}
    write_output(
        completed(features, frame, models, kinds=kinds_of(features)),
        str(tmp_path / "completed.csv"),
    )
    with open(tmp_path / "completed.csv", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["Style"], first["popularity"]) == ("bebop", "7")
    assert (second["Style"], second["popularity"]) == ("funk", "40")
    predicted_cells = {
        "genre_predicted": "funk",
        "genre_probability": "0.5",
        "genre_set": "funk; bebop",
        "popularity_predicted": "40",
        "popularity_low": "10",
        "popularity_high": "70",
    }
    for row in (first, second):
        assert {name: row[name] for name in predicted_cells} == predicted_cells
    assert list(first)[:2] == ["source_key", "tempo"]


def test_table_without_the_target_gains_it(spark):
    features = spark.createDataFrame(
        [("songs", 1, "a", {"tempo": 90.0}, {}, 0, "r", None)], FEATURES.schema
    )
    values = {"song_id": 1, "source": "songs", "model": "genre", "genre": "funk"}
    row = tuple(values.get(name) for name in PREDICTIONS.schema.names)
    frame = spark.createDataFrame([row], PREDICTIONS.schema)
    [found] = completed(features, frame, {"genre": "genre"}, kinds=kinds_of(features)).collect()
    assert (found.genre, found.genre_predicted, found.tempo) == ("funk", "funk", 90.0)


TABLE = """nr,b.eat,explicit,style,genre_set,,date,Mood
7,0.35008812,True,bebop,old,0,1979,0.0
3,1234567.5,False,,older,1,1980-01,1.54e-05
5,,False,"fu,nk",oldest,2,,0.10
"""


def test_imported_table_is_returned_unchanged(spark, tmp_path):
    """Order, names, digits and existing labels are kept; new columns are at the end."""
    (tmp_path / "in.csv").write_text(TABLE)
    rows = csv_reading.read_rows(spark, str(tmp_path / "in.csv")).persist()
    columns = csv_reading.named_columns(rows)
    found = rows.transform(csv_import.count_cells, columns=columns).collect()
    counts = {row.name: row.asDict() for row in found}
    kinds = csv_import.choose_kinds(columns, counts)
    judged = rows.transform(csv_import.check_rows, kinds=kinds, id_column="nr").persist()
    usable = judged.transform(csv_import.usable_rows, source="s", kinds=kinds, id_column="nr")
    cells = judged.transform(csv_import.cell_rows, source="s")
    answers = [
        {
            **{"song_id": row.song_id, "source": "s", "model": "genre", "genre": "dub"},
            **{"genre_probability": 2 / 3, "genre_set": ["dub", "bebop"], "in_training": True},
            "genre_probabilities": {"dub": 2 / 3, "bebop": 1 / 3},
        }
        for row in usable.collect()
    ]
    predicted = spark.createDataFrame(
        [tuple(row.get(name) for name in PREDICTIONS.schema.names) for row in answers],
        PREDICTIONS.schema,
    )
    found = completed(
        usable,
        predicted,
        {"style": "genre"},
        kinds=kinds_of(usable),
        cells=cells.repartition(3),
        header=header_of(cells),
        as_texts=True,
        classes=["bebop", "dub"],
    )
    write_output(found, str(tmp_path / "out.csv"), all_digits=True)
    with open(tmp_path / "out.csv", encoding="utf-8") as file:
        given, *lines = csv.reader(file)
    new = ["genre_predicted", "genre_probability", "genre_set", "genre_in_training"]
    new += ["genre_probability_bebop", "genre_probability_dub"]
    assert given == ["nr", "b.eat", "explicit", "style", "", "date", "Mood", *new]
    predicted_cells = ["dub", "0.666667", "dub; bebop", "true", "0.333333", "0.666667"]
    assert lines == [
        ["7", "0.35008812", "True", "bebop", "0", "1979", "0.0", *predicted_cells],
        ["3", "1234567.5", "False", "dub", "1", "1980-01", "1.54e-05", *predicted_cells],
        ["5", "", "False", "fu,nk", "2", "", "0.10", *predicted_cells],
    ]
    typed = completed(
        usable,
        predicted,
        {"style": "genre"},
        kinds=kinds_of(usable),
        cells=cells,
        header=header_of(cells),
    ).collect()
    assert [row["b.eat"] for row in typed] == [0.35008812, 1234567.5, None]
    assert [row["nr"] for row in typed] == ["7", "3", "5"]
    assert [row["style"] for row in typed] == ["bebop", "dub", "fu,nk"]
