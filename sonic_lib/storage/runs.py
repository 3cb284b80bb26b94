"""The table `runs`: what every job did, also the ones that failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pyspark.sql import SparkSession

from sonic_lib.config import Config
from sonic_lib.schemas import RUNS
from sonic_lib.storage import tables
from sonic_lib.storage.run_rows import Run, new_run, run_row

__all__ = ["Run", "recorded"]


@contextmanager
def recorded(spark: SparkSession, warehouse: str, *, job: str, config: Config) -> Iterator[Run]:
    """Write a row before the work and complete it afterwards.

    Yields
    ------
    Run
        Put what was counted into its `counts`.
    """
    run = new_run()
    _write(spark, warehouse, run, job, config, "running")
    try:
        yield run
    except BaseException:
        with suppress(Exception):  # on a full disk this fails, too, and would hide the reason
            _write(spark, warehouse, run, job, config, "failed")
        raise
    _write(spark, warehouse, run, job, config, "done")


def _write(
    spark: SparkSession, warehouse: str, run: Run, job: str, config: Config, status: str
) -> None:
    row = run_row(run, job=job, config=config, status=status)
    rows = spark.createDataFrame([tuple(row[n] for n in RUNS.schema.names)], RUNS.schema)
    if status == "running":
        tables.append(rows, warehouse, RUNS)
    else:
        tables.upsert(rows, warehouse, RUNS, key="run_id")
