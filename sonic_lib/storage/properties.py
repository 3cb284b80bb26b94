"""The names of the tables' properties, and a check of their numbers."""

from __future__ import annotations

from collections.abc import Mapping

from sonic_lib.errors import TableError

PARAMS = "sonic.fingerprint.params"
PREFIX = "sonic.fingerprint.prefix_bits"
MAX_PREFIX_BITS = 12
LAYOUT = "sonic.layout"
# Incremented when older code would misread the tables; a table without this property has layout 1.
LAYOUT_VERSION = 2  # fingerprints have descriptors


def check_layout(properties: Mapping[str, str], *, table: str, warehouse: str) -> None:
    """Reject a table in a layout that this version would misread.

    Parameters
    ----------
    properties : mapping of str to str
        All properties of the table.

    Raises
    ------
    TableError
        If it has another layout.
    """
    value = properties.get(LAYOUT, "1")
    layout = whole_number(value, name=LAYOUT, warehouse=warehouse, most=10**9)
    if layout > LAYOUT_VERSION:
        raise TableError(
            f"The table {table} in {warehouse} has layout {layout}; this version of "
            f"Sonic Signature supports layouts up to {LAYOUT_VERSION}. Install a newer version "
            "(pip install --upgrade sonic-signature); nothing was read or changed."
        )
    if layout < LAYOUT_VERSION:
        raise TableError(
            f"The table {table} in {warehouse} has layout {layout}, from an earlier "
            f"version; this one writes and reads layout {LAYOUT_VERSION}. Index the songs "
            "again into another warehouse (sonic index FOLDER --warehouse NEW); nothing was "
            "changed."
        )


def whole_number(value: object, *, name: str, warehouse: str, most: int) -> int:
    """Parse a property that must be a whole number from 0 to `most`.

    Raises
    ------
    TableError
        If it is anything else.
    """
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if not 0 <= number <= most:
        raise TableError(
            f"A table in {warehouse} has {name} = {str(value)[:50]!r}, expected a whole number "
            f"from 0 to {most}: it was not made by Sonic Signature, or was changed. Index into "
            "another warehouse."
        )
    return number
