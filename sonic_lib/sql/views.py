"""Create views over the tables; each has an SQL file in sonic_lib/sql/views, for any catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files

from pyspark.sql import SparkSession

from sonic_lib.schemas import DATABASE

_NAME = re.compile(rf"\b{DATABASE}`?\s*\.\s*`?(\w+)", re.IGNORECASE)
_QUERY = re.compile(r"(\s|--[^\n]*\n|\()*(select|with)\b", re.IGNORECASE)


def create(spark: SparkSession, table_names: Iterable[str]) -> list[str]:
    """Create the views whose tables exist; can be called again.

    Parameters
    ----------
    table_names : iterable of str
        From `tables.register`.

    Returns
    -------
    list of str
        The names of the views.
    """
    known = set(table_names)
    names = []
    for name, statement in statements("views"):
        if tables_of(statement) <= known:
            spark.sql(statement)
            names.append(f"{DATABASE}.{name}")
    return names


def statements(folder: str) -> Iterator[tuple[str, str]]:
    """Name and text of each SQL file of a folder below sonic_lib/sql, also inside a zip."""
    found = (files("sonic_lib") / "sql" / folder).iterdir()
    for file in sorted(found, key=lambda file: file.name):
        if file.name.endswith(".sql"):
            yield file.name.removesuffix(".sql"), file.read_text(encoding="utf-8")


def needed_tables(queries: Sequence[str]) -> set[str] | None:
    """Return the tables that queries read, also through views.

    Parameters
    ----------
    queries : sequence of str
        SQL statements.

    Returns
    -------
    set of str, optional
        Names like sonic.songs; None for all, as for `SHOW TABLES`.

    Examples
    --------
    >>> sorted(needed_tables(["SELECT * FROM sonic.songs JOIN Sonic.matches USING (song_id)"]))
    ['sonic.matches', 'sonic.songs']
    >>> needed_tables(["SHOW TABLES IN sonic"])
    """
    of_view = {
        f"{DATABASE}.{name}": tables_of(statement) for name, statement in statements("views")
    }
    needed: set[str] = set()
    for query in queries:
        names = {f"{DATABASE}.{name.lower()}" for name in _NAME.findall(query)}
        if not (_QUERY.match(query) and names):
            return None
        for name in names:
            needed |= of_view.get(name, {name})
    return needed


def tables_of(statement: str) -> set[str]:
    """Return the tables that the query of a view reads."""
    query = statement.split("\nAS SELECT", 1)[1]
    return set(re.findall(rf"\b{DATABASE}\.\w+", query))
