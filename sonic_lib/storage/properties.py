"""Numbers that a table tells of itself, whoever wrote them."""

from __future__ import annotations

from sonic_lib.errors import TableError

PREFIX = "sonic.fingerprint.prefix_bits"
MAX_PREFIX_BITS = 12


def whole_number(told: object, *, name: str, warehouse: str, most: int) -> int:
    """Read a property that is a whole number from 0 to `most`.

    Raises
    ------
    TableError
        If it is none.
    """
    try:
        number = int(str(told))
    except ValueError:
        number = -1
    if not 0 <= number <= most:
        raise TableError(
            f"A table in {warehouse} has {name} = {str(told)[:50]!r}, expected a whole number from "
            f"0 to {most}: it was not made by Sonic Signature, or was changed. Index into another "
            "warehouse."
        )
    return number
