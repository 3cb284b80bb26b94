"""Reject tables that refer to files outside of their folder, by path or by link.

An entry of a log may name any path, and Delta's vacuum follows links, so anyone who can write to a
shared warehouse could otherwise make other users read, rewrite or delete files of their own.
"""

from __future__ import annotations

import base64
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sonic_lib.errors import TableError
from sonic_lib.spark.folders import walk
from sonic_lib.storage.log_files import (
    LOG,
    POINTER,
    BrokenFile,
    Log,
    actions_in,
    list_log,
    live_in,
    opened,
)

_URI = re.compile(r"[A-Za-z][\w+.-]*:")
# Java ends a path at these; writers encode them.
_ENDS_PATH = re.compile(r"[?#\\]")
# No file can have such a name, and Python refuses to look for it.
_IMPOSSIBLE = re.compile("[\0\ud800-\udfff]")
_NO_NAMES = frozenset(("", ".", ".."))
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Delta writes UUIDs in Z85; Python reads the same numbers with other characters.
_Z85 = str.maketrans(
    f"{_DIGITS}.-:+=^!/*?&<>()[]{{}}@%$#",
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~",
)
_UUID_LENGTH = 20

# Files of logs that were checked, as they were then.
_seen: set[tuple] = set()


def is_own(path: str) -> bool:
    """Whether a path, as written in a log, lies in the table's folder.

    Examples
    --------
    >>> is_own("hash_prefix=3/part-0.parquet")
    True
    >>> is_own("../../home/part-0.parquet"), is_own("%2E%2E/x"), is_own("file:/home/x")
    (False, False, False)
    """
    if _ENDS_PATH.search(path) or not _is_below(path):
        return False
    return "%" not in path or _is_below(unquote(path))


def _is_below(path: str) -> bool:
    parts = path.split("/")
    leads_away = parts[0] == LOG or not _NO_NAMES.isdisjoint(parts) or _URI.match(path)
    return not leads_away and not _IMPOSSIBLE.search(path)


def _is_behind_link(place: Path, path: str, *, known: dict[str, bool]) -> bool:
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


def foreign_path(place: Path, action: dict[str, Any], *, known: dict[str, bool]) -> str | None:
    """Return the first path of an action that leads out of the table's folder, if one does.

    Parameters
    ----------
    action : dict
        A data file, with a path and perhaps a deletion vector.
    known : dict
        As in `_is_behind_link`.
    """
    for path in _paths_of(action):
        if not is_own(path):
            return path
        if _is_behind_link(place, path, known=known):
            return os.path.join(place, unquote(path))
    return None


def _paths_of(action: dict[str, Any]) -> Iterator[str]:
    yield action["path"]
    vector = action.get("deletionVector")
    if vector is None:
        return
    kind, text = (
        (vector.get("storageType"), vector.get("pathOrInlineDv"))
        if isinstance(vector, dict)
        else (None, None)
    )
    if kind == "i":
        return
    if kind != "u" or not isinstance(text, str):  # "p" is an absolute path
        yield f"/{text}"
        return
    prefix, code = text[:-_UUID_LENGTH], text[-_UUID_LENGTH:]
    try:
        number = uuid.UUID(bytes=base64.b85decode(code.translate(_Z85)))
    except ValueError:
        yield f"/{text}"
        return
    yield f"{prefix}/deletion_vector_{number}.bin" if prefix else f"deletion_vector_{number}.bin"


def check_files(place: str) -> None:
    """Reject a local table that refers to files outside of its folder, or whose log is damaged.

    Each file of the log is checked once per process.

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
    try:
        listed = list_log(log)
    except OSError as error:
        raise _damaged(log, f"cannot be listed ({error.strerror})") from error
    for file, wrong in listed.strange.items():
        raise _damaged(file, wrong)
    _check_pointer(log / POINTER)
    known: dict[str, bool] = {}
    for files in _to_replay(listed):
        identity = tuple(map(_identity, files))
        if identity in _seen:
            continue
        for action in _named_in(files):
            if found := foreign_path(folder, action, known=known):
                raise _refused(found)
        if None not in identity:
            _seen.add(identity)


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


def _to_replay(listed: Log) -> Iterator[list[Path]]:
    """Yield what engines read: the newest checkpoint, and each entry after it."""
    newest = max(listed.checkpoints, default=-1)
    if listed.checkpoints:
        yield listed.checkpoints[newest]
    yield from ([listed.entries[version]] for version in sorted(listed.entries) if version > newest)


def _identity(file: Path) -> tuple | None:
    try:
        status = os.lstat(file)
    except OSError:
        return None
    times = status.st_mtime_ns, status.st_ctime_ns
    return str(file), status.st_dev, status.st_ino, status.st_size, *times


def _named_in(files: list[Path]) -> list[dict[str, Any]]:
    """Return what an entry or a checkpoint says about data files."""
    try:
        if files[0].suffix == ".parquet":
            return [*live_in(files).values()]
        actions = actions_in(files[0])
        return [action[kind] for action in actions for kind in ("add", "cdc") if kind in action]
    except FileNotFoundError:  # just deleted, so the engine cannot read it either
        return []
    except BrokenFile as error:
        raise _damaged(files[0], str(error)) from error
    except OSError as error:
        raise _damaged(files[0], f"cannot be read ({error.strerror})") from error


def _check_pointer(pointer: Path) -> None:
    """Reject a pointer that names further files; engines pass over one that is broken."""
    try:
        with opened(pointer) as opened_file:
            content = opened_file.read()
    except OSError:
        return
    except BrokenFile as error:
        raise _damaged(pointer, str(error)) from error
    if names_more_files(content):
        raise _damaged(pointer, NAMES_MORE)


NAMES_MORE = "names files of another kind of checkpoint, which Sonic Signature never writes"


def names_more_files(pointer: bytes) -> bool:
    """Whether the content of a pointer may name further files, in whatever notation."""
    return b"v2Checkpoint" in pointer or b"\\u" in pointer


def _refused(found: object) -> TableError:
    return TableError(
        f"A table of this warehouse refers to a file outside of its folder ({found}), which Sonic "
        "Signature never does. Nothing was read or deleted. Check who can write to the warehouse; "
        "`sonic maintain --check` names the version."
    )


def _damaged(file: Path, wrong: str) -> TableError:
    return TableError(
        f"The log of a table of this warehouse cannot be used: {file} {wrong}. Nothing was read or "
        "deleted. `sonic maintain --check` names each such file and what to do; if nobody damaged "
        "it by mistake, check who can write to the warehouse."
    )
