"""Writers to the table `runs`, as separate processes: ENGINE WAREHOUSE FIRST N."""

from __future__ import annotations

import sys
from datetime import datetime, timezone

from sonic_lib.config import Config
from sonic_lib.storage.run_rows import Run, run_row


def row(run_id: str) -> dict:
    """Return a run as a row."""
    run = Run(run_id, datetime.now(timezone.utc))
    return run_row(run, job="test", config=Config(), status="done")


def write_by_delta_rs(warehouse: str, run_ids: list[str]) -> None:
    """Commit one row per id."""
    from sonic_lib.storage.delta_rs import append

    for run_id in run_ids:
        append([row(run_id) | {"counts": []}], warehouse, "runs")


def write_by_spark(spark, warehouse: str, run_ids: list[str]) -> None:
    """Commit one row per id."""
    from sonic_lib.schemas import RUNS
    from sonic_lib.storage import writes

    for run_id in run_ids:
        values = row(run_id)
        rows = [tuple(values[name] for name in RUNS.schema.names)]
        writes.append(spark.createDataFrame(rows, RUNS.schema), warehouse, RUNS)


def main(engine: str, warehouse: str, *run_ids: str) -> None:
    """Write the rows, one commit each."""
    if engine == "delta-rs":
        write_by_delta_rs(warehouse, list(run_ids))
    else:
        from sonic_lib.spark.session import spark_job

        conf = {"spark.driver.memory": "1g", "spark.sql.shuffle.partitions": "1"}
        with spark_job(app_name="writer", master="local[1]", conf=conf) as spark:
            write_by_spark(spark, warehouse, list(run_ids))


if __name__ == "__main__":
    main(*sys.argv[1:])
