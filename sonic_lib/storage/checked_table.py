"""A table whose files are being checked, and what is known about it so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sonic_lib.storage.damage import Damage
from sonic_lib.storage.log_files import LOG, Log
from sonic_lib.storage.own_files import foreign_path

FROM_BACKUP = "Put the file back from a backup"
# Tables that can only be rebuilt by indexing again.
_INDEX = ("songs", "song_files", "fingerprints")


@dataclass
class CheckedTable:
    """One table, and what is known about it so far.

    Attributes
    ----------
    place : Path
        Its folder.
    listed : Log
        The files of its log.
    live : dict
        Its current data files: by path, the version and the action that added them.
    is_known : bool
        Whether all of the log could be read, so that `live` is complete.
    """

    place: Path
    listed: Log = field(default_factory=Log)
    live: dict[str, tuple[int | None, dict[str, Any]]] = field(default_factory=dict)
    is_known: bool = True
    _folders: dict[str, bool] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name."""
        return self.place.name

    @property
    def log(self) -> Path:
        """Folder of its log."""
        return self.place / LOG

    @property
    def last(self) -> int:
        """Its latest version; there must be one."""
        return max([*self.listed.entries, *self.listed.checkpoints])

    @property
    def recreate(self) -> str:
        """What to do if there is no backup."""
        return (
            "move the warehouse away and index the folders again"
            if self.name in _INDEX
            else "move the folder of the table away; it will be created again"
        )

    def lost(self, version: int | None, file: Path, what: str, *, remedy: str = "") -> Damage:
        """Describe damage that only a backup repairs."""
        remedy = f"{remedy}{FROM_BACKUP}, or {self.recreate}"
        return Damage(self.name, version, str(file), what, remedy)

    def has_entries(self, until: int) -> bool:
        """Whether all entries up to a version exist."""
        return all(version in self.listed.entries for version in range(until + 1))

    def foreign(self, action: dict[str, Any]) -> str | None:
        """Return the path by which an action leads out of the table's folder, if one does."""
        return foreign_path(self.place, action, known=self._folders)
