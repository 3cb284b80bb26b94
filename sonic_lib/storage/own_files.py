"""Reject tables that refer to files outside of their folder, by path or by link.

An entry of a log may name any path, and Delta's vacuum follows links, so anyone who can write to a
shared warehouse could otherwise make other users read, rewrite or delete files of their own.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

from sonic_lib.errors import TableError
from sonic_lib.spark.folders import walk
from sonic_lib.storage.log_files import CHECKPOINT, ENTRY, LOG, by_version, live_in

_URI = re.compile(r"[A-Za-z][\w+.-]*:")

# By table: the last version checked and the inode of its entry.  Logs only grow.
_seen: dict[str, tuple[int, int]] = {}


def is_own(path: str) -> bool:
    """Whether a path, as written in a log, lies in the table's folder.

    Examples
    --------
    >>> is_own("hash_prefix=3/part-0.parquet")
    True
    >>> is_own("../../home/part-0.parquet"), is_own("%2E%2E/x"), is_own("file:/home/x")
    (False, False, False)
    """
    return not any(
        path_form.startswith("/") or _URI.match(path_form) or ".." in path_form.split("/")
        for path_form in (path, unquote(path))
    )


def is_behind_link(place: Path, path: str, *, known: dict[str, bool]) -> bool:
    """Whether a file of a table, or a folder on the way to it, is a link.

    Parameters
    ----------
    known : dict
        Cache of folders already checked; updated here.
    """
    file = os.path.join(place, unquote(path))
    folder = os.path.dirname(file)
    if folder not in known:
        wanted = os.path.join(os.path.realpath(place), os.path.relpath(folder, place))
        known[folder] = os.path.realpath(folder) != os.path.normpath(wanted)
    return known[folder] or os.path.islink(file)


def check_files(place: str) -> None:
    """Reject a local table that refers to files outside of its folder.

    Each log entry is checked once per process.  An unreadable log is left to the engine that reads
    the table.

    Raises
    ------
    TableError
    """
    folder = Path(place)
    log = folder / LOG
    if not log.is_dir():
        return
    if log.is_symlink():
        raise _refused(log)
    key = os.path.realpath(place)
    known: dict[str, bool] = {}
    last, inode = _seen.get(key, (-1, 0))
    if inode != _inode(log, last):  # the table was moved away or recreated
        last = -1
    for version, paths in _added(log, after=last):
        for path in paths:
            if not is_own(path) or is_behind_link(folder, path, known=known):
                raise _refused(os.path.join(place, unquote(path)) if is_own(path) else path)
        last = max(last, version)
    _seen[key] = last, _inode(log, last)


def check_links(place: str) -> None:
    """Reject a local table with a link anywhere in its folder, before files in it are deleted.

    Raises
    ------
    TableError
    """

    def raise_it(error: OSError) -> None:
        raise TableError(
            f"{error.filename} cannot be listed ({error.strerror}), so nothing was deleted. Make "
            "the folder readable, or move it out of the warehouse."
        ) from error

    for entry in walk(place, onerror=raise_it):
        if entry.is_symlink():
            raise _refused(entry.path)


def _inode(log: Path, version: int) -> int:
    try:
        return os.stat(log / f"{version:020}.json").st_ino
    except OSError:
        return 0


def _added(log: Path, *, after: int) -> Iterator[tuple[int, list[str]]]:
    """Yield versions and the paths they add, from the newest checkpoint or after a version."""
    entries = by_version(log, ENTRY)
    checkpoints = {v: file for v, file in by_version(log, CHECKPOINT).items() if v > after}
    if checkpoints:
        newest = max(checkpoints)
        with suppress(OSError, ValueError):
            paths = [*live_in(checkpoints[newest])]
            after = newest
            yield newest, paths
    for version in sorted(v for v in entries if v > after):
        yield version, list(_in_entry(entries[version]))


def _in_entry(file: Path) -> Iterator[str]:
    try:
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                if '"add"' not in line and "\\u" not in line:
                    continue
                action = json.loads(line)
                add = action.get("add") if isinstance(action, dict) else None
                if isinstance(add, dict) and isinstance(add.get("path"), str):
                    yield add["path"]
    except (OSError, ValueError):
        return


def _refused(found: object) -> TableError:
    return TableError(
        f"A table of this warehouse refers to a file outside of its folder ({found}), which Sonic "
        "Signature never does. Nothing was read or deleted. Check who can write to the warehouse; "
        "`sonic maintain --check` names the version."
    )
