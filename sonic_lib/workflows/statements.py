"""Run SQL statements; those that commit to our tables take their turn like every other writer."""

from __future__ import annotations

import re
from contextlib import ExitStack

from pyspark.sql import DataFrame, SparkSession

from sonic_lib.schemas import TABLES
from sonic_lib.storage import tables
from sonic_lib.storage.locks import writing_by_spark

_COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_COMMITS = re.compile(
    r"\s*(BEGIN|COMMENT\s+ON|EXECUTE\s+IMMEDIATE)\b"
    r"|\s*((WITH|FROM)\b.*\b)?(INSERT|UPDATE|DELETE|MERGE|ALTER|TRUNCATE|OPTIMIZE|RESTORE|REORG|"
    r"VACUUM|REPLACE\s+TABLE|(CREATE|DROP)\s+(OR\s+REPLACE\s+)?TABLE)\b(?!\s*\()",
    re.IGNORECASE | re.DOTALL,
)


def run_statement(spark: SparkSession, warehouse: str, statement: str) -> DataFrame:
    """Run an SQL statement.

    One that may commit holds the locks of all tables of a local warehouse, as it may name any.
    """
    with ExitStack() as locks:
        if commits(statement):
            for table in sorted(TABLES, key=lambda table: table.name):
                if tables.exists(spark, warehouse, table):
                    locks.enter_context(writing_by_spark(spark, warehouse, table.name))
        return spark.sql(statement)  # a statement that commits does so here


def commits(statement: str) -> bool:
    """Whether a statement may commit to a table.

    Examples
    --------
    >>> commits("DELETE FROM sonic.runs"), commits("SELECT replace(title, 'a', 'b') FROM t")
    (True, False)
    """
    return _COMMITS.match(without_comments(statement)) is not None


def without_comments(statement: str) -> str:
    """Replace comments by spaces, and what looks like one within a string, too."""
    return _COMMENTS.sub(" ", statement)
