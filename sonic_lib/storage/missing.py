"""What to say of tables that do not exist or are empty."""

from __future__ import annotations

from sonic_lib.errors import TableError


def no_table(warehouse: str, name: str, *, made_by: str = "sonic index FOLDER") -> TableError:
    """Return the error of a table that does not exist, with the command that creates it."""
    return TableError(
        f"There is no table {name} in {warehouse}. Give the right --warehouse, or fill one "
        f"with `{made_by}`."
    )


def no_songs(warehouse: str) -> TableError:
    """Return the error of an index without songs."""
    return TableError(
        f"The index in {warehouse} has no songs; add some with `sonic index FOLDER` first."
    )
