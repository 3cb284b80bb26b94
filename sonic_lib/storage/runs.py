"""The table `runs`: what every job did, also the ones that failed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from sonic_lib.config import Config
from sonic_lib.schemas import RUNS
from sonic_lib.storage import tables
from sonic_lib.storage.run_rows import Run, new_run, run_row

__all__ = ["Run", "last_options", "recorded"]


@contextmanager
def recorded(
    spark: SparkSession, warehouse: str, *, job: str, config: Config, options: dict | None = None
) -> Iterator[Run]:
    """Write a row before the work and complete it afterwards.

    Parameters
    ----------
    options : dict, optional
        What the command was asked for, as JSON knows it: for whoever repeats it.

    Yields
    ------
    Run
        Put what was counted into its `counts`.
    """
    run = new_run()
    run.options = options
    _write(spark, warehouse, run, job, config, "running")
    try:
        yield run
    except BaseException:
        with suppress(Exception):  # on a full disk this fails, too, and would hide the reason
            _write(spark, warehouse, run, job, config, "failed")
        raise
    _write(spark, warehouse, run, job, config, "done")


def last_options(spark: SparkSession, warehouse: str, *, job: str, source: str | None) -> dict:
    """Give the options of the last run of a job that was done; empty if none is known.

    Parameters
    ----------
    source : str, optional
        Of the runs for this source; of any by default.
    """
    options = F.get_json_object("config", "$.options")
    asked = tables.read(spark, warehouse, RUNS).filter(
        (F.col("job") == job) & (F.col("status") == "done") & options.isNotNull()
    )
    if source is not None:
        asked = asked.filter(F.get_json_object("config", "$.options.source") == source)
    row = asked.orderBy(F.desc("started_at")).select(options.alias("options")).first()
    return json.loads(row.options) if row else {}


def _write(
    spark: SparkSession, warehouse: str, run: Run, job: str, config: Config, status: str
) -> None:
    row = run_row(run, job=job, config=config, status=status)
    rows = spark.createDataFrame([tuple(row[n] for n in RUNS.schema.names)], RUNS.schema)
    if status == "running":
        tables.append(rows, warehouse, RUNS)
    else:
        tables.upsert(rows, warehouse, RUNS, key="run_id")
