"""Maintain tables: change partitions, restore versions, purge files."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.errors import TableError
from sonic_lib.schemas import FINGERPRINTS, Table
from sonic_lib.spark.filesystem import exists
from sonic_lib.spark.session import setting
from sonic_lib.spark.uris import absolute
from sonic_lib.storage import tables, writes
from sonic_lib.storage.locks import is_on_disk
from sonic_lib.storage.own_files import check_links
from sonic_lib.storage.properties import PREFIX
from sonic_lib.storage.tables import location


def change_prefix(rows: DataFrame, warehouse: str, *, prefix_bits: int) -> None:
    """Rewrite all fingerprints with another hash_prefix, in one commit.

    Parameters
    ----------
    rows : DataFrame
        All rows of the table, read without a version and not cached, with the new hash_prefix.
    """
    metadata = {"hash_prefix": {PREFIX: prefix_bits}}
    moved = rows.select(
        *(
            F.col(field.name)
            .cast(field.dataType)
            .alias(field.name, metadata=field.metadata | metadata.get(field.name, {}))
            for field in FINGERPRINTS.schema
        )
    )
    writer = moved.write.format("delta").mode("overwrite").option("overwriteSchema", "true")
    writer = writer.partitionBy(*FINGERPRINTS.partitioned_by)
    path = location(warehouse, FINGERPRINTS)
    writes.commit(rows.sparkSession, warehouse, FINGERPRINTS, lambda: writer.save(path))


def version_at(spark: SparkSession, warehouse: str, table: Table, *, timestamp: str) -> int:
    """Return the version that was the latest at a time.

    Raises
    ------
    TableError
        If the table's log does not reach back that far.
    """
    history = tables.delta_table(spark, warehouse, table).history()
    then = F.lit(timestamp).try_cast("timestamp")
    first, found = history.agg(
        F.min("timestamp"), F.max(F.when(F.col("timestamp") <= then, F.col("version")))
    ).first()
    if found is None:
        raise TableError(
            f"The table {table.name} in {warehouse} is not known as of {timestamp!r}; its log "
            f"begins at {first} UTC. Give a later time, as in '2026-01-31 18:00:00' (UTC)."
        )
    return found


def check_files(spark: SparkSession, warehouse: str, table: Table, *, version: int) -> None:
    """Check that a table can be restored to a version.

    Raises
    ------
    TableError
        If files of that version were purged.
    """
    then = tables.read(spark, warehouse, table, version=version).inputFiles()
    gone = set(then).difference(tables.read(spark, warehouse, table).inputFiles())
    purged = [file for file in sorted(gone) if not exists(spark, file)]
    if purged:
        raise TableError(
            f"The table {table.name} in {warehouse} cannot go back to version {version}: "
            f"{len(purged)} of its files were purged, {purged[0]} among them. Give a later time."
        )


def restore(spark: SparkSession, warehouse: str, table: Table, *, version: int) -> None:
    """Restore a table to a version; later versions stay in its log."""
    current = tables.delta_table(spark, warehouse, table)
    writes.commit(spark, warehouse, table, lambda: current.restoreToVersion(version))


def drop_lost_files(
    spark: SparkSession, warehouse: str, table: Table, *, where: str | None = None
) -> None:
    """Drop missing files from a table, or from the partitions that meet a condition."""
    with setting(spark, {"spark.sql.files.ignoreMissingFiles": "true"}):
        rows = tables.read(spark, warehouse, table)
        if where is not None:
            writes.replace(rows.filter(where), warehouse, table, where=where)
            return
        writer = rows.write.format("delta").mode("overwrite")
        path = location(warehouse, table)
        writes.commit(spark, warehouse, table, lambda: writer.save(path))


def vacuum(spark: SparkSession, warehouse: str, table: Table, *, retention_hours: float) -> None:
    """Delete files that no version within the retention time uses.

    Raises
    ------
    TableError
        If the folder of a local table contains a link: Delta would delete the files behind it.
    """
    if is_on_disk(spark, warehouse):
        check_links(absolute(location(warehouse, table)))
    settings = {
        "spark.databricks.delta.retentionDurationCheck.enabled": "false",
        # The number of tasks that list files; Delta's default is 10,000.
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": str(
            4 * spark.sparkContext.defaultParallelism
        ),
    }
    with setting(spark, settings):
        old = tables.delta_table(spark, warehouse, table)
        # Vacuum commits its start and its end to the log.
        writes.commit(spark, warehouse, table, lambda: old.vacuum(retention_hours))
