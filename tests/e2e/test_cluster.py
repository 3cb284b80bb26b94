"""Both jobs on a standalone cluster of two workers, against the same index made locally."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest

from tests.e2e.conftest import contents

SPARK_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"
DEPLOY = "org.apache.spark.deploy"


def _start(folder: Path, name: str, *command: str) -> tuple[subprocess.Popen, Path]:
    log = folder / f"{name}.log"
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    environment.pop("SPARK_CONF_DIR", None)
    with log.open("w") as file:
        process = subprocess.Popen(
            [SPARK_CLASS, *command], stdout=file, stderr=file, env=environment, cwd=folder
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


def test_cluster_gives_the_same_as_local(cluster, collection, indexed, submit, spark, tmp_path):
    warehouse = str(tmp_path / "lake")
    done = submit("index_songs.py", collection.folder, "--warehouse", warehouse, master=cluster)
    assert done.returncode == 0, done.stderr
    assert contents(spark, warehouse) == contents(spark, indexed[0])

    songs = collection.folder / "copies"
    rows = []
    for place, master in ((indexed[0], "local[2]"), (warehouse, cluster)):
        output = tmp_path / "matches.csv"
        done = submit(
            *["identify_clips.py", songs, "--warehouse", place, "--output", output],
            master=master,
        )
        assert done.returncode == 0, done.stderr
        with output.open(newline="", encoding="utf-8") as file:
            rows.append(list(csv.DictReader(file)))
    assert rows[0] == rows[1]
    assert rows[0][0]["accepted"] == "true"
