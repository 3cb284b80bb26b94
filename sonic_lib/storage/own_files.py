"""Refuse tables that name files outside of their folder, or lead there by links.

Whoever can write to a shared warehouse could otherwise have others read, rewrite or delete files
that only they may: an entry of a log may name any path, and Delta's vacuum follows links.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from sonic_lib.errors import TableError

LOG = "_delta_log"
ENTRY = re.compile(r"(\d{20})\.json")
CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\..*parquet")
_URI = re.compile(r"[A-Za-z][\w+.-]*:")

# Logs only grow: the last version that was looked at, and its file's inode, by table.
_seen: dict[str, tuple[int, int]] = {}


def is_own(path: str) -> bool:
    """Whether a path of a log, as it stands there, lies in the table's folder.

    Examples
    --------
    >>> is_own("hash_prefix=3/part-0.parquet")
    True
    >>> is_own("../../home/part-0.parquet"), is_own("%2E%2E/x"), is_own("file:/home/x")
    (False, False, False)
    """
    return not any(
        told.startswith("/") or _URI.match(told) or ".." in told.split("/")
        for told in (path, unquote(path))
    )


def is_led_away(place: Path, path: str, *, known: dict[str, bool]) -> bool:
    """Whether a link leads from a table's folder to a file, or to a folder on the way.

    Parameters
    ----------
    known : dict
        Folders that were looked at; filled here.
    """
    file = os.path.join(place, unquote(path))
    folder = os.path.dirname(file)
    if folder not in known:
        wanted = os.path.join(os.path.realpath(place), os.path.relpath(folder, place))
        known[folder] = os.path.realpath(folder) != os.path.normpath(wanted)
    return known[folder] or os.path.islink(file)


def check_files(place: str) -> None:
    """Refuse a local table that names, or leads to, files outside of its folder.

    What was looked at once in this process is not looked at again. A log that cannot be read is
    left to whoever reads the table.

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
    if inode != _inode(log, last):  # moved away, or made anew
        last = -1
    for version, paths in _added(log, after=last):
        for path in paths:
            if not is_own(path) or is_led_away(folder, path, known=known):
                raise _refused(os.path.join(place, unquote(path)) if is_own(path) else path)
        last = max(last, version)
    _seen[key] = last, _inode(log, last)


def check_links(place: str) -> None:
    """Refuse a local table with a link anywhere in its folder, before files in it are deleted.

    Raises
    ------
    TableError
    """

    def raise_it(error: OSError) -> None:
        raise TableError(f"{error.filename} cannot be listed ({error.strerror}).") from error

    for folder, folders, files in os.walk(place, onerror=raise_it):
        for name in (*folders, *files):
            if os.path.islink(os.path.join(folder, name)):
                raise _refused(os.path.join(folder, name))


def _inode(log: Path, version: int) -> int:
    try:
        return os.stat(log / f"{version:020}.json").st_ino
    except OSError:
        return 0


def _added(log: Path, *, after: int) -> Iterator[tuple[int, list[str]]]:
    """Paths that a log adds, by version: from the newest checkpoint, or after what is known."""
    names = os.listdir(log)
    entries = _versions(names, ENTRY)
    checkpoints = {v: name for v, name in _versions(names, CHECKPOINT).items() if v > after}
    if checkpoints:
        newest = max(checkpoints)
        paths = _in_checkpoint(log / checkpoints[newest])
        if paths is not None:
            after = newest
            yield newest, paths
    for version in sorted(v for v in entries if v > after):
        yield version, list(_in_entry(log / entries[version]))


def _versions(names: list[str], pattern: re.Pattern) -> dict[int, str]:
    matches = ((pattern.fullmatch(name), name) for name in names)
    return {int(match[1]): name for match, name in matches if match}


def _in_checkpoint(file: Path) -> list[str] | None:
    import pyarrow.parquet as pq

    try:
        # Not by read_table, which may flatten the struct column.
        adds = pq.ParquetFile(file).read(columns=["add.path"])["add"].to_pylist()
    except (OSError, ValueError, KeyError):
        return None
    return [add["path"] for add in adds if add and add["path"]]


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
        f"A table of this warehouse leads out of its folder ({found}), which no command of ours "
        "makes: its files would be another's. Nothing of it was read or deleted. See who may write "
        "to the warehouse; `sonic maintain --check` names the version."
    )
