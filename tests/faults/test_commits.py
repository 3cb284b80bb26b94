"""A commit to a local warehouse is never replaced by another writer's commit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from sonic_lib.schemas import RUNS
from sonic_lib.storage import creation, tables
from sonic_lib.workflows.statements import run_statement
from tests.faults.writers import write_by_spark

pytest.importorskip("deltalake")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def lake(spark, tmp_path) -> str:
    """A warehouse to which runs can be written."""
    warehouse = str(tmp_path / "lake")
    creation._create(spark, warehouse, RUNS, {})
    return warehouse


def start(engine: str, warehouse: str, *run_ids: str, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.faults.writers", engine, warehouse, *run_ids]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_succeeded(writer: subprocess.Popen) -> None:
    _, output = writer.communicate(timeout=300)
    assert writer.returncode == 0, output


def stored(spark, warehouse: str) -> dict[str, int]:
    """How often each run is stored; Spark and delta-rs must agree."""
    from deltalake import DeltaTable

    found = [row.run_id for row in tables.read(spark, warehouse, RUNS).select("run_id").collect()]
    others = DeltaTable(f"{warehouse}/runs").to_pyarrow_table(columns=["run_id"])
    assert sorted(found) == sorted(others["run_id"].to_pylist())
    return Counter(found)


@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD holds a rename on Linux only")
def test_commit_delayed_before_its_rename_replaces_nothing(spark, lake, tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler, which makes what holds a rename")
    library, held = tmp_path / "hold.so", tmp_path / "held"
    source = Path(__file__).with_name("hold.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    held.mkdir()
    hold = {"HOLD": "runs/_delta_log", "HOLD_DIR": str(held), "LD_PRELOAD": str(library)}
    slow = start("spark", lake, "slow", **hold)
    while not (held / "waiting").exists():
        assert slow.poll() is None, slow.communicate()
        time.sleep(0.05)
    by_delta_rs = start("delta-rs", lake, "delta-rs")
    statement = f"INSERT INTO delta.`{lake}/runs` (run_id) VALUES ('sql')"
    in_process = [
        threading.Thread(target=write_by_spark, args=(spark, lake, ["spark"])),
        threading.Thread(target=run_statement, args=(spark, lake, statement)),
    ]
    for thread in in_process:
        thread.start()
    time.sleep(3.0)  # long enough for all, if nothing blocked them
    assert stored(spark, lake) == {}  # readers are not blocked
    (held / "go").touch()
    for writer in (slow, by_delta_rs):
        assert_succeeded(writer)
    for thread in in_process:
        thread.join()
    assert stored(spark, lake) == dict.fromkeys(("slow", "delta-rs", "spark", "sql"), 1)


def test_concurrent_writers_lose_and_duplicate_nothing(spark, lake, is_long):
    n_rounds, n_commits = (200, 3) if is_long else (1, 4)
    expected: Counter[str] = Counter()
    for number in range(n_rounds):
        writers = range(2 + (number + 1) % 3)
        names = [[f"{number}-{writer}-{i}" for i in range(n_commits)] for writer in writers]
        others = [start("delta-rs", lake, *run_ids) for run_ids in names[1:]]
        write_by_spark(spark, lake, names[0])
        for writer in others:
            assert_succeeded(writer)
        expected.update(run_id for run_ids in names for run_id in run_ids)
    assert stored(spark, lake) == expected
