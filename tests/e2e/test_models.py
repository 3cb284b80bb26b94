"""Train, predict, retrain and roll back on a table with custom column names and missing values."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from sonic_lib.cli.main import main
from sonic_lib.models.registry import ModelRegistry, open_registry
from sonic_lib.schemas import PREDICTIONS, RUNS
from sonic_lib.storage import tables

STYLES = ("bebop", "drum & bass", 'so-called "fusion"')
QUICK = ("--folds", "2")


def write_table(path: Path, *, n: int, with_targets: bool = True, seed: int = 1) -> Path:
    rng = np.random.default_rng(seed)
    style = rng.integers(0, len(STYLES), n)
    beat = 90 + 30 * style + rng.normal(0, 12, n)
    hot = np.clip(20 + 0.3 * beat + 8 * rng.normal(size=n), 0, 100).round()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        targets = ["style", "hotness"] if with_targets else []
        writer.writerow(["beat", "mood", "label_name", "out_date", "note", *targets])
        for i in range(n):
            target_values = [STYLES[style[i]], hot[i]] if with_targets else []
            writer.writerow(
                [
                    "" if i % 9 == 0 else f"{beat[i]:.3f}",
                    f"{rng.normal():.3f}",
                    f"label {rng.integers(0, 40)}",
                    f"{1990 + rng.integers(0, 30)}-{rng.integers(1, 13):02}",
                    f"a note on song {i}",
                    *target_values,
                ]
            )
    return path


def call(capsys, *words: object) -> tuple[int, str, str]:
    code = main([*map(str, words)])
    said = capsys.readouterr()
    return code, said.out, said.err


def cards(spark, warehouse: str, name: str = "genre") -> list[dict]:
    return open_registry(spark, warehouse).versions(name)


def train(run_job, folder: Path) -> tuple[str, str, Path]:
    """A warehouse with a champion trained by a job, the job's output, and its report."""
    table = write_table(folder / "my songs.csv", n=420)
    warehouse, report = str(folder / "ware house"), folder / "report"
    words = ["--csv", table, "--target", "style", "--drop", "hotness", "--report", report]
    done = run_job("train_genre.py", *words, *QUICK, "--warehouse", warehouse)
    assert done.returncode == 0, done.stderr
    return warehouse, done.stdout, report


@pytest.fixture(scope="module")
def trained(run_job, tmp_path_factory) -> tuple[str, str, Path]:
    return train(run_job, tmp_path_factory.mktemp("models"))


@pytest.fixture
def lake(trained, tmp_path) -> str:
    """A copy of it that a test may change."""
    return shutil.copytree(trained[0], tmp_path / "lake").as_posix()


def test_first_model_becomes_champion_with_its_metrics(spark, trained):
    warehouse, printed, report = trained
    (card,) = cards(spark, warehouse)
    assert open_registry(spark, warehouse).aliases("genre")["champion"] == card["version"]
    assert card["classes"] == sorted(STYLES)
    assert card["columns"]["target"] == "style"
    assert card["columns"]["dropped"]["hotness"] == "not wanted"
    assert set(card["columns"]["texts"]) == {"label_name", "note"}
    assert card["without_texts"]["n"] == card["metrics"]["n"]
    assert card["fitted_on"] == "all rows"
    # The styles overlap by slightly more than one deviation: at least two thirds are separable.
    assert 0.6 < card["metrics"]["f1_micro"] <= 1
    assert sum(n for _, _, n in card["confusion"]) == card["metrics"]["n"]
    assert {row["n"] for row in card["coverage"]} == {card["metrics"]["n"]}
    assert f"F1-micro {card['metrics']['f1_micro']:.3f}" in printed
    assert "95%" in printed
    for name in ("confusion", "genres", "importances", "set_sizes", "coverage"):
        assert (report / f"{name}.png").stat().st_size > 3000
    with open(report / "genres.csv", encoding="utf-8") as file:
        assert {row["label"] for row in csv.DictReader(file)} == set(STYLES)


def test_prediction_completes_a_table_and_is_repeatable(spark, lake, tmp_path, capsys):
    test = write_table(tmp_path / "test.csv", n=60, with_targets=False, seed=2)
    assert call(capsys, "features", "--csv", test, "--warehouse", lake)[0] == 0
    output = tmp_path / "submission.csv"
    rows = []
    for confidence in (0.9, 0.9):
        words = ["predict", "--source", "test", "--confidence", confidence, "--output", output]
        code, printed, _ = call(capsys, *words, "--warehouse", lake)
        assert code == 0
        stored = tables.read(spark, lake, PREDICTIONS).drop("run_id", "predicted_at")
        rows.append(sorted(map(tuple, stored.collect()), key=repr))
    assert rows[0] == rows[1]
    assert len(rows[0]) == 60
    (card,) = cards(spark, lake)
    assert card["version"] in printed
    for row in tables.read(spark, lake, PREDICTIONS).collect():
        assert row.model_version == card["version"]
        assert row.genre_set[0] == row.genre
        assert set(row.genre_set) <= set(STYLES)
        assert 1 / 3 <= row.genre_probability <= 1
    with open(output, encoding="utf-8") as file:
        completed = list(csv.DictReader(file))
    assert len(completed) == 60
    assert {row["style"] for row in completed} <= set(STYLES)
    assert {"beat", "mood", "label_name", "out_date", "note"} < set(completed[0])
    code, _, error = call(
        capsys, "predict", "--confidence", "0.123", "--source", "test", "--warehouse", lake
    )
    assert code == 1
    assert "was calibrated for 0.5, " in error


def test_retraining_on_the_same_snapshot_promotes_no_new_champion(spark, lake, capsys):
    code, printed, _ = call(capsys, "retrain", "genre", *QUICK, "--warehouse", lake)
    assert code == 0
    first, second = sorted(cards(spark, lake), key=lambda card: card["created_at"])
    assert second["metrics"] == first["metrics"]
    assert second["snapshot"] == first["snapshot"]
    assert second["conformal"] == first["conformal"]
    now = open_registry(spark, lake).aliases("genre")
    assert (now["champion"], now["challenger"]) == (first["version"], second["version"])
    assert "not better" in printed
    assert "McNemar's p 1" in printed
    runs = tables.read(spark, lake, RUNS).filter("job = 'retrain genre'").collect()
    assert [row.status for row in runs] == ["done"]
    assert runs[0].counts["promoted"] == 0
    assert runs[0].counts["f1_micro"] == first["metrics"]["f1_micro"]


def test_manual_promotion_and_rollback(spark, lake, capsys, monkeypatch):
    (first,) = cards(spark, lake)
    with monkeypatch.context() as patch:

        def die(*_, **__):
            raise KeyboardInterrupt

        patch.setattr(ModelRegistry, "challenge", die)
        assert call(capsys, "retrain", "genre", *QUICK, "--warehouse", lake)[0] == 130
    registry = open_registry(spark, lake)
    assert registry.aliases("genre")["champion"] == first["version"]
    (left,) = [card for card in cards(spark, lake) if card["version"] != first["version"]]
    promote = ["models", "--promote", "genre", left["version"]]
    assert call(capsys, *promote, "--warehouse", lake)[0] == 0
    assert registry.load("genre")[1]["version"] == left["version"]
    code, printed, _ = call(capsys, "models", "--rollback", "genre", "--warehouse", lake)
    assert code == 0
    assert f"{first['version']}  champion" in printed
    assert registry.load("genre")[1]["version"] == first["version"]


def test_numeric_target_has_boosted_trees_and_intervals(spark, lake, capsys):
    words = ["train", "popularity", "--target", "hotness", "--drop", "style", "--folds", "2"]
    code, printed, _ = call(capsys, *words, "--warehouse", lake)
    assert code == 0
    (card,) = cards(spark, lake, "popularity")
    assert card["metrics"]["r2"] > 0.2  # the beat explains 0.6; a ninth is missing
    assert "coverage" in printed
    assert call(capsys, "predict", "--model", "popularity", "--warehouse", lake)[0] == 0
    rows = tables.read(spark, lake, PREDICTIONS).filter("model = 'popularity'").collect()
    assert len(rows) == 420
    assert all(row.popularity_low < row.popularity < row.popularity_high for row in rows)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["train", "genre"],
            2,
            "the columns that hold texts are label_name, note, out_date, style",
        ),
        (["train", "popularity", "--target", "style"], 2, "beat, hotness, mood"),
        (["train", "genre", "--target", "style", "--group", "nothing"], 2, "no column nothing"),
        (["train", "genre", "--source", "other"], 2, "expected one of: my songs"),
        (["predict", "--model", "popularity"], 1, "sonic train popularity"),
        (["retrain", "tempo"], 2, "expected some of genre, popularity, recommendations"),
    ],
)
def test_wrong_arguments_are_reported(trained, capsys, words, code, message):
    found, _, error = call(capsys, *words, "--warehouse", trained[0])
    assert found == code
    assert message in error
