"""The only place that reads and writes Delta tables.

A warehouse is a folder with one Delta table in each subfolder, so the tables can be used
without any catalogue; `register` makes them known to one by name.
"""

from __future__ import annotations

from pathlib import Path

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.errors import TableError
from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.schemas import (
    DATABASE,
    FINGERPRINTS,
    INDEX_TABLES,
    MODEL_TABLES,
    TABLES,
    Table,
)

_PARAMS_PROPERTY = "sonic.fingerprint.params"
_PREFIX_PROPERTY = "sonic.fingerprint.prefix_bits"


def resolve(uri: str) -> str:
    """Make a local path absolute; leave URIs alone."""
    return uri if "://" in uri or uri.startswith("file:") else str(Path(uri).expanduser().resolve())


def location(warehouse: str, table: Table) -> str:
    """Where a table is."""
    return f"{warehouse.rstrip('/')}/{table.name}"


def exists(spark: SparkSession, warehouse: str, table: Table) -> bool:
    """Whether the table has been made."""
    return DeltaTable.isDeltaTable(spark, location(warehouse, table))


def create(
    spark: SparkSession, warehouse: str, *, params: FingerprintParams, prefix_bits: int
) -> None:
    """Make the tables of an index that are not there yet.

    Raises
    ------
    TableError
        If the fingerprints that are there were made with other parameters.
    """
    properties = {_PARAMS_PROPERTY: params.to_json(), _PREFIX_PROPERTY: str(prefix_bits)}
    for table in INDEX_TABLES:
        _create(spark, warehouse, table, properties if table is FINGERPRINTS else {})
    check_params(spark, warehouse, params=params)


def create_for_models(spark: SparkSession, warehouse: str) -> None:
    """Make the tables of features and models that are not there yet."""
    for table in MODEL_TABLES:
        _create(spark, warehouse, table, {})


def check_params(spark: SparkSession, warehouse: str, *, params: FingerprintParams) -> None:
    """Refuse a fingerprint table that was made with other parameters.

    Raises
    ------
    TableError
        If there is no table, or its parameters differ.
    """
    made_with = _property(spark, warehouse, _PARAMS_PROPERTY)
    if made_with != params.to_json():
        raise TableError(
            f"The fingerprints in {warehouse} were made with {made_with}, but this run is set to "
            f"{params.to_json()}. Hashes of the two cannot be compared: use the settings of the "
            "table, or index into another warehouse."
        )


def prefix_bits(spark: SparkSession, warehouse: str) -> int:
    """How many bits of a hash are its prefix in this warehouse."""
    return int(_property(spark, warehouse, _PREFIX_PROPERTY))


def read(
    spark: SparkSession, warehouse: str, table: Table, *, version: int | None = None
) -> DataFrame:
    """Read a table, as it is or as it was at a version.

    Raises
    ------
    TableError
        If it does not exist.
    """
    if not exists(spark, warehouse, table):
        command = "sonic index FOLDER" if table in INDEX_TABLES else "sonic features FOLDER"
        raise TableError(
            f"There is no table {table.name} in {warehouse}. Give the --warehouse that was "
            f"filled before, or fill one with `{command}`."
        )
    reader = spark.read.format("delta")
    if version is not None:
        reader = reader.option("versionAsOf", version)
    return reader.load(location(warehouse, table))


def version(spark: SparkSession, warehouse: str, table: Table) -> int:
    """Return the number of the table's latest commit."""
    history = DeltaTable.forPath(spark, location(warehouse, table)).history(1)
    return history.select("version").first()[0]


def append(
    rows: DataFrame, warehouse: str, table: Table, *, transaction: tuple[str, int] | None = None
) -> None:
    """Add rows; a table that an earlier version made gains the columns it lacks.

    Parameters
    ----------
    transaction : (str, int), optional
        Who writes, and a number that grows: what was written under it is not written again.
    """
    writer = _fit(rows, table).write.format("delta").mode("append").option("mergeSchema", "true")
    if transaction is not None:
        writer = writer.option("txnAppId", transaction[0]).option("txnVersion", transaction[1])
    writer.save(location(warehouse, table))


def replace(rows: DataFrame, warehouse: str, table: Table, *, where: str) -> None:
    """Put rows in place of those that meet a condition, in one commit.

    Parameters
    ----------
    where : str
        SQL condition on partition columns; all new rows meet it, else Delta refuses them.
    """
    (
        _fit(rows, table)
        .write.format("delta")
        .mode("overwrite")
        .option("replaceWhere", where)
        .save(location(warehouse, table))
    )


def upsert(rows: DataFrame, warehouse: str, table: Table, *, key: str) -> None:
    """Add rows; a row whose key is there already is replaced."""
    (
        DeltaTable.forPath(rows.sparkSession, location(warehouse, table))
        .alias("old")
        .merge(_fit(rows, table).alias("new"), f"old.{key} = new.{key}")
        .whenMatchedUpdateAll()
        .whenNotMatchedInsertAll()
        .execute()
    )


def delete_keys(keys: DataFrame, warehouse: str, table: Table, *, key: str) -> None:
    """Delete the rows whose key is among the given ones."""
    (
        DeltaTable.forPath(keys.sparkSession, location(warehouse, table))
        .alias("old")
        .merge(keys.select(key).distinct().alias("gone"), f"old.{key} = gone.{key}")
        .whenMatchedDelete()
        .execute()
    )


def optimize(spark: SparkSession, warehouse: str, table: Table) -> None:
    """Compact small files."""
    DeltaTable.forPath(spark, location(warehouse, table)).optimize().executeCompaction()


def live_bytes(spark: SparkSession, warehouse: str, table: Table) -> int:
    """Bytes of the table's current files, without older versions."""
    detail = DeltaTable.forPath(spark, location(warehouse, table)).detail()
    return detail.select("sizeInBytes").first()[0]


def register(spark: SparkSession, warehouse: str) -> list[str]:
    """Make the tables known to the session's catalogue as sonic.<name>; repeatable.

    Returns
    -------
    list of str
        The names of the tables that exist.
    """
    spark.sql(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
    names = []
    for table in TABLES:
        if exists(spark, warehouse, table):
            name = f"{DATABASE}.{table.name}"
            place = location(warehouse, table)
            if spark.catalog.tableExists(name) and _location_of(spark, name) != place:
                spark.sql(f"DROP TABLE {name}")  # external: the data stay
            quoted = place.replace("\\", "\\\\").replace("'", "\\'")
            spark.sql(f"CREATE TABLE IF NOT EXISTS {name} USING delta LOCATION '{quoted}'")
            names.append(name)
    return names


def _create(spark: SparkSession, warehouse: str, table: Table, properties: dict[str, str]) -> None:
    if exists(spark, warehouse, table):
        return
    _remove_empty_log(spark, location(warehouse, table))
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
    builder.execute()


def _remove_empty_log(spark: SparkSession, place: str) -> None:
    """Remove what a run that was killed while it made the table left; Delta refuses to go on."""
    log = spark._jvm.org.apache.hadoop.fs.Path(f"{place}/_delta_log")
    filesystem = log.getFileSystem(spark._jsparkSession.sessionState().newHadoopConf())
    if filesystem.exists(log) and not any(
        entry.getPath().getName().endswith(".json") for entry in filesystem.listStatus(log)
    ):
        filesystem.delete(log, True)


def _location_of(spark: SparkSession, name: str) -> str:
    place = spark.sql(f"DESCRIBE DETAIL {name}").select("location").first()[0]
    return place.removeprefix("file:")


def _property(spark: SparkSession, warehouse: str, name: str) -> str:
    if not exists(spark, warehouse, FINGERPRINTS):
        raise TableError(
            f"There are no fingerprints in {warehouse}. Give the --warehouse that was indexed "
            "into, or make one with `sonic index FOLDER`."
        )
    detail = DeltaTable.forPath(spark, location(warehouse, FINGERPRINTS)).detail()
    properties = detail.select("properties").first()[0]
    if name not in properties:
        raise TableError(
            f"The table fingerprints in {warehouse} lacks the property {name}: it was not made "
            "by Sonic Signature. Index into another warehouse."
        )
    return properties[name]


def _fit(rows: DataFrame, table: Table) -> DataFrame:
    """Order and cast the columns as declared; a missing one is an error here, not a null."""
    missing = set(table.schema.names) - set(rows.columns)
    if missing:
        raise TableError(f"Rows for {table.name} lack {', '.join(sorted(missing))}.")
    columns: list[Column] = [F.col(f.name).cast(f.dataType).alias(f.name) for f in table.schema]
    return rows.select(*columns)
