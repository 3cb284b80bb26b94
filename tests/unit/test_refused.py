"""Calls that cannot work are refused before Spark starts, in one paragraph."""

from __future__ import annotations

import shlex
from contextlib import contextmanager

import pytest

from sonic_lib.cli import main as cli


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "covers", "lake", "lake/songs/_delta_log"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    (tmp_path / "covers" / "a.jpg").touch()
    (tmp_path / "song.wav").write_bytes(b"RIFF")
    for name in ("all.html", "why.png"):
        (tmp_path / name).mkdir()
    (tmp_path / "table.csv").write_text("track.id,genre\n1,x\n")
    (tmp_path / "nothing.csv").touch()
    (tmp_path / "latin.sql").write_bytes("SELECT 'é'".encode("latin-1"))
    (tmp_path / "picture.csv").write_bytes(bytes(range(256)))
    return tmp_path


@pytest.fixture
def started(monkeypatch) -> list[str]:
    """The commands that reached Spark."""
    names = []

    @contextmanager
    def start(**options):
        names.append(options["app_name"])
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("sonic_lib.spark.session.spark_job", start)
    return names


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("index empty", 2, "no audio file in 'empty'; expected a folder with songs"),
        ("index empty covers", 2, "1 .jpg"),
        ("index nowhere", 2, "'nowhere' does not exist"),
        ("report --output all.html", 2, "'all.html' is a folder; expected the name of a file"),
        ("explain song.wav --plot why.png", 2, "'why.png' is a folder"),
        ("features covers", 2, "no audio file in 'covers'"),
        ("features --csv nothing.csv", 2, "is empty"),
        ("features --csv picture.csv", 2, "is not text"),
        ("features --csv empty", 2, "an empty folder"),
        ("features --csv table.csv --id song", 2, "no such column; there are track_id"),
        ("train genre --csv nothing.csv", 2, "is empty"),
        ("maintain --restore-to yesterday", 2, "expected a date"),
        ("maintain --restore-to 18:00", 2, "expected a date"),
        ("duplicates --warehouse nowhere", 1, "There is no table songs in"),
        ("remove 12 --warehouse empty", 1, "`sonic index FOLDER`"),
        ("evaluate --warehouse empty", 1, "There is no table songs in"),
        ("predict --warehouse lake", 1, "`sonic features FOLDER`"),
        ("recommend x --warehouse lake", 1, "There is no table features in"),
        ("playlist x --warehouse lake", 1, "There is no table features in"),
        ("explore --warehouse lake", 1, "There is no table features in"),
        ("train genre --warehouse lake", 1, "There is no table features in"),
        ("retrain --warehouse lake", 1, "There is no table features in"),
        ("models --warehouse empty", 1, "There is no table features in"),
        ("maintain --check --warehouse nowhere", 1, "There is no table songs in"),
        ("report --warehouse nowhere", 1, "There is no table songs in"),
        ("register --warehouse nowhere", 1, "There is no table songs in"),
        ("evaluate --warehouse lake --output song.wav", 2, "'song.wav' is a file"),
        ("explore --warehouse lake --report song.wav/plots", 2, "'song.wav' is a file"),
        ("train genre --warehouse lake --report song.wav", 2, "'song.wav' is a file"),
        ("demo --folder song.wav", 2, "'song.wav' is a file"),
        ("index empty --watch ²", 2, "expected 'once', or seconds such as 60"),
        ("sql ;", 2, "There is no SQL statement"),
        ("sql --file latin.sql", 2, "expected SQL in UTF-8"),
    ],
)
def test_impossible_calls_are_refused_before_spark_starts(started, capsys, words, code, told):
    assert cli.main(shlex.split(words)) == code
    said = capsys.readouterr().err
    assert started == []
    assert said.startswith("sonic: ")
    assert told in said


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "words",
    [
        *("index song.wav", "index covers --prune", "index empty --watch once", "index s3a://m/s"),
        *("features --csv table.csv --id track_id", "duplicates --warehouse lake"),
        "maintain --warehouse lake --restore-to '2026-01-31 18:00:00'",
        "maintain --warehouse lake --restore-to 2026-01-31",
        "maintain --warehouse lake --restore-to 2026-01-31T18:00:00Z",
        "duplicates --warehouse s3a://lake/sonic",
    ],
)
def test_possible_calls_are_not_refused(started, words):
    cli.main(shlex.split(words))
    assert started == [f"sonic {words.split()[0]}"]
