"""Faults at random: kill -9, lost workers, jobs at once; nothing lost, nothing twice, no dead job.

A round is told by its number, which is its seed. `make test-faults LONG=1` runs 100 kills, 20
losses and 30 rounds of jobs at once; a few of each are in every run of the tests. How many there
were, of which seeds, stands at the end of what pytest says (tests/rounds.py).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from pyspark.sql import SparkSession

from sonic_lib.cli.main import main
from sonic_lib.models.registry import open_registry
from tests.e2e.conftest import (
    ROOT,
    assert_songs_are_whole,
    contents,
    readers,
    submit_environment,
)
from tests.e2e.test_cluster import DEPLOY, start_daemon, wait_for
from tests.e2e.test_models import write_table
from tests.rounds import tell

IS_LONG = os.environ.get("SONIC_LONG_TESTS", "") not in ("", "0")
N_KILLS, N_LOSSES, N_AT_ONCE = (100, 20, 30) if IS_LONG else (2, 1, 1)


class Case(NamedTuple):
    """A job that is killed.

    Attributes
    ----------
    words : list of str
        Its command, without the warehouse.
    lake : str
        The warehouse that it starts from.
    longest_s : float
        It is killed within so many seconds after it began to work.
    state : callable
        What must be the same in the end, of a session and a warehouse.
    """

    words: list[str]
    lake: str
    longest_s: float
    state: Callable[[SparkSession, str], object]


def start(words: list[str], lake: str) -> subprocess.Popen:
    """Start a command as a process group of its own."""
    environment = submit_environment()
    del environment["SPARK_CONF_DIR"]
    return subprocess.Popen(
        [sys.executable, "-m", "sonic_lib.cli.main", *words, "--warehouse", lake],
        env=environment,
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def n_commits(lake: str, table: str) -> int:
    return len(list(Path(lake, table, "_delta_log").glob("*.json")))


def champion(spark: SparkSession, lake: str) -> dict[str, float]:
    return open_registry(spark, lake).load("genre")[1]["metrics"]


@pytest.fixture(scope="module")
def cases(collection, indexed, new_tables, tmp_path_factory) -> dict[str, Case]:
    folder = tmp_path_factory.mktemp("models")
    table = write_table(folder / "songs.csv", n=200)
    described = str(folder / "lake")
    assert main(["features", "--csv", str(table), "--warehouse", described]) == 0
    first, second, *_ = (Path(name).stem for name in collection.samples)
    songs = str(collection.folder)
    prefix = ["--prefix-bits", "2", "--grace-hours", "0"]
    train = ["train", "genre", "--target", "style", "--model", "forest", "--folds", "2"]
    return {
        "remove": Case(
            ["remove", "--where", f"title IN ('{first}', '{second}')"], indexed[0], 6, contents
        ),
        "maintain": Case(["maintain", *prefix], indexed[0], 15, contents),
        "train": Case(train, described, 20, champion),
        "index": Case(["index", songs], new_tables, 10, contents),
        "watch": Case(["index", songs, "--watch", "once"], new_tables, 12, contents),
    }


@pytest.fixture(scope="module")
def undisturbed(cases, tmp_path_factory, _spark_session) -> Callable[[str], object]:
    """What a job leaves that nobody kills, once for each."""
    known: dict[str, object] = {}

    def of(name: str) -> object:
        if name not in known:
            case = cases[name]
            lake = str(tmp_path_factory.mktemp("undisturbed") / "lake")
            shutil.copytree(case.lake, lake)
            assert main([*case.words, "--warehouse", lake]) == 0
            known[name] = case.state(_spark_session, lake)
        return known[name]

    return of


@pytest.mark.parametrize("seed", range(N_KILLS))
def test_a_killed_job_is_done_by_the_next_run(
    seed, cases, undisturbed, spark, tmp_path, record_property
):
    name = list(cases)[seed % len(cases)]
    case = cases[name]
    lake = shutil.copytree(case.lake, tmp_path / "lake").as_posix()
    rng = np.random.default_rng(seed)
    n_before = n_commits(lake, "runs")
    job = start(case.words, lake)
    try:
        while job.poll() is None and n_commits(lake, "runs") == n_before:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, case.longest_s))  # on a fast machine it may have ended
        tell(record_property, f"kill -9 of {name}", seed, was_at_work=job.poll() is None)
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
    if case.state is contents:
        assert_songs_are_whole(spark, lake)
    for _ in range(2 if seed % 3 == 0 else 1):
        assert main([*case.words, "--warehouse", lake]) == 0
        assert case.state(spark, lake) == undisturbed(name)


# ---- lost workers ----


@pytest.fixture
def pair(tmp_path) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """The address of a standalone cluster, and its two workers."""
    address = ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0"]
    master, log = start_daemon(tmp_path, "master", f"{DEPLOY}.master.Master", *address)
    workers: list[subprocess.Popen] = []
    try:
        url = wait_for(r"spark://127\.0\.0\.1:\d+", log)
        for i in range(2):
            size = ["--cores", "1", "--memory", "1g", "--work-dir", str(tmp_path / f"w{i}")]
            words = [f"{DEPLOY}.worker.Worker", *address, *size, url]
            worker, log = start_daemon(tmp_path, f"worker{i}", *words)
            workers.append(worker)
            wait_for("Successfully registered", log)
        yield url, workers
    finally:
        for process in [*workers, master]:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.cluster
@pytest.mark.parametrize("seed", range(N_LOSSES))
def test_a_job_outlives_the_loss_of_a_worker(
    seed, pair, submit, new_tables, collection, indexed, spark, tmp_path, record_property
):
    master, workers = pair
    lake = shutil.copytree(new_tables, tmp_path / "lake").as_posix()
    rng = np.random.default_rng(seed)
    n_before = n_commits(lake, "runs")
    command = [*submit.command, "--master", master, str(ROOT / "jobs" / "index_songs.py")]
    job = subprocess.Popen(
        [*command, str(collection.folder), "--warehouse", lake],
        env=submit.environment,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while job.poll() is None and n_commits(lake, "runs") == n_before:
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 10))
    was_at_work = job.poll() is None
    tell(record_property, "loss of a worker", seed, was_at_work=was_at_work)
    os.killpg(workers[seed % 2].pid, signal.SIGKILL)  # with its executor
    _, said = job.communicate()
    assert job.returncode == 0, said
    assert was_at_work or IS_LONG
    assert contents(spark, lake) == contents(spark, indexed[0])


# ---- jobs at once ----


@pytest.mark.parametrize("seed", range(N_AT_ONCE))
def test_two_index_jobs_and_a_maintain_at_once(
    seed, new_tables, collection, indexed, spark, tmp_path, record_property
):
    tell(record_property, "two index jobs and a maintain at once", seed)
    lake = shutil.copytree(new_tables, tmp_path / "lake").as_posix()
    rng = np.random.default_rng(seed)
    jobs = []
    for words in (
        ["index", str(collection.folder)],
        ["index", str(collection.folder)],
        ["maintain"],
    ):
        jobs.append(start(words, lake))
        time.sleep(rng.uniform(0, 3))
    with readers(spark, lake):
        for job in jobs:
            _, said = job.communicate()
            assert job.returncode == 0, said
    assert_songs_are_whole(spark, lake)
    assert contents(spark, lake) == contents(spark, indexed[0])
    # Songs that both jobs brought stand in files of a MERGE, in the order in which it met them.
    assert main(["maintain", "--grace-hours", "0", "--warehouse", lake]) == 0
    assert main(["maintain", "--check", "--grace-hours", "0", "--warehouse", lake]) == 0
    assert contents(spark, lake) == contents(spark, indexed[0])
