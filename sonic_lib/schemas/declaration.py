"""What a table is, and how a column is declared."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql.types import DataType, StructField, StructType


@dataclass(frozen=True)
class Table:
    """One table of the warehouse."""

    name: str
    comment: str
    schema: StructType
    partitioned_by: tuple[str, ...] = ()


def column(name: str, kind: DataType, comment: str) -> StructField:
    """Declare a column; the comment says what it holds, with its unit."""
    return StructField(name, kind, True, {"comment": comment})
