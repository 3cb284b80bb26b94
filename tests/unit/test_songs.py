"""`sonic songs` on tables of another version, without Spark."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from pathlib import Path

import pandas as pd
import pytest

from sonic_lib.cli.commands import explain, songs
from sonic_lib.cli.main import main
from sonic_lib.config import Config
from sonic_lib.matching.evidence import Explanation

LAKE = Path(__file__).parents[1] / "data" / "layout2"


@pytest.fixture(autouse=True)
def _no_spark(monkeypatch) -> None:
    monkeypatch.setattr("sonic_lib.spark.session.spark_job", lambda **_: pytest.fail("Spark"))


@pytest.fixture
def lake(tmp_path) -> str:
    return shutil.copytree(LAKE, tmp_path / "my lake").as_posix()


def test_songs_are_listed_by_path_title_artist_and_length(lake, capsys):
    assert main(["songs", "--warehouse", lake]) == 0
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["path", "title", "artist", "length"]
    assert len(lines) == 3
    assert lines[1].endswith("0:08.00")
    assert "Blue Ferry" in lines[1]
    assert lines[-1].startswith("2 songs in ")


def test_words_match_path_title_and_artist_ignoring_case(lake, capsys):
    for words, title in ((["HARBOUR", "ferry"], "Blue Ferry"), (["pixel"], "Quiet Parade")):
        assert main(["songs", *words, "--warehouse", lake, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert [song["title"] for song in told["songs"]] == [title]
    assert main(["songs", "%", "--warehouse", lake]) == 0
    assert capsys.readouterr().out.startswith("0 songs with '%' in ")


def test_output_file_has_all_songs_with_their_ids(lake, tmp_path, capsys):
    assert main(["songs", "--warehouse", lake, "--output", str(tmp_path / "s.csv")]) == 0
    table = pd.read_csv(tmp_path / "s.csv")
    assert table["song_id"].tolist() == [4663867565074184621, 228028564014034969]
    assert table.columns[0] == "path"


def test_warehouse_without_tables_is_named(tmp_path, capsys):
    assert main(["songs", "--warehouse", str(tmp_path / "none")]) == 1
    assert "sonic index" in capsys.readouterr().err


def test_long_paths_are_cut_on_the_left(capsys):
    path = f"/music/{'long/' * 20}one.mp3"
    songs._say(
        [{"path": path, "title": None, "artist": None, "duration_s": 1.0}],
        1,
        Namespace(words=[], output=None),
        "lake",
    )
    [line] = [line for line in capsys.readouterr().out.splitlines() if "one.mp3" in line]
    assert line.split()[0] == f"…{path[-59:]}"


def test_explanation_says_what_could_not_be_read(capsys):
    found = Explanation(None, pd.DataFrame(), pd.DataFrame(), "truncated: 3.0 s are missing")
    args = Namespace(clip="a.wav", plot=None)
    assert explain._print_explanation(found, Config(), args) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "Not all of the clip could be read: truncated: 3.0 s are missing"
    assert second == "a.wav: shares no hash with the index."
