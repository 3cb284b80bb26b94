"""Find, check and read Delta tables with Spark.

A warehouse is a folder with one Delta table per subfolder, so no catalogue is needed.  `register`
adds the tables to the session's catalogue by name.  `creation` makes the tables, `writes` changes
their rows, `history` their versions and files; no module outside this package does Delta I/O.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from sonic_lib.errors import SonicError, TableError
from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.schemas import (
    DATABASE,
    FINGERPRINTS,
    INDEX_TABLES,
    SONGS,
    TABLES,
    Table,
)
from sonic_lib.spark.columns import sql_text
from sonic_lib.spark.uris import absolute, is_local
from sonic_lib.storage import delta_rs, properties
from sonic_lib.storage.locks import is_on_disk
from sonic_lib.storage.log_files import has_version, last_version
from sonic_lib.storage.missing import no_table
from sonic_lib.storage.own_files import check_files
from sonic_lib.storage.properties import MAX_PREFIX_BITS, PARAMS, PREFIX, whole_number


def location(warehouse: str, table: Table) -> str:
    """Return the path or URI of a table."""
    return f"{warehouse.rstrip('/')}/{table.name}"


def exists(spark: SparkSession, warehouse: str, table: Table) -> bool:
    """Whether the table exists."""
    if is_on_disk(spark, warehouse):  # Delta would read the whole log
        return has_version(absolute(location(warehouse, table)))
    return DeltaTable.isDeltaTable(spark, location(warehouse, table))


def check_params(spark: SparkSession, warehouse: str, *, params: FingerprintParams) -> None:
    """Reject a fingerprint table that was made with other parameters.

    Raises
    ------
    TableError
        If there is no table, its parameters differ, or its layout is not supported.
    """
    made_with = _property(spark, warehouse, PARAMS)
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
        properties.check_layout(
            _properties(spark, warehouse, table), table=table.name, warehouse=warehouse
        )


def prefix_bits(spark: SparkSession, warehouse: str, *, version: int | None = None) -> int:
    """Return the number of prefix bits of this warehouse's hashes, now or at a version.

    The table's property has the original number.  A rewrite stores the new one in the column's
    metadata, which changes in the same commit that moves the rows.
    """
    made_with = _property(spark, warehouse, PREFIX)
    stored = read(spark, warehouse, FINGERPRINTS, version=version)
    value = stored.schema["hash_prefix"].metadata.get(PREFIX, made_with)
    return whole_number(value, name=PREFIX, warehouse=warehouse, most=MAX_PREFIX_BITS)


def check_local(warehouse: str, *any_of: Table) -> None:
    """Check, without Spark, that a local warehouse has one of some tables; URIs are not checked.

    Raises
    ------
    TableError
        If it has none of them.
    """
    if not is_local(warehouse):
        return
    if not any(Path(absolute(warehouse), table.name, "_delta_log").is_dir() for table in any_of):
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
    made_by = "sonic index FOLDER" if table in INDEX_TABLES else "sonic features FOLDER"
    return no_table(warehouse, table.name, made_by=made_by)


def delta_table(spark: SparkSession, warehouse: str, table: Table) -> DeltaTable:
    """Open a table for Delta's own commands.

    Raises
    ------
    TableError
        If it names files outside of its folder.
    """
    _check_own(spark, warehouse, table)
    return DeltaTable.forPath(spark, location(warehouse, table))


def version(spark: SparkSession, warehouse: str, table: Table) -> int:
    """Return the number of the table's latest commit."""
    if is_on_disk(spark, warehouse) and exists(spark, warehouse, table):  # not by two queries
        _check_own(spark, warehouse, table)
        return last_version(absolute(location(warehouse, table)))
    history = delta_table(spark, warehouse, table).history(1)
    return history.select("version").first()[0]


def read_pinned(spark: SparkSession, warehouse: str, table: Table) -> DataFrame:
    """Read a table as it is now; later commits have no effect."""
    read(spark, warehouse, table)
    return read(spark, warehouse, table, version=version(spark, warehouse, table))


def sources(
    spark: SparkSession, warehouse: str, table: Table, *, version: int | None = None
) -> list[str]:
    """Return the sources in a table, sorted.

    Raises
    ------
    TableError
        As `read`.
    """
    if is_on_disk(spark, warehouse):
        # Milliseconds instead of Spark's second.  Spark only reads what delta-rs cannot.
        with suppress(SonicError):
            found = delta_rs.sources(warehouse, table.name, version=version)
            if found is not None:
                return found
    rows = read(spark, warehouse, table, version=version)
    return sorted(row.source for row in rows.select("source").distinct().collect())


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


def live_bytes(spark: SparkSession, warehouse: str, table: Table) -> int:
    """Return the bytes of the table's current files, without older versions."""
    detail = delta_table(spark, warehouse, table).detail()
    return detail.select("sizeInBytes").first()[0]


def register(
    spark: SparkSession, warehouse: str, *, only: Collection[str] | None = None
) -> list[str]:
    """Add the tables to the session's catalogue as sonic.<name>, and return these names.

    Can be called again, also for another warehouse.

    Parameters
    ----------
    only : collection of str, optional
        Names like sonic.songs; all tables by default.
    """
    spark.sql(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
    names = []
    for table in TABLES:
        name = f"{DATABASE}.{table.name}"
        if only is not None and name not in only:
            continue
        path, is_present = location(warehouse, table), exists(spark, warehouse, table)
        # Registered for another warehouse of this session.  It is external, so its data stays.
        is_known = spark.catalog.tableExists(name)
        place = absolute(path) if is_local(path) else path
        if is_known and not (is_present and _location_of(spark, name) == place):
            spark.sql(f"DROP TABLE {name}")
        if is_present:
            _check_own(spark, warehouse, table)
            spark.sql(f"CREATE TABLE IF NOT EXISTS {name} USING delta LOCATION {sql_text(path)}")
            names.append(name)
    return names


def _check_own(spark: SparkSession, warehouse: str, table: Table) -> None:
    if is_on_disk(spark, warehouse):
        check_files(absolute(location(warehouse, table)))


def _properties(spark: SparkSession, warehouse: str, table: Table) -> dict[str, str]:
    # Not detail(), which first sums the sizes of all files: 3 s right after Spark's start.
    path = location(warehouse, table)
    return {row.key: row.value for row in spark.sql(f"SHOW TBLPROPERTIES delta.`{path}`").collect()}


def _location_of(spark: SparkSession, name: str) -> str:
    uri = spark.sql(f"DESCRIBE DETAIL {name}").select("location").first()[0]
    return uri.removeprefix("file:")


def _property(spark: SparkSession, warehouse: str, name: str) -> str:
    if not exists(spark, warehouse, FINGERPRINTS):
        raise _missing(warehouse, FINGERPRINTS)
    stored = _properties(spark, warehouse, FINGERPRINTS)
    if name not in stored:
        raise TableError(
            f"The table fingerprints in {warehouse} lacks the property {name}: it was not made "
            "by Sonic Signature. Index into another warehouse."
        )
    return stored[name]
