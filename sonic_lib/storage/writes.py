"""Write rows to Delta tables with Spark: every change is one commit.

`tables` finds and reads them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from delta.tables import DeltaMergeBuilder
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.errors import TableError
from sonic_lib.schemas import Table
from sonic_lib.spark.session import setting
from sonic_lib.storage.locks import writing_by_spark
from sonic_lib.storage.retry import retrying
from sonic_lib.storage.tables import delta_table, location

_TXN_APP, _TXN_VERSION = "txnAppId", "txnVersion"
# While `insert` has its token in the session, a commit of another thread would consume it.
_one_at_a_time = threading.RLock()


def commit(spark: SparkSession, warehouse: str, table: Table, change: Callable[[], object]) -> None:
    """Commit a change to a table; all of Spark's commits go through here.

    Parameters
    ----------
    change : callable
        As in `retrying`; runs under the table's lock if the warehouse is local.
    """

    def locked() -> None:
        with _one_at_a_time, writing_by_spark(spark, warehouse, table.name):
            change()

    retrying(locked, what=table.name)


def append(rows: DataFrame, warehouse: str, table: Table, *, token: str | None = None) -> None:
    """Add rows; a table of an earlier version gains missing columns.

    Parameters
    ----------
    token : str, optional
        Idempotency token: of several commits to the table with the same token, only the first
        takes effect.
    """
    writer = _fit(rows, table).write.format("delta").mode("append").option("mergeSchema", "true")
    if token is not None:
        writer = writer.option(_TXN_APP, token).option(_TXN_VERSION, 1)
    commit(rows.sparkSession, warehouse, table, lambda: writer.save(location(warehouse, table)))


def fence(spark: SparkSession, warehouse: str, table: Table, *, token: str) -> None:
    """Consume a token, so that later commits with it are no-ops."""
    append(spark.createDataFrame([], table.schema), warehouse, table, token=token)


def replace(
    rows: DataFrame, warehouse: str, table: Table, *, where: str, same_rows: bool = False
) -> None:
    """Replace the rows that meet a condition, in one commit.

    Parameters
    ----------
    where : str
        SQL condition on partition columns; Delta rejects the commit unless all new rows meet it.
    same_rows : bool
        Whether these are the table's own rows, rewritten to other files.  Concurrent appends then
        do not conflict, and their rows stay.  Read the rows without a version and do not cache
        them: Delta reads them within the commit, from the files that it replaces.
    """
    options = {"replaceWhere": where, "dataChange": str(not same_rows).lower()}
    if not same_rows:
        options["mergeSchema"] = "true"  # a table of an earlier version gains columns
    writer = _fit(rows, table).write.format("delta").mode("overwrite").options(**options)
    commit(rows.sparkSession, warehouse, table, lambda: writer.save(location(warehouse, table)))


def upsert(rows: DataFrame, warehouse: str, table: Table, *, key: str) -> None:
    """Add rows, replacing existing rows with the same key.

    A table of an earlier version gains missing columns.
    """
    _merge(
        _fit(rows, table),
        warehouse,
        table,
        f"old.{key} = new.{key}",
        lambda merge: merge.withSchemaEvolution().whenMatchedUpdateAll().whenNotMatchedInsertAll(),
    )


def update(rows: DataFrame, warehouse: str, table: Table, *, key: str) -> None:
    """Replace existing rows with the same key; other rows are ignored."""
    _merge(
        _fit(rows, table),
        warehouse,
        table,
        f"old.{key} = new.{key}",
        lambda merge: merge.whenMatchedUpdateAll(),
    )


def insert(rows: DataFrame, warehouse: str, table: Table, *, key: str, token: str) -> None:
    """Add the rows whose key is new; `token` is as in `append`."""
    # In the session: merges take the token from there, not from a writer's options.
    values = {_TXN_APP: token, _TXN_VERSION: "1"}
    names = {f"spark.databricks.delta.write.{name}": value for name, value in values.items()}
    with _one_at_a_time, setting(rows.sparkSession, names):
        _merge(
            _fit(rows, table),
            warehouse,
            table,
            f"old.{key} = new.{key}",
            lambda merge: merge.whenNotMatchedInsertAll(),
        )


def delete_keys(keys: DataFrame, warehouse: str, table: Table, *, key: str) -> None:
    """Delete the rows whose key is among the given ones."""
    gone = keys.select(key).distinct()
    condition = f"old.{key} = new.{key}"
    _merge(gone, warehouse, table, condition, lambda merge: merge.whenMatchedDelete())


def replace_keys(
    keys: DataFrame, rows: DataFrame, warehouse: str, table: Table, *, key: str
) -> None:
    """Delete the rows whose key is among the given ones and add `rows`, in one commit."""
    gone = keys.select(F.col(key).alias("gone")).distinct()
    source = gone.unionByName(_fit(rows, table), allowMissingColumns=True)
    values = {name: f"new.{name}" for name in table.schema.names}
    _merge(
        source,
        warehouse,
        table,
        f"old.{key} = new.gone",
        lambda merge: merge.whenMatchedDelete().whenNotMatchedInsert("new.gone IS NULL", values),
    )


def optimize(spark: SparkSession, warehouse: str, table: Table) -> None:
    """Compact small files; the order of rows is not kept."""
    commit(
        spark,
        warehouse,
        table,
        lambda: delta_table(spark, warehouse, table).optimize().executeCompaction(),
    )


def _merge(
    rows: DataFrame,
    warehouse: str,
    table: Table,
    condition: str,
    clauses: Callable[[DeltaMergeBuilder], DeltaMergeBuilder],
) -> None:
    """Merge rows (alias new) into the table (alias old)."""

    def merge() -> None:
        old = delta_table(rows.sparkSession, warehouse, table).alias("old")
        clauses(old.merge(rows.alias("new"), condition)).execute()

    commit(rows.sparkSession, warehouse, table, merge)


def _fit(rows: DataFrame, table: Table) -> DataFrame:
    """Order and cast the columns as declared; a missing one is an error, not null."""
    missing = set(table.schema.names) - set(rows.columns)
    if missing:
        raise TableError(f"Rows for {table.name} lack {', '.join(sorted(missing))}.")
    columns: list[Column] = [F.col(f.name).cast(f.dataType).alias(f.name) for f in table.schema]
    return rows.select(*columns)
