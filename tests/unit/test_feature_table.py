"""Decisions on a feature table from its counts, and calls that the command refuses."""

from __future__ import annotations

import argparse

import pytest

from sonic_lib.cli.commands import features
from sonic_lib.errors import SetupError, UsageError
from sonic_lib.features.csv_import import choose_id, choose_kinds


@pytest.mark.parametrize(
    ("n_numbers", "n_filled", "n_dates", "kind"),
    [
        (100, 100, 0, "number"),
        (95, 100, 0, "number"),
        (94, 100, 0, "text"),
        (0, 0, 0, "text"),
        (0, 100, 0, "text"),
        (1, 1, 0, "number"),
        (100, 100, 100, "text"),  # years
        (100, 100, 9, "number"),  # seconds since 1970, in a column named date
    ],
)
def test_column_is_numeric_if_almost_all_its_cells_are(n_numbers, n_filled, n_dates, kind):
    counts = {"n_filled": n_filled, "n_numbers": n_numbers, "n_dates": n_dates}
    assert choose_kinds(["name"], {"name": counts}) == {"name": kind}


def test_key_is_a_column_with_unique_values():
    columns = ["name", "track_id", "id"]
    unique, repeated = {"n_rows": 3, "n_distinct": 3}, {"n_rows": 3, "n_distinct": 2}
    counts = {"name": {"n_rows": 3, "n_distinct": 0}, "track_id": unique, "id": unique}
    assert choose_id(columns, counts, given=None) == "id"
    assert choose_id(columns, counts | {"id": repeated}, given=None) == "track_id"
    assert choose_id(["name"], counts, given=None) is None
    assert choose_id(columns, counts | {"id": repeated}, given="id") == "id"
    with pytest.raises(UsageError, match=r"'nr'.*name, track_id, id"):
        choose_id(columns, counts, given="nr")


def arguments(*argv: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    features.add_arguments(parser)
    return parser.parse_args([str(a) for a in argv])


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "songs 2.csv"
    path.write_text("a,b\n1,2\n")
    return path


def test_good_calls_pass(csv, tmp_path):
    (tmp_path / "a song.wav").touch()
    features.check(arguments(tmp_path))
    features.check(arguments("--csv", csv))
    features.check(arguments("--csv", "s3a://bucket/table.csv", "--source", "Größe_1.b-c"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "either folders"),
        (["FOLDER", "--csv", "CSV"], "either folders"),
        (["FOLDER", "--id", "x"], "--id are options for --csv"),
        (["FOLDER", "--source", "x"], "--id are options for --csv"),
        (["--csv", "no such.csv"], "does not exist"),
        (["--csv", "CSV", "--source", "audio"], "'audio'"),
        (["--csv", "CSV", "--source", "it's"], '"it\'s"'),
        (["--csv", "CSV", "--source", "a/b"], "'a/b'"),
    ],
)
def test_bad_calls_are_refused_before_spark_starts(options, message, csv, tmp_path):
    given = {"FOLDER": tmp_path, "CSV": csv}
    with pytest.raises(UsageError, match=message):
        features.check(arguments(*(given.get(option, option) for option in options)))


def test_keys_are_named_as_on_import(csv):
    csv.write_text("Source,a.b,tempo\nx,y,2\n")
    for name in ("Source_given", "a_b"):
        features.check(arguments("--csv", csv, "--id", name))
    with pytest.raises(UsageError, match=r"'Source' \(--id\): .* Source_given, a_b, tempo"):
        features.check(arguments("--csv", csv, "--id", "Source"))


def test_audio_without_librosa_is_refused(monkeypatch, tmp_path, csv):
    monkeypatch.setattr(features.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"-m pip install '?librosa.*scikit-learn"):
        features.check(arguments(tmp_path))
    features.check(arguments("--csv", csv))
