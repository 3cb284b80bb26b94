"""Both jobs on a standalone cluster of two workers, compared with an index made locally."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sonic_lib.cli.main import main
from tests.e2e.conftest import ROOT, SPARK_HOME, contents, submit_environment

DEPLOY = "org.apache.spark.deploy"


def start_daemon(folder: Path, name: str, *command: str) -> tuple[subprocess.Popen, Path]:
    """Start a Spark daemon in its own process group; return it and its log."""
    log = folder / f"{name}.log"
    environment = submit_environment()
    del environment["SPARK_CONF_DIR"]  # not ours: it silences their logs
    with log.open("w") as file:
        process = subprocess.Popen(
            [SPARK_HOME / "bin" / "spark-class", *command],
            stdout=file,
            stderr=file,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    return process, log


def wait_for(pattern: str, log: Path) -> str:
    for _ in range(3000):
        if found := re.search(pattern, log.read_text()):
            return found[0]
        time.sleep(0.1)
    raise TimeoutError(f"{pattern} did not appear in:\n{log.read_text()}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("cluster")
    address = ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0"]
    master, log = start_daemon(folder, "master", f"{DEPLOY}.master.Master", *address)
    processes = [master]
    try:
        url = wait_for(r"spark://127\.0\.0\.1:\d+", log)
        for i in range(2):
            worker, log = start_daemon(
                *[folder, f"worker{i}", f"{DEPLOY}.worker.Worker", *address],
                *["--cores", "1", "--memory", "1g", "--work-dir", str(folder / f"w{i}"), url],
            )
            processes.append(worker)
            wait_for("Successfully registered", log)
        yield url
    finally:
        for process in processes:
            process.terminate()
            process.wait()


@pytest.mark.cluster
def test_data_engineer_gets_the_same_results_from_a_cluster(
    cluster, collection, indexed, submit, spark, tmp_path
):
    """Run the script of a data engineer's commands."""
    warehouse, copies = str(tmp_path / "lake"), collection.folder / "copies"
    done = subprocess.run(
        [
            *["bash", ROOT / "tests" / "users" / "data_engineer.sh"],
            *[ROOT / "jobs", collection.folder, copies, warehouse, tmp_path],
        ],
        env=submit.environment | {"MASTER": cluster, "SUBMIT": shlex.join(submit.command)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert contents(spark, warehouse) == contents(spark, indexed[0])
    first, second = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("first", "second"))
    assert (first["songs"], first["rejected"]) == (
        len(collection.samples),
        len(collection.rejected),
    )
    assert (second["new"], second["changed"], second["songs"]) == (0, 0, 0)

    words = ["identify", str(copies), "--output", str(tmp_path / "local.csv")]
    assert main([*words, "--warehouse", indexed[0]]) == 0
    local, on_cluster = (_rows(tmp_path / name) for name in ("local.csv", "matches.csv"))
    assert on_cluster == local
    assert [row["accepted"] for row in local] == ["true"]
    (answer,) = json.loads((tmp_path / "answered.json").read_text(encoding="utf-8"))
    assert answer["title"] == local[0]["title"]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
