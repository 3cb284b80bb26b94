"""The names of the tables' properties, and a check of their numbers."""

from __future__ import annotations

from sonic_lib.errors import TableError

PARAMS = "sonic.fingerprint.params"
PREFIX = "sonic.fingerprint.prefix_bits"
MAX_PREFIX_BITS = 12
LAYOUT = "sonic.layout"
# Incremented when older code would misread the tables; a table without this property has layout 1.
LAYOUT_VERSION = 2  # fingerprints have descriptors


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
