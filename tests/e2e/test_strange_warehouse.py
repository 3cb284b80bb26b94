"""Every command on a warehouse whose path has characters special to globs, URIs and shells."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sonic_lib.cli.main import main
from sonic_lib.schemas import SONGS
from sonic_lib.storage import tables
from tests.e2e.conftest import RATE_HZ
from tests.e2e.test_models import write_table

NAME = "w [1] {a,b} *? 100%20 #x &;$HOME 'é' 夜明け"


@pytest.fixture
def sonic(spark, tmp_path, capsys):
    """Run a command on the warehouse; it must succeed."""

    def run(*words: object) -> dict:
        lake = str(tmp_path / NAME / "lake")
        code = main([*map(str, words), "--warehouse", lake, "--json"])
        captured = capsys.readouterr()
        assert code == 0, (words, captured)
        return json.loads(captured.out.splitlines()[-1])

    return run


def test_every_command_works_on_it(spark, sonic, collection, tmp_path):
    lake = str(tmp_path / NAME / "lake")
    sonic("index", collection.folder)
    assert tables.read(spark, lake, SONGS).count() == len(collection.samples)
    first, *_ = collection.samples
    clip = tmp_path / NAME / "clip.wav"
    samples = np.asarray(collection.samples[first])
    soundfile.write(clip, samples[2 * RATE_HZ : 9 * RATE_HZ], RATE_HZ)
    answers = tmp_path / NAME / "answers.csv"
    sonic("identify", clip, "--output", answers)
    assert Path(first).stem in answers.read_text(encoding="utf-8")
    sonic("songs", Path(first).stem)
    sonic("explain", clip, "--plot", tmp_path / NAME / "why.png")
    table = write_table(tmp_path / NAME / "songs [x].csv", n=120)
    sonic("features", "--csv", table, "--source", "given")
    train = ["--source", "given", "--model", "forest", "--folds", "2"]
    sonic("train", "genre", "--target", "style", *train)
    sonic("predict", "--source", "given", "--output", tmp_path / NAME / "predicted.csv")
    sonic("models")
    sonic("sql", "SELECT count(*) FROM sonic.songs")
    sonic("report", "--output", tmp_path / NAME / "report.html")
    sonic("remove", "--where", f"title = '{Path(first).stem}'")
    sonic("maintain", "--prefix-bits", 2, "--purge", "--retention-hours", 0, "--grace-hours", 0)
    sonic("maintain", "--check")
    assert tables.read(spark, lake, SONGS).count() == len(collection.samples) - 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [NAME]  # nothing else was written
