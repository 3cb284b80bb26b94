"""Clock jumps during and between jobs: the next run leaves the tables of an undisturbed one.

A library loaded before Python's and Java's own (jump.c) shifts the jobs' clock; the storage's clock
is right. Files with wrong dates are tested in tests/spark/test_maintain.py.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sonic_lib.cli.main import main
from tests.e2e.conftest import assert_songs_are_whole, contents, readers
from tests.e2e.test_rounds import n_commits, start
from tests.rounds import record_round

IS_LONG = os.environ.get("SONIC_LONG_TESTS", "") not in ("", "0")
N_ROUNDS = 10 if IS_LONG else 1
DAYS = (-400, -2, -0.1, 0.1, 2, 400)


@pytest.fixture
def clock(tmp_path, monkeypatch) -> Callable[[float], None]:
    """Set by how many days the clock of started jobs is wrong, also while they run."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler for the library that moves the clock")
    library, offset = tmp_path / "jump.so", tmp_path / "offset"
    source = Path(__file__).with_name("jump.c")
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"]
    subprocess.run(command, check=True)

    def jump(days: float) -> None:
        with open(offset, "r+b") as file:  # in place: processes have mapped the file
            file.write(struct.pack("l", round(86_400 * days)))

    offset.write_bytes(struct.pack("l", 0))
    monkeypatch.setenv("CLOCK_OFFSET_FILE", str(offset))
    monkeypatch.setenv("LD_PRELOAD", str(library))
    return jump


def test_jobs_use_the_shifted_clock(clock):
    clock(-400)
    command = [sys.executable, "-c", "import time; time.sleep(0.1); print(time.time())"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert float(output) - time.time() == pytest.approx(-400 * 86_400, abs=600)


def offsets_s(lake: str) -> list[float]:
    """How far the time in each commit differs from the storage's."""
    offsets = []
    for commit in Path(lake).glob("*/_delta_log/*.json"):
        (time_ms,) = re.findall(r'"commitInfo":{"timestamp":(\d+)', commit.read_text())
        offsets.append(int(time_ms) / 1000 - commit.stat().st_mtime)
    return offsets


@pytest.mark.parametrize("seed", range(N_ROUNDS))
def test_clock_jumps_during_and_between_concurrent_jobs(
    seed, clock, new_tables, collection, indexed, spark, tmp_path, record_property
):
    lake = shutil.copytree(new_tables, tmp_path / "lake").as_posix()
    rng = np.random.default_rng(seed)
    days = [float(x) for x in rng.choice(DAYS, size=3, replace=False)]
    record_round(record_property, "jumps of the clock", seed)
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
            # By its clock, maintain may have taken the run for dead; the run must then report it.
            assert job.returncode == 0 or (job is index and "was swept" in said), said
    assert_songs_are_whole(spark, lake)
    assert main(["index", str(collection.folder), "--warehouse", lake]) == 0
    assert contents(spark, lake) == contents(spark, indexed[0])
    assert main(["maintain", "--grace-hours", "0", "--warehouse", lake]) == 0
    assert contents(spark, lake) == contents(spark, indexed[0])
    assert max(map(abs, offsets_s(lake))) > 3600, "no commit was made by a wrong clock"
