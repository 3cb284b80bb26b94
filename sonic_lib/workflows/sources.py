"""Sources of features, the model registry and the database of SQL, for all workflows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.config import Config
from sonic_lib.errors import UsageError
from sonic_lib.models.registry import ModelRegistry, open_registry
from sonic_lib.schemas import FEATURES, FINGERPRINTS
from sonic_lib.sql import functions as sql_functions
from sonic_lib.sql import views
from sonic_lib.storage import tables


def read_source(
    spark: SparkSession, warehouse: str, asked: str | None, *, version: int | None = None
) -> tuple[str, DataFrame]:
    """Return name and features of the requested source, or of the only one.

    Raises
    ------
    UsageError
        If there is no such source, or there are several and none is given.
    """
    features = tables.read(spark, warehouse, FEATURES, version=version)
    names = tables.sources(spark, warehouse, FEATURES, version=version)
    if asked in names or (asked is None and len(names) == 1):
        name = asked or names[0]
        return name, features.filter(F.col("source") == name)
    problem = (
        f"source {asked!r} (--source) is not in the table features"
        if asked
        else "No source (--source) is given"
    )
    raise UsageError(
        f"{problem}; expected one of: {', '.join(names) or '(there is none yet)'}. "
        "Add more with `sonic features`."
    )


def register(
    spark: SparkSession, config: Config, *, statements: Sequence[str] | None = None
) -> None:
    """Register tables, views and table functions for SQL, in the database ``sonic``.

    Parameters
    ----------
    statements : sequence of str, optional
        Register only what these SQL statements need: Delta reads the log of each table.
    """
    only = None if statements is None else views.needed_tables(statements)
    views.create(spark, tables.register(spark, config.warehouse, only=only))
    if only is not None and not any(map(sql_functions.are_used, statements or ())):
        return
    has_index = tables.exists(spark, config.warehouse, FINGERPRINTS)
    sql_functions.register(
        spark,
        params=config.fingerprint.params(),
        prefix_bits=tables.prefix_bits(spark, config.warehouse)
        if has_index
        else config.fingerprint.prefix_bits,
        limits=config.index.limits(),
    )


def chosen_numbers(known: Sequence[str], asked: Iterable[str] | None) -> list[str]:
    """Return the requested columns, or all.

    Raises
    ------
    UsageError
        If one is unknown.
    """
    if unknown := sorted(set(asked or []) - set(known)):
        raise UsageError(
            f"columns {' '.join(unknown)} (--columns): not among the numeric columns of this "
            f"source, which are {', '.join(known)}."
        )
    return list(dict.fromkeys(asked)) if asked else list(known)


def registry_of(spark: SparkSession, config: Config) -> ModelRegistry:
    """Open the model registry that the configuration names."""
    return open_registry(spark, config.warehouse, kind=config.models.registry)
