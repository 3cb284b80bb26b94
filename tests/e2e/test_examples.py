"""The scripts of examples/ run as they are."""

from __future__ import annotations

import csv
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.long

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run(spark, new_tables, tmp_path, monkeypatch, capsys):
    """Run an example in a folder with empty tables, and return what it prints."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(new_tables, "sonic-warehouse")

    def run_it(name: str, *words: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run_it


def test_every_example_is_tested():
    tested = {"identify_folder.py", "read_tables.py", "own_features.py"}
    assert {path.name for path in EXAMPLES.iterdir() if path.suffix == ".py"} == tested


def test_clips_are_identified_and_tables_read(run, collection):
    (clips := Path("clips")).mkdir()
    for name in [*collection.samples, *list(collection.rejected)[:1]]:
        shutil.copy(collection.folder / name, clips)
    told = run("identify_folder.py", collection.folder, clips)
    assert f"{len(collection.samples)} new songs" in told
    assert told.count(", from 0.0 s") == len(collection.samples)
    told = run("read_tables.py", "sonic-warehouse")
    assert told.startswith(f"{len(collection.samples)} songs, ")
    assert told.count("rejected: ") == len(collection.rejected)
    assert "artist" in told


def test_genres_are_predicted_for_an_own_table(run, rng):
    rows = [["id", "beat", "warmth", "genre"]]
    for number in range(120):
        genre = ("calm", "wild")[number % 2]
        beat = rng.normal(4.0 * (number % 2))
        rows.append([number, f"{beat:.3f}", f"{rng.normal():.3f}", genre if number > 9 else ""])
    with open("songs.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    assert "right genre: " in run("own_features.py", "songs.csv", "completed.csv")
    with open("completed.csv", encoding="utf-8") as file:
        predicted = list(csv.DictReader(file))
    assert [int(row["id"]) for row in predicted] == list(range(120))
    is_right = [row["genre"] == ("calm", "wild")[int(row["id"]) % 2] for row in predicted]
    assert np.mean(is_right) > 0.95
    assert all(row["genre_predicted"] for row in predicted)
