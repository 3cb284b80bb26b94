"""Columns whose names come from users."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F


def column(name: str) -> Column:
    """Column by name, which may contain any character."""
    return F.col("`" + name.replace("`", "``") + "`")
