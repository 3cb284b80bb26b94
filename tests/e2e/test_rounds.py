"""Random faults: kill -9, lost workers, concurrent jobs; nothing is lost, duplicated or stuck.

A round is identified by its number, which is its seed. `make test-faults LONG=1` runs 100 kills, 20
lost workers and 30 rounds of concurrent jobs; every test run includes a few of each. pytest prints
their number, seeds and results at the end (tests/rounds.py).
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
from tests.rounds import record_round

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
        It is killed within this time after it starts working.
    state : callable
        Of a session and a warehouse: what must be equal in the end.
    """

    words: list[str]
    lake: str
    longest_s: float
    state: Callable[[SparkSession, str], object]


def start(words: list[str], lake: str) -> subprocess.Popen:
    """Start a command in its own process group."""
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
    """The final state of each job that is not killed, computed once."""
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
def test_next_run_finishes_a_killed_job(seed, cases, undisturbed, spark, tmp_path, record_property):
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
        record_round(record_property, f"kill -9 of {name}", seed, was_at_work=job.poll() is None)
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
def test_job_survives_the_loss_of_a_worker(
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
    record_round(record_property, "loss of a worker", seed, was_at_work=was_at_work)
    os.killpg(workers[seed % 2].pid, signal.SIGKILL)  # with its executor
    _, output = job.communicate()
    assert job.returncode == 0, output
    assert was_at_work or IS_LONG
    assert contents(spark, lake) == contents(spark, indexed[0])


# ---- jobs at once ----


@pytest.mark.parametrize("seed", range(N_AT_ONCE))
def test_concurrent_index_and_maintain_jobs(
    seed, new_tables, collection, indexed, spark, tmp_path, record_property
):
    record_round(record_property, "two index jobs and a maintain at once", seed)
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
            _, output = job.communicate()
            assert job.returncode == 0, output
    assert_songs_are_whole(spark, lake)
    assert contents(spark, lake) == contents(spark, indexed[0])
    # Songs added by both jobs are in files of a MERGE, in the order it processed them.
    assert main(["maintain", "--grace-hours", "0", "--warehouse", lake]) == 0
    assert main(["maintain", "--check", "--grace-hours", "0", "--warehouse", lake]) == 0
    assert contents(spark, lake) == contents(spark, indexed[0])
