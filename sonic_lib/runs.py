"""The table `runs`: what every job did, also the ones that failed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone

from pyspark.sql import SparkSession

import sonic_lib
from sonic_lib import tables
from sonic_lib.config import Config
from sonic_lib.schemas import RUNS


@dataclass
class Run:
    """A job run under way."""

    run_id: str
    started_at: datetime
    counts: dict[str, float] = field(default_factory=dict)


@contextmanager
def recorded(spark: SparkSession, warehouse: str, *, job: str, config: Config) -> Iterator[Run]:
    """Write a row before the work and complete it afterwards.

    Yields
    ------
    Run
        Put what was counted into its `counts`.
    """
    now = datetime.now(timezone.utc)
    run = Run(f"{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}", now)
    _write(spark, warehouse, run, job, config, "running")
    try:
        yield run
    except BaseException:
        _write(spark, warehouse, run, job, config, "failed")
        raise
    _write(spark, warehouse, run, job, config, "done")


def _write(
    spark: SparkSession, warehouse: str, run: Run, job: str, config: Config, status: str
) -> None:
    row = {
        "run_id": run.run_id,
        "job": job,
        "status": status,
        "started_at": run.started_at,
        "ended_at": None if status == "running" else datetime.now(timezone.utc),
        "counts": {name: float(n) for name, n in run.counts.items()},
        "config": config.model_dump_json(),
        "code_version": sonic_lib.__version__,
    }
    rows = spark.createDataFrame([tuple(row[n] for n in RUNS.schema.names)], RUNS.schema)
    if status == "running":
        tables.append(rows, warehouse, RUNS)
    else:
        tables.upsert(rows, warehouse, RUNS, key="run_id")
