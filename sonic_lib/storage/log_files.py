"""The files of a local Delta log: their names, the entries, and the checkpoints.

Someone else may have written them, so nothing is opened that is not a file of a sensible size, and
nothing is passed over: what this module cannot read, an engine with other rules might.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

LOG = "_delta_log"
POINTER = "_last_checkpoint"
_ENTRY = re.compile(r"([0-9]{20})\.json")
_CHECKPOINT = re.compile(r"([0-9]{20})\.checkpoint(?:\.([0-9]{10})\.([0-9]{10}))?\.parquet")
# What else Delta in Spark and delta-rs write.  No engine reads hidden files, except for checksums,
# or delta-rs' unfinished files, which end in # and a number.
_OTHER = re.compile(
    r"[0-9]{20}\.crc|_last_checkpoint|_last_vacuum_info|_commit_[0-9a-f-]{36}\.json\.tmp|\..*"
    r"|([0-9]{20}\.(json|crc|checkpoint(\.[0-9]{10}){0,2}\.parquet)|_[\w.-]+)#[0-9]+",
    re.DOTALL,
)
# Spark creates them; only catalogues and checkpoints of another format use them.
_EMPTY_FOLDERS = ("_staged_commits", "_sidecars", "_commits")
_MAX_BYTES = 1 << 30
_NO_FILE = "is not a regular file"


class BrokenFile(ValueError):
    """Raised when a file cannot be used; the text says why and follows the file's name."""


@dataclass(frozen=True)
class Log:
    """The files of a log.

    Attributes
    ----------
    entries : dict of int to Path
        By version.
    checkpoints : dict of int to list of Path
        Complete checkpoints, in one or more parts, by version.
    strange : dict of Path to str
        Files and folders that do not belong there, and what is wrong with them.
    """

    entries: dict[int, Path] = field(default_factory=dict)
    checkpoints: dict[int, list[Path]] = field(default_factory=dict)
    strange: dict[Path, str] = field(default_factory=dict)


def list_log(log: Path) -> Log:
    """List the folder of a log.

    Raises
    ------
    OSError
        If it cannot be listed.
    """
    found = Log()
    parts: dict[tuple[int, int], dict[int, Path]] = defaultdict(dict)
    with os.scandir(log) as listed:
        for entry in listed:
            file = log / entry.name
            if wrong := _what_is_strange(entry):
                found.strange[file] = wrong
            if match := _ENTRY.fullmatch(entry.name):
                found.entries[int(match[1])] = file
            elif match := _CHECKPOINT.fullmatch(entry.name):
                version, part, n_parts = (int(number or 0) for number in match.groups())
                parts[version, n_parts][part] = file
    for (version, n_parts), files in parts.items():
        if not n_parts or (len(files) == n_parts and min(files) == 1 and max(files) == n_parts):
            found.checkpoints.setdefault(version, []).extend(files.values())
    return found


def _what_is_strange(entry: os.DirEntry[str]) -> str | None:
    if entry.is_symlink():
        return "is a link, which may lead out of the table's folder"
    if entry.name in _EMPTY_FOLDERS:
        with suppress(OSError):  # not a folder, or gone
            if not os.listdir(entry.path):
                return None
        return "is not an empty folder, as Spark creates it for the tables of Sonic Signature"
    if not any(name.fullmatch(entry.name) for name in (_ENTRY, _CHECKPOINT, _OTHER)):
        return "is not a file that Sonic Signature writes, and may name files of others"
    if entry.is_file(follow_symlinks=False):
        return None
    # Jupyter, for one, creates hidden folders; Hadoop would take one for a file's checksums.
    is_hidden = entry.name.startswith(".") and not entry.name.endswith(".crc")
    return None if is_hidden and entry.is_dir() else _NO_FILE


def has_version(place: str) -> bool:
    """Whether a folder has a log with an entry or a checkpoint."""
    try:
        found = list_log(Path(place, LOG))
    except OSError:
        return False
    return bool(found.entries or found.checkpoints)


def last_version(place: str) -> int:
    """Return the number of the latest commit of a folder that has one."""
    found = list_log(Path(place, LOG))
    return max([*found.entries, *found.checkpoints])


@contextmanager
def opened(file: Path, *, max_bytes: int | None = _MAX_BYTES) -> Iterator[BinaryIO]:
    """Open a regular file, neither through a link nor waiting at a pipe.

    Raises
    ------
    BrokenFile
        If it is something else, or too large.
    OSError
        If it cannot be opened.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise BrokenFile(_NO_FILE) from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BrokenFile(_NO_FILE)
        if max_bytes is not None and status.st_size > max_bytes:
            raise BrokenFile(f"has {status.st_size:,} bytes, expected {max_bytes:,} at most")
        with open(descriptor, "rb", closefd=False) as content:
            yield content
    finally:
        os.close(descriptor)


def actions_in(file: Path) -> list[dict[str, Any]]:
    """Return the actions of an entry.

    Engines differ in what they take for JSON, so only what all of them read alike is accepted.

    Raises
    ------
    BrokenFile
        If it is not one JSON object with known values on each line.
    OSError
        If it cannot be opened.
    """
    with opened(file) as lines:
        actions = [_action(line, number) for number, line in enumerate(lines, 1)]
    if not actions:
        raise BrokenFile("is empty")
    return actions


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object with the same key twice, of which engines take the first or the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_without_doubles)


def _action(line: bytes, number: int) -> dict[str, Any]:
    where = f"is broken at line {number}"
    try:
        text = line.decode().rstrip("\r\n")
        if "\r" in text:  # where other readers begin a new line
            raise ValueError(text)
        action = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise BrokenFile(f"{where}: it is truncated, or not JSON") from error
    if not isinstance(action, dict):
        raise BrokenFile(f"{where}: it is not a Delta action")
    for kind in ("add", "remove", "cdc"):
        if kind in action and not _has_path(action[kind]):
            raise BrokenFile(f"{where}: its {kind} names no file")
    if "sidecar" in action:
        raise BrokenFile(f"{where}: it refers to a further file of actions")
    return action


def _has_path(action: object) -> bool:
    return isinstance(action, dict) and isinstance(action.get("path"), str) and bool(action["path"])


def live_in(files: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Return what a checkpoint says about the live data files, by path.

    Parameters
    ----------
    files : sequence of Path
        Its parts.

    Returns
    -------
    dict of str to dict
        path, size and deletionVector.

    Raises
    ------
    BrokenFile
        If it is not a checkpoint that our engines write.
    OSError
        If it cannot be opened.
    """
    rows = [row for file in files for row in _rows_of(file)]
    if not all(any(row.get(kind) for row in rows) for kind in ("protocol", "metaData")):
        raise BrokenFile("is not a checkpoint: it lacks the table's protocol or its columns")
    if any(row.get("sidecar") for row in rows):
        raise BrokenFile("refers to further files of actions, which Sonic Signature never writes")
    adds = [row["add"] for row in rows if row.get("add") is not None]
    if not all(map(_has_path, adds)):
        raise BrokenFile("is not a checkpoint: an action names no file")
    return {add["path"]: add for add in adds}


# Not read_table's columns, which may flatten the structs.
_COLUMNS = [
    *(f"add.{name}" for name in ("path", "size", "deletionVector")),
    *("protocol.minReaderVersion", "metaData.id", "sidecar.path"),
]


def _rows_of(checkpoint: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with opened(checkpoint) as content:
        try:
            table = pq.ParquetFile(content)
            missing = {"add", "protocol", "metaData"} - {*table.schema_arrow.names}
            if missing:
                raise BrokenFile(f"is not a checkpoint: it lacks {', '.join(sorted(missing))}")
            return table.read(columns=_COLUMNS).to_pylist()
        except BrokenFile:
            raise
        except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
            reason = str(error).strip().split("\n")[0].rstrip(".")
            raise BrokenFile(f"cannot be read ({reason})") from error
