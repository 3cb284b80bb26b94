"""Read and write Delta tables with Spark; no other module does.

A warehouse is a folder with one Delta table per subfolder, so no catalogue is needed.  `register`
adds the tables to the session's catalogue by name.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from delta.tables import DeltaMergeBuilder, DeltaTable
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.audio.local_files import absolute
from sonic_lib.errors import TableError, UsageError
from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.schemas import (
    DATABASE,
    FINGERPRINTS,
    INDEX_TABLES,
    MODEL_TABLES,
    SONGS,
    TABLES,
    Table,
)
from sonic_lib.spark.filesystem import hadoop_path
from sonic_lib.spark.session import setting
from sonic_lib.storage.locks import is_on_disk, writing_by_spark
from sonic_lib.storage.own_files import check_files
from sonic_lib.storage.properties import MAX_PREFIX_BITS, PREFIX, whole_number
from sonic_lib.storage.retry import retrying

_PARAMS_PROPERTY = "sonic.fingerprint.params"
PREFIX_PROPERTY = PREFIX
_LAYOUT_PROPERTY = "sonic.layout"
# Incremented when older code would misread the tables; a table without this property has layout 1.
LAYOUT = 2  # fingerprints have descriptors
_TXN_APP, _TXN_VERSION = "txnAppId", "txnVersion"


def resolve(uri: str) -> str:
    """Make a local path absolute; leave URIs alone.

    Raises
    ------
    UsageError
        If Delta could not address the warehouse.
    """
    if "`" in uri:
        raise UsageError(
            f"The warehouse {uri!r} has a backtick in its name, and Delta cannot address such "
            "tables. Choose another name."
        )
    return uri if "://" in uri or uri.startswith("file:") else str(Path(uri).expanduser().resolve())


def location(warehouse: str, table: Table) -> str:
    """Return the path or URI of a table."""
    return f"{warehouse.rstrip('/')}/{table.name}"


def exists(spark: SparkSession, warehouse: str, table: Table) -> bool:
    """Whether the table exists."""
    return DeltaTable.isDeltaTable(spark, location(warehouse, table))


def create(
    spark: SparkSession, warehouse: str, *, params: FingerprintParams, prefix_bits: int
) -> None:
    """Create the missing tables of an index.

    Raises
    ------
    TableError
        If existing fingerprints were made with other parameters.
    """
    properties = {_PARAMS_PROPERTY: params.to_json(), PREFIX_PROPERTY: str(prefix_bits)}
    for table in INDEX_TABLES:
        _create(spark, warehouse, table, properties if table is FINGERPRINTS else {})
    check_params(spark, warehouse, params=params)


def create_for_models(spark: SparkSession, warehouse: str) -> None:
    """Create the missing tables of features and models."""
    for table in MODEL_TABLES:
        _create(spark, warehouse, table, {})


def check_params(spark: SparkSession, warehouse: str, *, params: FingerprintParams) -> None:
    """Reject a fingerprint table that was made with other parameters.

    Raises
    ------
    TableError
        If there is no table, its parameters differ, or its layout is not supported.
    """
    made_with = _property(spark, warehouse, _PARAMS_PROPERTY)
    check_layout(spark, warehouse)
    params.check_table(made_with, warehouse=warehouse)


def check_layout(spark: SparkSession, warehouse: str) -> None:
    """Reject tables in a layout that this version would misread.

    Raises
    ------
    TableError
        If songs or fingerprints have another layout.
    """
    for table in (SONGS, FINGERPRINTS):
        if not exists(spark, warehouse, table):
            continue
        value = _properties(spark, warehouse, table).get(_LAYOUT_PROPERTY, "1")
        layout = whole_number(value, name=_LAYOUT_PROPERTY, warehouse=warehouse, most=10**9)
        if layout > LAYOUT:
            raise TableError(
                f"The table {table.name} in {warehouse} has layout {layout}; this version of "
                f"Sonic Signature supports layouts up to {LAYOUT}. Install a newer version "
                "(pip install --upgrade sonic-signature); nothing was read or changed."
            )
        if layout < LAYOUT:
            raise TableError(
                f"The table {table.name} in {warehouse} has layout {layout}, from an earlier "
                f"version; this one writes and reads layout {LAYOUT}. Index the songs again into "
                "another warehouse (sonic index FOLDER --warehouse NEW); nothing was changed."
            )


def prefix_bits(spark: SparkSession, warehouse: str, *, version: int | None = None) -> int:
    """Return the number of prefix bits of this warehouse's hashes, now or at a version.

    The table's property has the original number.  A rewrite stores the new one in the column's
    metadata, which changes in the same commit that moves the rows.
    """
    made_with = _property(spark, warehouse, PREFIX_PROPERTY)
    stored = read(spark, warehouse, FINGERPRINTS, version=version)
    value = stored.schema["hash_prefix"].metadata.get(PREFIX_PROPERTY, made_with)
    return whole_number(value, name=PREFIX_PROPERTY, warehouse=warehouse, most=MAX_PREFIX_BITS)


def check_local(warehouse: str, *any_of: Table) -> None:
    """Check, without Spark, that a local warehouse has one of some tables; URIs are not checked.

    Raises
    ------
    TableError
        If it has none of them.
    """
    is_local = "://" not in warehouse and not warehouse.startswith("file:")
    if is_local and not any(Path(warehouse, each.name, "_delta_log").is_dir() for each in any_of):
        raise _missing(warehouse, any_of[0])


def read(
    spark: SparkSession, warehouse: str, table: Table, *, version: int | None = None
) -> DataFrame:
    """Read a table, now or at a version.

    Raises
    ------
    TableError
        If it does not exist, or names files outside of its folder.
    """
    if not exists(spark, warehouse, table):
        raise _missing(warehouse, table)
    _check_own(spark, warehouse, table)
    reader = spark.read.format("delta")
    if version is not None:
        reader = reader.option("versionAsOf", version)
    return reader.load(location(warehouse, table))


def _missing(warehouse: str, table: Table) -> TableError:
    command = "sonic index FOLDER" if table in INDEX_TABLES else "sonic features FOLDER"
    return TableError(
        f"There is no table {table.name} in {warehouse}. Give the right --warehouse, or fill one "
        f"with `{command}`."
    )


def version(spark: SparkSession, warehouse: str, table: Table) -> int:
    """Return the number of the table's latest commit."""
    history = _delta(spark, warehouse, table).history(1)
    return history.select("version").first()[0]


def read_pinned(spark: SparkSession, warehouse: str, table: Table) -> DataFrame:
    """Read a table as it is now; later commits have no effect."""
    read(spark, warehouse, table)
    return read(spark, warehouse, table, version=version(spark, warehouse, table))


def partition_files(stored: DataFrame, *, column: str) -> dict[int, list[str]]:
    """Find the data files of a table, as read, by the value of its partition column.

    Returns
    -------
    dict of int to list of str
        Paths, or URIs if they are remote, sorted.
    """
    files: dict[int, list[str]] = {}
    for path in sorted(stored.inputFiles()):  # Delta's are not percent-encoded, unlike Spark's
        value = int(path.rpartition(f"/{column}=")[2].partition("/")[0])
        files.setdefault(value, []).append(path)
    return files


def orphans(fingerprints: DataFrame, songs: DataFrame, *, n_expected: int) -> NDArray[np.int64]:
    """Return the ids of songs that have fingerprints but are not in `songs`, ascending.

    They exist while another run adds or removes songs, or after it died.  The number of rows comes
    from the table's log; rows are only scanned if it differs from the expected number.
    """
    if fingerprints.count() == n_expected:
        return np.zeros(0, np.int64)
    ids = fingerprints.select("song_id").distinct().join(songs, "song_id", "left_anti")
    return np.sort(ids.toPandas()["song_id"].to_numpy(np.int64))


def commit(spark: SparkSession, warehouse: str, table: Table, change: Callable[[], object]) -> None:
    """Commit a change to a table; all of Spark's commits go through here.

    Parameters
    ----------
    change : callable
        As in `retrying`; runs under the table's lock if the warehouse is local.
    """

    def locked() -> None:
        with writing_by_spark(spark, warehouse, table.name):
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


def insert(rows: DataFrame, warehouse: str, table: Table, *, key: str, token: str) -> None:
    """Add the rows whose key is new; `token` is as in `append`."""
    with _token(rows.sparkSession, token):
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
        lambda: _delta(spark, warehouse, table).optimize().executeCompaction(),
    )


def live_bytes(spark: SparkSession, warehouse: str, table: Table) -> int:
    """Return the bytes of the table's current files, without older versions."""
    detail = _delta(spark, warehouse, table).detail()
    return detail.select("sizeInBytes").first()[0]


def register(spark: SparkSession, warehouse: str) -> list[str]:
    """Add the tables to the session's catalogue as sonic.<name>, and return these names.

    Can be called again, also for another warehouse.
    """
    spark.sql(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
    names = []
    for table in TABLES:
        name = f"{DATABASE}.{table.name}"
        path, is_present = location(warehouse, table), exists(spark, warehouse, table)
        # Registered for another warehouse of this session.  It is external, so its data stays.
        is_known = spark.catalog.tableExists(name)
        if is_known and not (is_present and _location_of(spark, name) == path):
            spark.sql(f"DROP TABLE {name}")
        if is_present:
            _check_own(spark, warehouse, table)
            quoted = path.replace("\\", "\\\\").replace("'", "\\'")
            spark.sql(f"CREATE TABLE IF NOT EXISTS {name} USING delta LOCATION '{quoted}'")
            names.append(name)
    return names


def _create(spark: SparkSession, warehouse: str, table: Table, properties: dict[str, str]) -> None:
    if exists(spark, warehouse, table):
        return
    builder = (
        DeltaTable.createIfNotExists(spark)
        .location(location(warehouse, table))
        .comment(table.comment)
        .partitionedBy(*table.partitioned_by)
    )
    for field in table.schema:
        builder = builder.addColumn(field.name, field.dataType, comment=field.metadata["comment"])
    for name, value in {_LAYOUT_PROPERTY: str(LAYOUT), **properties}.items():
        builder = builder.property(name, value)

    def make() -> None:
        _remove_empty_log(spark, location(warehouse, table))
        builder.execute()

    commit(spark, warehouse, table, make)


def _remove_empty_log(spark: SparkSession, path: str) -> None:
    """Remove the log of a run that was killed while creating the table, which Delta refuses."""
    filesystem, log = hadoop_path(spark, f"{path}/_delta_log")
    if filesystem.exists(log) and not any(
        entry.getPath().getName().endswith(".json") for entry in filesystem.listStatus(log)
    ):
        filesystem.delete(log, True)


def _merge(
    rows: DataFrame,
    warehouse: str,
    table: Table,
    condition: str,
    clauses: Callable[[DeltaMergeBuilder], DeltaMergeBuilder],
) -> None:
    """Merge rows (alias new) into the table (alias old)."""

    def merge() -> None:
        old = _delta(rows.sparkSession, warehouse, table).alias("old")
        clauses(old.merge(rows.alias("new"), condition)).execute()

    commit(rows.sparkSession, warehouse, table, merge)


def _token(spark: SparkSession, token: str) -> AbstractContextManager:
    """Set the token in the session: merges take it from there, not from a writer's options."""
    names = {_TXN_APP: token, _TXN_VERSION: "1"}
    return setting(spark, {f"spark.databricks.delta.write.{n}": v for n, v in names.items()})


def _check_own(spark: SparkSession, warehouse: str, table: Table) -> None:
    if is_on_disk(spark, warehouse):
        check_files(absolute(location(warehouse, table)))


def _delta(spark: SparkSession, warehouse: str, table: Table) -> DeltaTable:
    _check_own(spark, warehouse, table)
    return DeltaTable.forPath(spark, location(warehouse, table))


def _properties(spark: SparkSession, warehouse: str, table: Table) -> dict[str, str]:
    # Not detail(), which first sums the sizes of all files: 3 s right after Spark's start.
    path = location(warehouse, table).replace("`", "``")
    return {row.key: row.value for row in spark.sql(f"SHOW TBLPROPERTIES delta.`{path}`").collect()}


def _location_of(spark: SparkSession, name: str) -> str:
    uri = spark.sql(f"DESCRIBE DETAIL {name}").select("location").first()[0]
    return uri.removeprefix("file:")


def _property(spark: SparkSession, warehouse: str, name: str) -> str:
    if not exists(spark, warehouse, FINGERPRINTS):
        raise TableError(
            f"There are no fingerprints in {warehouse}. Give the right --warehouse, or create one "
            "with `sonic index FOLDER`."
        )
    properties = _properties(spark, warehouse, FINGERPRINTS)
    if name not in properties:
        raise TableError(
            f"The table fingerprints in {warehouse} lacks the property {name}: it was not made "
            "by Sonic Signature. Index into another warehouse."
        )
    return properties[name]


def _fit(rows: DataFrame, table: Table) -> DataFrame:
    """Order and cast the columns as declared; a missing one is an error, not null."""
    missing = set(table.schema.names) - set(rows.columns)
    if missing:
        raise TableError(f"Rows for {table.name} lack {', '.join(sorted(missing))}.")
    columns: list[Column] = [F.col(f.name).cast(f.dataType).alias(f.name) for f in table.schema]
    return rows.select(*columns)
