"""Runs that die at each of their commits, one after the other: the next run resumes.

Processes that are killed are tested in test_kill.py and test_rounds.py.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sonic_lib.cli.main import main
from sonic_lib.index import commit
from sonic_lib.schemas import RUNS, SONGS
from sonic_lib.storage import tables, writes
from tests.e2e.conftest import assert_songs_are_whole, contents

INTERRUPTED = 130


@pytest.fixture
def lake(new_tables, tmp_path) -> str:
    """A warehouse of empty tables."""
    return shutil.copytree(new_tables, tmp_path / "lake").as_posix()


@pytest.fixture
def die(monkeypatch):
    """Make the next call of a function die, before or after its work."""

    def prepare(module, name: str, when: str) -> None:
        whole = getattr(module, name)

        def dying(*arguments, **options):
            if when == "after":
                whole(*arguments, **options)
            raise KeyboardInterrupt

        monkeypatch.setattr(module, name, dying)

    return prepare


def index(folder: Path, lake: str) -> int:
    return main(["index", str(folder), "--warehouse", lake])


def test_index_resumes_after_dying_at_each_commit(
    spark, collection, lake, new_tables, tmp_path, die, monkeypatch
):
    music = tmp_path / "music"
    music.mkdir()
    for path in list(collection.samples)[:2]:
        shutil.copy(collection.folder / path, music)
    (music / "letter.mp3").write_text("no sound " * 500)
    # The state of the run and the number of songs after each death: each run gets further.
    for moment, (module, name, when), n_songs in (
        ("staged", (commit, "stage", "after"), 0),
        ("fingerprints written", (writes, "insert", "before"), 0),
        ("songs written", (writes, "insert", "after"), 2),
        ("no file written", (commit, "record_files", "before"), 2),
    ):
        die(module, name, when)
        assert index(music, lake) == INTERRUPTED, moment
        monkeypatch.undo()
        assert_songs_are_whole(spark, lake)
        assert tables.read(spark, lake, SONGS).count() == n_songs, moment
    assert index(music, lake) == 0

    undisturbed = shutil.copytree(new_tables, tmp_path / "undisturbed").as_posix()
    assert index(music, undisturbed) == 0
    assert contents(spark, lake) == contents(spark, undisturbed)
    statuses = tables.read(spark, lake, RUNS).groupBy("status").count().collect()
    assert {row.status: row["count"] for row in statuses} == {"failed": 4, "done": 1}
