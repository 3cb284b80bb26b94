"""Two of three kinds of users, as scripts of their commands; the third is in test_cluster.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import soundfile

from notebooks.made_up import spotify_like
from tests.e2e.conftest import RATE_HZ, ROOT, submit_environment
from tests.e2e.test_models import STYLES, write_table

USERS = ROOT / "tests" / "users"


@pytest.fixture
def type_in(tmp_path):
    """Run a script with `sonic` on PATH and nothing else of the checkout."""

    def run(script: str, *arguments: Path) -> Path:
        binaries, here = tmp_path / "bin", tmp_path / "here"
        binaries.mkdir()
        here.mkdir()
        sonic = binaries / "sonic"
        sonic.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sonic_lib.cli.main "$@"\n')
        sonic.chmod(0o755)
        environment = submit_environment() | {
            # After ours, the programs of this environment: jupyter.
            "PATH": os.pathsep.join(
                [str(binaries), str(Path(sys.executable).parent), os.environ["PATH"]]
            ),
            "PYTHONPATH": str(ROOT),
        }
        del environment["SPARK_CONF_DIR"]
        done = subprocess.run(
            ["bash", USERS / script, *arguments],
            env=environment,
            cwd=here,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return here

    return run


def test_music_person_with_a_messy_folder(type_in, collection, tmp_path):
    name, samples = next(iter(collection.samples.items()))
    snippets = tmp_path / "my snippets"
    snippets.mkdir()
    soundfile.write(snippets / "known.wav", samples[4 * RATE_HZ : 12 * RATE_HZ], RATE_HZ)
    soundfile.write(snippets / "unheard.wav", collection.unheard[: 8 * RATE_HZ], RATE_HZ)
    (snippets / "shopping list.mp3").write_text("milk, bread")
    here = type_in("music_person.sh", collection.folder, snippets)

    answers = pd.read_csv(here / "answers.csv").set_index("clip")
    assert answers.loc["known.wav", "song"] == name
    assert answers.loc["known.wav", "offset_s"] == pytest.approx(4, abs=0.1)
    assert answers["accepted"].to_dict() == {
        "known.wav": True,
        "unheard.wav": False,
        "shopping list.mp3": False,
    }
    rejected = pd.read_csv(here / "rejected.csv")
    assert {Path(path).name for path in rejected["path"]} == {
        Path(path).name for path in collection.rejected
    }
    assert (here / "why.png").read_bytes().startswith(b"\x89PNG")
    assert "known.wav" in (here / "report.html").read_text(encoding="utf-8")


def test_data_scientist_with_a_custom_table(type_in, tmp_path):
    table = write_table(tmp_path / "songs of ours.csv", n=420)
    new = write_table(tmp_path / "new.csv", n=60, with_targets=False, seed=2)
    tables = tmp_path / "tables"
    tables.mkdir()
    songs = spotify_like(1000, seed=2)
    songs.drop(columns="artist_name").to_csv(tables / "spotify_train.csv", index=False)
    songs.drop(columns="genre").to_csv(tables / "spotify_subset.csv", index=False)
    here = type_in("data_scientist.sh", table, new, tables, ROOT / "notebooks")

    completed = pd.read_csv(here / "completed.csv")
    assert len(completed) == 60
    assert set(completed["style"]) <= set(STYLES)
    (version,) = json.loads((here / "models.json").read_text())["genre"]["versions"]
    assert version["metrics"]["f1_micro"] > 0.6
    assert (here / "genre" / "confusion.png").stat().st_size > 0
    cells = nbformat.read(here / "Part1_Spotify_ML.ipynb", as_version=4).cells
    outputs = [out for cell in cells for out in cell.get("outputs", ())]
    assert all(cell.execution_count for cell in cells if cell.cell_type == "code")
    assert any("spotify_train: 1000 rows" in out.get("text", "") for out in outputs)
