"""Fixtures for all tests: a shared Spark session, a seeded generator, an empty warehouse."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

from tests import rounds

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


# Time says nothing of a test: the first example compiles kernels, and machines are shared.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """Name the marks: `pytest -m "not cluster"` is for machines with few cores."""
    config.addinivalue_line("markers", "cluster: starts a standalone Spark cluster")
    config.addinivalue_line("markers", "long: left to `make test-long`; LONG has files of them")
    # The main module of a process of pytest-xdist has no file, by which pyspark.sql.connect takes
    # it for a doctest of its own, and exits where it lacks packages that we do not need.
    sys.modules["__main__"].__dict__.setdefault("__file__", __file__)


# Files of tests that take minutes, or what not every machine has: they are no part of `make test`.
LONG = {
    **dict.fromkeys(("test_kill.py", "test_rounds.py"), "jobs that are killed, again and again"),
    **dict.fromkeys(("test_disk_full.py", "test_clock.py"), "full disks, clocks that jump"),
    **dict.fromkeys(("test_cluster.py", "test_processes.py"), "clusters, jobs beside each other"),
    **dict.fromkeys(("test_start.py", "test_submit.py"), "Sparks of their own, one after another"),
    "test_file_order.py": "a Spark that has to spill",
    "test_s3.py": "an S3 server",
    "test_users.py": "three people's first day",
    **dict.fromkeys(("test_notebooks.py", "test_demo.py"), "notebooks and the tour"),
    "test_report_browser.py": "a browser",
    "test_package.py": "a wheel in an environment of its own",
    "test_watch.py": "streams that wait",
    "test_retrain.py": "models, trained time after time",
    "test_hostile_index.py": "decoders that hang until their time is over",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the long tests by their files."""
    for item in items:
        if item.path.name in LONG:
            item.add_marker(pytest.mark.long)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end which rounds of chance there were, and how they ended."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.getreports(kind)]
    lines = rounds.summary(reports)
    if lines:
        terminalreporter.section("rounds of faults")
        terminalreporter.write("\n".join([*lines, ""]))


@pytest.fixture(scope="session")
def _spark_session() -> Iterator[SparkSession]:
    """One session for the run: made on first use, so that unit tests never start a JVM."""
    from sonic_lib.spark.session import spark_job

    conf = {
        # Tiny frames: each shuffle partition is a task, each task costs more than its data.
        "spark.sql.shuffle.partitions": "2",
        # Adaptive plans re-plan every stage: time without a gain at this size.
        "spark.sql.adaptive.enabled": "false",
        # Nor does so little data earn back the code that is written and compiled for each plan;
        # what the tests run as processes of their own does compile.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.databricks.delta.snapshotPartitions": "1",
        # The first compiler only: a short run never earns back the second.
        # It gets 48 MB for what it made, which a session of many tests fills.
        "spark.driver.defaultJavaOptions": (
            "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC"
        ),
        # Enough for tests, and leaves room beside other runs.
        "spark.driver.memory": "2g",
    }
    with spark_job(app_name="tests", master="local[2]", conf=conf) as spark:
        yield spark


@pytest.fixture
def spark(_spark_session: SparkSession) -> Iterator[SparkSession]:
    """The shared session, whose catalog each test finds empty."""
    yield _spark_session
    _spark_session.catalog.clearCache()
    # By SQL: to list them by `catalog`, code has to be compiled.
    for view in _spark_session.sql("SHOW VIEWS").filter("isTemporary").collect():
        _spark_session.catalog.dropTempView(view.viewName)
    for (database,) in _spark_session.sql("SHOW DATABASES").collect():
        if database != "default":
            _spark_session.sql(f"DROP DATABASE `{database}` CASCADE")


@pytest.fixture
def warehouse(tmp_path: Path) -> str:
    """The root of a warehouse that does not exist yet, with a name that needs quoting."""
    return str(tmp_path / "ware house")


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(seed=440)
