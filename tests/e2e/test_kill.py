"""kill -9 at critical moments: the next run leaves the tables of an undisturbed run.

Random moments, and jobs other than `index`, are tested in test_rounds.py.
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


# In a new warehouse each table has one commit, which created it.
MOMENTS: dict[str, Callable[[str], bool]] = {
    "decoding": lambda lake: any(Path(lake).glob("_staging/*/0/_temporary")),
    "staged": lambda lake: any(Path(lake).glob("_staging/*/0/_SUCCESS")),
    "fingerprints written": lambda lake: commits(lake, "fingerprints") > 1,
    "songs written": lambda lake: commits(lake, "songs") > 1,
    "files written": lambda lake: commits(lake, "song_files") > 1,
}


def kill_index(folder: Path, warehouse: str, *, when: Callable[[str], bool]) -> bool:
    """Start an index run, and kill all its processes at the given moment.

    Returns whether it was still running.
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
    """A warehouse of existing, empty tables, to save time."""
    return shutil.copytree(new_tables, tmp_path / "lake").as_posix()


@pytest.mark.parametrize("moment", MOMENTS if IS_LONG else ["staged", "songs written"])
def test_killed_run_resumes(moment, spark, collection, undisturbed, lake):
    assert kill_index(collection.folder, lake, when=MOMENTS[moment])
    index(collection.folder, lake)
    assert contents(spark, lake) == undisturbed


def test_run_killed_while_creating_tables_resumes(spark, collection, undisturbed, tmp_path):
    lake = str(tmp_path / "lake")
    assert kill_index(collection.folder, lake, when=lambda lake: Path(lake, "matches").exists())
    index(collection.folder, lake)
    assert contents(spark, lake) == undisturbed


def test_run_killed_while_replacing_a_song_resumes(spark, collection, tmp_path):
    first, second, other = (collection.folder / path for path in list(collection.samples)[:3])
    music, lake, fresh = tmp_path / "music", str(tmp_path / "lake"), str(tmp_path / "fresh")
    music.mkdir()
    shutil.copy(first, music / "stays.mp3")
    shutil.copy(second, music / "changes.mp3")
    index(music, lake)
    shutil.copy(other, music / "changes.mp3")
    # Commits of fingerprints: created, two songs, the new song, the old one deleted.
    assert kill_index(music, lake, when=lambda lake: commits(lake, "fingerprints") == 4)
    index(music, lake)
    index(music, fresh)
    assert contents(spark, lake) == contents(spark, fresh)


def test_song_that_disappeared_between_runs_is_complete_again(spark, collection, undisturbed, lake):
    """The dead run's fingerprints have no song; they must not reappear as duplicates."""
    assert kill_index(collection.folder, lake, when=MOMENTS["fingerprints written"])
    index(collection.folder / "bad", lake)  # a run that sees none of the songs
    index(collection.folder, lake)
    stored = contents(spark, lake)
    assert stored["fingerprints"] == undisturbed["fingerprints"]
    assert stored["songs"] == undisturbed["songs"]
