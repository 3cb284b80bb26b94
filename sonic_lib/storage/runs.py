"""The table `runs`: what every job did, including failed ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.config import Config
from sonic_lib.errors import SonicError
from sonic_lib.schemas import RUNS
from sonic_lib.storage import delta_rs, tables, writes
from sonic_lib.storage.locks import is_on_disk
from sonic_lib.storage.run_rows import Run, new_run, run_row


@contextmanager
def recorded(
    spark: SparkSession, warehouse: str, *, job: str, config: Config, options: dict | None = None
) -> Iterator[Run]:
    """Record a run: write its row before the work, and complete it afterwards.

    Parameters
    ----------
    options : dict, optional
        The command's options, as JSON-serialisable values, so that it can be repeated.

    Yields
    ------
    Run
        Put counts into its `counts`.
    """
    run = new_run()
    run.options = options
    _write(spark, warehouse, run, job, config, "running")
    try:
        yield run
    except BaseException:
        with suppress(Exception):  # a second failure, as on a full disk, would hide the cause
            _write(spark, warehouse, run, job, config, "failed")
        raise
    _write(spark, warehouse, run, job, config, "done")


def stamped(rows: DataFrame, *, run_id: str, when: str) -> DataFrame:
    """Add run_id, and the column `when` with the current time."""
    return rows.withColumns({"run_id": F.lit(run_id), when: F.current_timestamp()})


def last_options(spark: SparkSession, warehouse: str, *, job: str, source: str | None) -> dict:
    """Return the options of a job's last successful run; empty if none is known.

    Parameters
    ----------
    source : str, optional
        Only runs for this source; any by default.
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
    is_new = status == "running"
    if is_on_disk(spark, warehouse):
        # Spark's first commits take longer than many jobs.  It only writes what delta-rs cannot.
        with suppress(SonicError):
            delta_rs.write_run(row, warehouse, is_new=is_new)
            return
    rows = spark.createDataFrame([tuple(row[n] for n in RUNS.schema.names)], RUNS.schema)
    if is_new:
        writes.append(rows, warehouse, RUNS)
    else:
        writes.upsert(rows, warehouse, RUNS, key="run_id")
