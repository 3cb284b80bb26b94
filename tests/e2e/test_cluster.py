"""Both jobs on a standalone cluster of two workers, against the same index made locally."""

from __future__ import annotations

import csv
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sonic_lib.cli import main
from tests.e2e.conftest import SPARK_HOME, contents, submit_environment

DEPLOY = "org.apache.spark.deploy"


def _start(folder: Path, name: str, *command: str) -> tuple[subprocess.Popen, Path]:
    log = folder / f"{name}.log"
    environment = submit_environment()
    del environment["SPARK_CONF_DIR"]  # the daemons' own: our log4j2 silences what is waited for
    with log.open("w") as file:
        process = subprocess.Popen(
            [SPARK_HOME / "bin" / "spark-class", *command],
            stdout=file,
            stderr=file,
            env=environment,
            cwd=folder,
        )
    return process, log


def _wait_for(pattern: str, log: Path) -> str:
    for _ in range(600):
        if found := re.search(pattern, log.read_text()):
            return found[0]
        time.sleep(0.1)
    raise TimeoutError(f"{pattern} did not appear in:\n{log.read_text()}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("cluster")
    address = ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0"]
    master, log = _start(folder, "master", f"{DEPLOY}.master.Master", *address)
    processes = [master]
    try:
        url = _wait_for(r"spark://127\.0\.0\.1:\d+", log)
        for i in range(2):
            worker, log = _start(
                *[folder, f"worker{i}", f"{DEPLOY}.worker.Worker", *address],
                *["--cores", "1", "--memory", "1g", "--work-dir", str(folder / f"w{i}"), url],
            )
            processes.append(worker)
            _wait_for("Successfully registered", log)
        yield url
    finally:
        for process in processes:
            process.terminate()
            process.wait()


@pytest.mark.cluster
def test_cluster_gives_the_same_as_local(cluster, collection, indexed, submit, spark, tmp_path):
    warehouse = str(tmp_path / "lake")
    done = submit("index_songs.py", collection.folder, "--warehouse", warehouse, master=cluster)
    assert done.returncode == 0, done.stderr
    assert contents(spark, warehouse) == contents(spark, indexed[0])

    clips = ["identify", str(collection.folder / "copies"), "--output"]
    assert main([*clips, str(tmp_path / "local.csv"), "--warehouse", indexed[0]]) == 0
    done = submit(
        *["identify_clips.py", *clips[1:], tmp_path / "cluster.csv", "--warehouse", warehouse],
        master=cluster,
    )
    assert done.returncode == 0, done.stderr
    local, on_cluster = (_rows(tmp_path / f"{name}.csv") for name in ("local", "cluster"))
    assert on_cluster == local
    assert [row["accepted"] for row in local] == ["true"]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
