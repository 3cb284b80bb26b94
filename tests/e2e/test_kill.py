"""kill -9 at the worst moments: the next run leaves the tables that an undisturbed one leaves.

Random moments, and other jobs than `index`, are in test_rounds.py.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sonic_lib.cli.main import main
from tests.e2e.conftest import ROOT, contents, submit_environment

IS_LONG = os.environ.get("SONIC_LONG_TESTS", "") not in ("", "0")


def commits(warehouse: str, table: str) -> int:
    return len(list(Path(warehouse, table, "_delta_log").glob("*.json")))


# A new warehouse has one commit in each table: the one that made it.
MOMENTS: dict[str, Callable[[str], bool]] = {
    "decoding": lambda lake: any(Path(lake).glob("_staging/*/0/_temporary")),
    "staged": lambda lake: any(Path(lake).glob("_staging/*/0/_SUCCESS")),
    "fingerprints written": lambda lake: commits(lake, "fingerprints") > 1,
    "songs written": lambda lake: commits(lake, "songs") > 1,
    "files written": lambda lake: commits(lake, "song_files") > 1,
}


def kill_index(folder: Path, warehouse: str, *, when: Callable[[str], bool]) -> bool:
    """Start an index run and kill it, with all its processes, when a moment has come.

    Returns whether it was still at work.
    """
    command = [
        sys.executable,
        "-m",
        "sonic_lib.cli.main",
        "index",
        folder,
        "--warehouse",
        warehouse,
    ]
    environment = submit_environment()
    del environment["SPARK_CONF_DIR"]
    job = subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while job.poll() is None and not when(warehouse):
            time.sleep(0.01)
        return job.poll() is None
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()


def index(folder: Path, warehouse: str) -> None:
    assert main(["index", str(folder), "--warehouse", warehouse]) == 0


@pytest.fixture(scope="module")
def undisturbed(indexed, _spark_session) -> dict[str, list[tuple]]:
    return contents(_spark_session, indexed[0])


@pytest.fixture
def lake(new_tables, tmp_path) -> str:
    """A warehouse whose tables are made already, which saves time."""
    return shutil.copytree(new_tables, tmp_path / "lake").as_posix()


@pytest.mark.parametrize("moment", MOMENTS if IS_LONG else ["staged", "songs written"])
def test_killed_run_goes_on_where_it_was(moment, spark, collection, undisturbed, lake):
    assert kill_index(collection.folder, lake, when=MOMENTS[moment])
    index(collection.folder, lake)
    assert contents(spark, lake) == undisturbed


def test_run_killed_while_it_makes_tables_goes_on(spark, collection, undisturbed, tmp_path):
    lake = str(tmp_path / "lake")
    assert kill_index(collection.folder, lake, when=lambda lake: Path(lake, "matches").exists())
    index(collection.folder, lake)
    assert contents(spark, lake) == undisturbed


def test_run_killed_while_it_replaces_a_song_goes_on(spark, collection, tmp_path):
    first, second, other = (collection.folder / path for path in list(collection.samples)[:3])
    music, lake, fresh = tmp_path / "music", str(tmp_path / "lake"), str(tmp_path / "fresh")
    music.mkdir()
    shutil.copy(first, music / "stays.mp3")
    shutil.copy(second, music / "changes.mp3")
    index(music, lake)
    shutil.copy(other, music / "changes.mp3")
    # Commits of fingerprints: made, two songs, the new song, the old one deleted.
    assert kill_index(music, lake, when=lambda lake: commits(lake, "fingerprints") == 4)
    index(music, lake)
    index(music, fresh)
    assert contents(spark, lake) == contents(spark, fresh)


def test_song_that_went_and_came_back_between_runs_is_whole(spark, collection, undisturbed, lake):
    """The dead run's fingerprints have no song; they must not be met again as duplicates."""
    assert kill_index(collection.folder, lake, when=MOMENTS["fingerprints written"])
    index(collection.folder / "bad", lake)  # a run that meets none of the songs
    index(collection.folder, lake)
    stored = contents(spark, lake)
    assert stored["fingerprints"] == undisturbed["fingerprints"]
    assert stored["songs"] == undisturbed["songs"]
