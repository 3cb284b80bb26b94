"""A clock that jumps under jobs and between them: the next run leaves the tables of a good one.

The jobs' clock is libfaketime's, which Debian has as the package faketime; the storage's is
right. Files that a wrong clock dated are in tests/spark/test_maintain.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sonic_lib import tables
from sonic_lib.cli import main
from sonic_lib.schemas import RUNS
from tests.e2e.conftest import assert_songs_are_whole, contents, readers
from tests.e2e.test_rounds import n_commits, start
from tests.rounds import tell

IS_LONG = os.environ.get("SONIC_LONG_TESTS", "") not in ("", "0")
N_ROUNDS = 10 if IS_LONG else 1
DAYS = (-400, -2, -0.1, 0.1, 2, 400)
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@pytest.fixture
def clock(tmp_path, monkeypatch) -> Callable[[float], None]:
    """Set by how many days the clock of jobs that are started is wrong, also while they run."""
    if not LIBRARIES:
        pytest.skip("libfaketime is not installed (Debian and Ubuntu: the package faketime)")
    told = tmp_path / "clock"
    for name, value in {
        "LD_PRELOAD": LIBRARIES[0],
        "FAKETIME_TIMESTAMP_FILE": told,
        "FAKETIME_NO_CACHE": 1,
        "FAKETIME_DONT_FAKE_MONOTONIC": 1,
        "NO_FAKE_STAT": 1,
    }.items():
        monkeypatch.setenv(name, str(value))

    def jump(days: float) -> None:
        new = tmp_path / "new"
        new.write_text(f"{86_400 * days:+.0f}\n")
        new.replace(told)

    jump(0)
    return jump


def test_jobs_have_the_clock_that_is_set(clock):
    def now_s() -> float:
        return float(subprocess.run(["date", "+%s"], capture_output=True, check=True).stdout)

    right = now_s()
    clock(-400)
    assert now_s() - right == pytest.approx(-400 * 86_400, abs=600)


@pytest.mark.parametrize("seed", range(N_ROUNDS))
def test_jumps_under_jobs_at_once_and_between_them(
    seed, clock, new_tables, collection, indexed, spark, tmp_path, record_property
):
    lake = shutil.copytree(new_tables, tmp_path / "lake").as_posix()
    rng = np.random.default_rng(seed)
    days = [float(x) for x in rng.choice(DAYS, size=3, replace=False)]
    tell(record_property, "jumps of the clock", seed)
    n_before = n_commits(lake, "runs")
    clock(days[0])
    index = start(["index", str(collection.folder)], lake)
    while index.poll() is None and n_commits(lake, "runs") == n_before:
        time.sleep(0.01)
    clock(days[1])
    maintain = start(["maintain"], lake)
    time.sleep(rng.uniform(0, 10))
    clock(days[2])
    with readers(spark, lake):
        for job in (index, maintain):
            _, said = job.communicate()
            # By its clock the run that maintains may have seen a dead one, which then must say so.
            assert job.returncode == 0 or (job is index and "was swept" in said), said
    assert_songs_are_whole(spark, lake)
    assert main(["index", str(collection.folder), "--warehouse", lake]) == 0
    assert contents(spark, lake) == contents(spark, indexed[0])
    assert main(["maintain", "--grace-hours", "0", "--warehouse", lake]) == 0
    assert contents(spark, lake) == contents(spark, indexed[0])
    began = {row.started_at for row in tables.read(spark, lake, RUNS).collect()}
    assert (max(began) - min(began)).days >= 2 or max(map(abs, days[:2])) < 2
