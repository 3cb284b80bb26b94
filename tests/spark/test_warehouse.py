"""The Python API: the examples in its docstrings run as shown, in order."""

from __future__ import annotations

import doctest
import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

import sonic_lib
from sonic_lib import warehouse
from sonic_lib.errors import ConfigError, TableError, UsageError
from sonic_lib.synth.collection import demo_songs, write_song

RATE_HZ = 22_050


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """Three songs in ~/Music, clips of one of them and of another, and a feature table."""
    *songs, unheard = (replace(song, duration_s=15.0) for song in demo_songs(4, seed=5))
    heard = [write_song(song, tmp_path / "Music") for song in songs]
    (tmp_path / "clips").mkdir()
    write = lambda name, x: soundfile.write(tmp_path / "clips" / name, x, RATE_HZ)  # noqa: E731
    write("verse.wav", heard[0][4 * RATE_HZ : 10 * RATE_HZ])
    write("unheard.wav", write_song(unheard, tmp_path / "elsewhere")[: 6 * RATE_HZ])
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.normal(size=(40, 2)), columns=["loudness", "tempo"])
    table.insert(0, "id", [f"song {i}" for i in range(40)])
    table["genre"] = np.where(table["tempo"] > 0, "fast", "slow")
    table.to_csv(tmp_path / "songs.csv", index=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def public_methods() -> list:
    """Methods of `Warehouse`, in the order of its bases and their source."""
    return [
        member
        for base in (*warehouse.Warehouse.__bases__, warehouse.Warehouse)
        for name, member in vars(base).items()
        if inspect.isfunction(member) and not name.startswith("_")
    ]


def test_examples(spark, home):
    lake = sonic_lib.open_warehouse("lake")
    globs = {"sonic_lib": sonic_lib, "open_warehouse": sonic_lib.open_warehouse, "lake": lake}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for shown in (sonic_lib.open_warehouse, *public_methods()):
        for test in doctest.DocTestFinder().find(shown, shown.__name__, globs=globs):
            result = runner.run(test)
            assert result.failed == 0, test.name


def test_every_method_has_an_example():
    methods = public_methods()
    assert len(methods) > 20
    assert [method.__name__ for method in methods if "Examples" not in (method.__doc__ or "")] == []


def test_both_engines_give_the_same_answers(spark, home):
    lake = sonic_lib.open_warehouse("lake")
    lake.index("Music")
    answers = [
        lake.identify("clips", engine=engine, record=False).to_pandas()
        for engine in ("local", "spark")
    ]
    pd.testing.assert_frame_equal(*answers, check_dtype=False, check_exact=False, rtol=1e-6)
    assert lake.sql("SELECT * FROM sonic.matches").count() == 0


def test_nothing_is_created_before_it_is_needed(home):
    lake = sonic_lib.open_warehouse("~/lake")
    assert lake.path == str(home / "lake")
    assert not (home / "lake").exists()
    with pytest.raises(TableError, match="sonic index"):
        lake.identify("clips", engine="local")
    with pytest.raises(UsageError, match="auto, local, spark"):
        lake.identify("clips", engine="sparks")
    with pytest.raises(ConfigError, match="no_such"):
        sonic_lib.open_warehouse("lake", settings={"index.no_such": 1})
