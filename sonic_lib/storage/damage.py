"""Damaged files of tables, and moving them out of the way."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sonic_lib.errors import TableError
from sonic_lib.storage.locks import writing

DAMAGED = "_damaged"
_MAX_NAME = 200  # bytes; a time is added, and file systems allow 255


@dataclass(frozen=True)
class Damage:
    """One broken file.

    Attributes
    ----------
    table : str
    version : int or None
        The commit it belongs to, if any.
    file : str
        Its path.
    what : str
        What is wrong with it.
    remedy : str
        What to do about it.
    aside : tuple of str
        Files that `move_aside` moves away.
    is_data : bool
        Whether rows are lost; a commit without them repairs the table.
    """

    table: str
    version: int | None
    file: str
    what: str
    remedy: str
    aside: tuple[str, ...] = ()
    is_data: bool = False

    @property
    def can_be_repaired(self) -> bool:
        """Whether `sonic maintain` can repair the table."""
        return bool(self.aside) or self.is_data

    def __str__(self) -> str:
        version = "" if self.version is None else f", version {self.version}"
        return f"{self.table}{version}: {self.file} {self.what}. {self.remedy}."


def move_aside(warehouse: str, found: Iterable[Damage]) -> None:
    """Move unreadable files below `_damaged` in the warehouse; nothing is deleted."""
    for damage in found:
        folder = Path(warehouse, DAMAGED, damage.table)
        for file in dict.fromkeys(damage.aside):
            with writing(warehouse, damage.table):
                folder.mkdir(parents=True, exist_ok=True)
                if folder.resolve() != Path(warehouse).resolve() / DAMAGED / damage.table:
                    raise TableError(
                        f"{folder} is a link to another place, so nothing was moved there. Remove "
                        "the link, and check who can write to the warehouse."
                    )
                if os.path.lexists(file):
                    name = os.fsdecode(os.fsencode(Path(file).name)[:_MAX_NAME])
                    os.replace(file, folder / f"{name}.{time.time_ns()}")
