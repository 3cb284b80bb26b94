"""Create Delta tables, with their layout and parameters as properties."""

from __future__ import annotations

from contextlib import suppress

from delta.tables import DeltaTable
from pyspark.sql import SparkSession

from sonic_lib.errors import SonicError
from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.schemas import FINGERPRINTS, INDEX_TABLES, MODEL_TABLES, Table
from sonic_lib.spark.filesystem import entries_in, hadoop_path
from sonic_lib.storage import delta_rs
from sonic_lib.storage.locks import is_on_disk
from sonic_lib.storage.properties import LAYOUT, LAYOUT_VERSION, PARAMS, PREFIX
from sonic_lib.storage.tables import check_params, exists, location
from sonic_lib.storage.writes import commit


def create(
    spark: SparkSession, warehouse: str, *, params: FingerprintParams, prefix_bits: int
) -> None:
    """Create the missing tables of an index.

    Raises
    ------
    TableError
        If existing fingerprints were made with other parameters.
    """
    properties = {PARAMS: params.to_json(), PREFIX: str(prefix_bits)}
    for table in INDEX_TABLES:
        _create(spark, warehouse, table, properties if table is FINGERPRINTS else {})
    check_params(spark, warehouse, params=params)


def create_for_models(spark: SparkSession, warehouse: str) -> None:
    """Create the missing tables of features and models."""
    for table in MODEL_TABLES:
        _create(spark, warehouse, table, {})


def _create(spark: SparkSession, warehouse: str, table: Table, properties: dict[str, str]) -> None:
    if exists(spark, warehouse, table):
        return
    properties = {LAYOUT: str(LAYOUT_VERSION), **properties}
    if is_on_disk(spark, warehouse):
        # Milliseconds instead of Spark's half second.  Spark only creates what delta-rs cannot.
        with suppress(SonicError):
            delta_rs.create(
                warehouse,
                table.name,
                schema_json=table.schema.json(),
                partitioned_by=table.partitioned_by,
                comment=table.comment,
                properties=properties,
            )
            return
    builder = (
        DeltaTable.createIfNotExists(spark)
        .location(location(warehouse, table))
        .comment(table.comment)
        .partitionedBy(*table.partitioned_by)
    )
    for field in table.schema:
        builder = builder.addColumn(field.name, field.dataType, comment=field.metadata["comment"])
    for name, value in properties.items():
        builder = builder.property(name, value)

    def make() -> None:
        _remove_empty_log(spark, location(warehouse, table))
        builder.execute()

    commit(spark, warehouse, table, make)


def _remove_empty_log(spark: SparkSession, path: str) -> None:
    """Remove the log of a run that was killed while creating the table, which Delta refuses."""
    log = f"{path}/_delta_log"
    if not any(entry.getPath().getName().endswith(".json") for entry in entries_in(spark, log)):
        filesystem, folder = hadoop_path(spark, log)
        filesystem.delete(folder, True)
