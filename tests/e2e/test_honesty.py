"""A table with target leakage, duplicate tracks and missing values: warnings and predictions."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from sonic_lib.cli.main import main
from sonic_lib.models.membership import ALL_ROWS
from sonic_lib.models.registry import open_registry
from sonic_lib.schemas import FEATURES, PREDICTIONS
from sonic_lib.storage import tables

N = 400
STYLES = ("bebop", "dub", "polka")
HEADER = ["track_name", "beat", "label", "flavour", "style", "fame", "artist", "heard"]
QUICK = ("--model", "forest", "--folds", "2", "--seed", "3")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Every fourth song has a remastered duplicate; a fifth of the songs have no style."""
    rng = np.random.default_rng(11)
    rows = []
    for i in range(N):
        style = int(rng.integers(0, 3))
        name, artist = f"Song {i}", f"artist {rng.integers(0, 90)}"
        beat = f"{90 + 20 * style + rng.normal(0, 15):.8f}"
        given_style = STYLES[style] if i % 5 else ""
        fame = int(np.clip(rng.normal(25, 25) + 5 * style, 0, 100)) if i else 97
        row = [
            name,
            beat,
            f"L{i % 7}",
            f"{STYLES[style]} {i % 4}",
            given_style,
            fame,
            artist,
            "True",
        ]
        rows.append(row)
        if i % 4 == 0:
            rows.append([f"{name} - Remastered 2011", *row[1:]])
    path = tmp_path_factory.mktemp("honest") / "songs.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADER, *rows])
    return path


def test_session_on_a_misleading_table(spark, table, tmp_path, capsys):
    here = ["--warehouse", str(tmp_path / "lake")]
    registry = open_registry(spark, here[1])

    def call(*words) -> str:
        assert main([*map(str, words), *here]) == 0
        return capsys.readouterr().out

    said = call("train", "genre", "--csv", table, "--target", "style", *QUICK)
    assert "flavour alone predicts style: 100.0% of it" in said
    assert "use it with --keep flavour" in said
    assert "of the held-out songs have their track in training; on the other" in said
    assert "have their artist in training" in said
    assert "(--group) keeps the songs of an artist" in said
    (card,) = registry.versions("genre")
    assert card["columns"]["dropped"]["flavour"] == "alone predicts style"
    assert card["metrics"]["f1_micro"] < 0.95
    assert [double["what"] for double in card["doubles"]] == ["track", "artist"]

    call("train", "popularity", "--source", "songs", "--target", "fame", "--drop", "style", *QUICK)
    (fame,) = registry.versions("popularity")
    assert fame["conformal"]["limits"] == [0.0, 100.0]

    output = tmp_path / "out.csv"
    said = call("predict", "--output", output, "--probabilities")
    assert "(in_training)" in said
    with table.open(encoding="utf-8") as one, output.open(encoding="utf-8") as other:
        given, found = list(csv.reader(one)), list(csv.reader(other))
    width, place = len(given[0]), given[0].index("style")
    assert found[0][:width] == given[0]
    assert found[0][width : width + 4] == [
        *("genre_predicted", "genre_probability", "genre_set", "genre_in_training")
    ]
    assert found[0][-3:] == [f"genre_probability_{style}" for style in STYLES]
    assert len(found) == len(given)
    for before, after in zip(given[1:], found[1:], strict=True):
        assert after[:place] == before[:place]
        assert after[place + 1 : width] == before[place + 1 :]
        assert after[place] == (before[place] or after[width])
    rows = tables.read(spark, here[1], PREDICTIONS)
    lowest, highest = rows.selectExpr("min(popularity_low)", "max(popularity_high)").first()
    assert lowest >= 0
    assert highest <= 100
    n_known = rows.filter("model = 'genre' AND in_training").count()
    n_labelled = sum(bool(row[place]) for row in given[1:])
    assert card["fitted_on"] == ALL_ROWS
    assert n_known == n_labelled

    call("retrain", "genre")
    again = registry.versions("genre")[1]
    for key in ("kind", "seed", "n_folds", "metrics", "columns"):
        assert again[key] == card[key]

    kept = call("train", "genre", "--source", "songs", "--target", "style", *QUICK, "--keep",
                "flavour", "--group", "artist")  # fmt: skip
    assert "Kept as you asked" in kept
    assert "have their artist in training" not in kept


def test_table_of_labels_only_is_accepted(spark, tmp_path):
    (tmp_path / "labels.csv").write_text("path,style\na/1.mp3,dub\na/2.mp3,bebop\n")
    words = ["--csv", str(tmp_path / "labels.csv"), "--id", "path"]
    lake = str(tmp_path / "lake")
    assert main(["features", *words, "--warehouse", lake]) == 0
    rows = tables.read(spark, lake, FEATURES).collect()
    assert {row.source_key: row.texts for row in rows} == {
        "a/1.mp3": {"style": "dub"},
        "a/2.mp3": {"style": "bebop"},
    }


def test_doubled_rows_and_changed_columns_are_noted_without_names_of_songs(spark, tmp_path, capsys):
    rng = np.random.default_rng(3)
    once = [
        [f"{x:.6f}", f"{y:.6f}", str(x + y > 0) if i % 6 else ""]
        for i, (x, y) in enumerate(rng.normal(size=(90, 2)))
    ]
    tables_of = {
        "old": [*once, *once],
        "new": [[f'"{x}"'.replace(".", ","), y] for x, y, _ in once],
    }
    for name, rows in tables_of.items():
        lines = [["x", "y", "liked"][: len(rows[0])], *rows]
        (tmp_path / f"{name}.csv").write_text("\n".join(map(",".join, lines)) + "\n")

    def call(*words) -> str:
        assert main([*map(str, words), "--warehouse", str(tmp_path / "lake")]) == 0
        return capsys.readouterr().out

    said = call("train", "genre", "--csv", tmp_path / "old.csv", "--target", "liked", *QUICK)
    assert "of the held-out songs have an equal row in training; on the other" in said
    output = tmp_path / "out.csv"
    call("predict", "--source", "old", "--output", output)
    with output.open(encoding="utf-8") as file:
        assert {row["liked"] for row in csv.DictReader(file)} == {"True", "False"}
    call("features", "--csv", tmp_path / "new.csv")
    said = call("predict", "--source", "new")
    assert "predicts without x, of texts in new and numbers in training" in said
