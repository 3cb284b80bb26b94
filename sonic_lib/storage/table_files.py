"""Check the files of a local warehouse against their tables' logs, without Spark.

Engines report broken files unclearly, or not at all.  Here damage is found by replaying the log as
Delta's protocol prescribes: the newest checkpoint, the entries since, the data files they leave.
"""

from __future__ import annotations

import json
import os
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from sonic_lib.errors import TableError
from sonic_lib.spark.folders import walk
from sonic_lib.storage.locks import writing
from sonic_lib.storage.log_files import CHECKPOINT, ENTRY, LOG, by_version, live_in
from sonic_lib.storage.own_files import is_behind_link, is_own

DAMAGED = "_damaged"
_FROM_BACKUP = "Put the file back from a backup"
# Tables that can only be rebuilt by indexing again.
_INDEX = ("songs", "song_files", "fingerprints")


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


def find_damage(warehouse: str, names: Iterable[str]) -> list[Damage]:
    """Check the files of some tables of a local warehouse; missing tables are skipped."""
    return [
        damage
        for name in names
        if (Path(warehouse) / name).is_dir()
        for damage in _of_table(Path(warehouse) / name)
    ]


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
                    os.replace(file, folder / f"{Path(file).name}.{time.time_ns()}")


def _of_table(place: Path) -> Iterator[Damage]:
    log = place / LOG
    name = place.name
    recreate = (
        "move the warehouse away and index the folders again"
        if name in _INDEX
        else "move the folder of the table away; it will be created again"
    )
    entries = by_version(log, ENTRY)
    checkpoints = by_version(log, CHECKPOINT)
    if not entries and not checkpoints:
        if any(entry.name.endswith(".parquet") for entry in walk(place)):
            what = "is missing or empty, so the table's current files are unknown"
            yield Damage(name, None, str(log), what, f"{_FROM_BACKUP}, or {recreate}")
        return
    last = max([*entries, *checkpoints])
    base, live, damages = _base(name, log, entries, checkpoints, recreate)
    yield from damages
    if base is None:
        return
    is_readable = True
    for version in range(base + 1, last + 1):
        file = entries.get(version)
        if file is None:
            missing = str(log / f"{version:020}.json")
            what = "is missing, and no checkpoint replaces it"
            yield Damage(name, version, missing, what, f"{_FROM_BACKUP}, or {recreate}")
            is_readable = False
            continue
        actions, wrong = _actions(file)
        if wrong:
            yield _broken_entry(name, version, file, wrong, recreate, is_last=version == last)
            is_readable = False
            continue
        yield from _checksum(name, version, file)
        for action in actions:
            if "add" in action:
                live[action["add"]["path"]] = (version, action["add"].get("size"))
            elif "remove" in action:
                live.pop(action["remove"]["path"], None)
    strange = {path for path in live if not is_own(path)}
    known: dict[str, bool] = {}
    strange |= {p for p in live if p not in strange and is_behind_link(place, p, known=known)}
    for path in sorted(strange):
        yield _outside(name, log, live.pop(path)[0], path, recreate, last=last)
    if is_readable:
        yield from _data(place, live)


def _base(
    name: str, log: Path, entries: dict[int, Path], checkpoints: dict[int, Path], recreate: str
) -> tuple[int | None, dict, list[Damage]]:
    """Return the version after which replay begins, its live files, and broken checkpoints."""
    damages = []
    pointer = log / "_last_checkpoint"
    if pointer.exists():
        try:
            named = json.loads(pointer.read_text())["version"]
            is_there = named in checkpoints
        except (ValueError, KeyError, TypeError, OSError):
            is_there = False
        if not is_there:
            remedy = "`sonic maintain` moves it away: Delta then finds the newest checkpoint itself"
            what = "is broken, or names a checkpoint that is missing"
            damages.append(Damage(name, None, str(pointer), what, remedy, _with_checksum(pointer)))
    for version in sorted(checkpoints, reverse=True):
        try:
            sizes = live_in(checkpoints[version])
            return version, {path: (None, size) for path, size in sizes.items()}, damages
        except (OSError, ValueError) as error:  # Arrow's errors are ValueErrors
            file = checkpoints[version]
            is_spare = all(v in entries for v in range(version + 1))
            remedy = "`sonic maintain` moves it away: the log's entries have the same content"
            damages.append(
                Damage(
                    name,
                    version,
                    str(file),
                    f"cannot be read ({_first_line(error)})",
                    remedy if is_spare else f"{_FROM_BACKUP}, or {recreate}",
                    _with_checksum(file, pointer) if is_spare else (),
                )
            )
            if not is_spare:
                return None, {}, damages
    if 0 not in entries:
        first = log / f"{0:020}.json"
        what = "is missing: it declares the table's columns"
        damages.append(Damage(name, 0, str(first), what, f"{_FROM_BACKUP}, or {recreate}"))
        return None, {}, damages
    return -1, {}, damages


def _actions(file: Path) -> tuple[list[dict], str | None]:
    """Return the actions of an entry, or what is wrong with it."""
    try:
        text = file.read_bytes()
    except OSError as error:
        return [], f"cannot be read ({error.strerror})"
    if not text.strip():
        return [], "is empty"
    actions = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            action = json.loads(line)
        except ValueError:
            return [], f"is broken at line {number}: it is truncated, or not JSON"
        if not isinstance(action, dict):
            return [], f"is broken at line {number}: it is not a Delta action"
        actions.append(action)
    return actions, None


def _broken_entry(
    name: str, version: int, file: Path, wrong: str, recreate: str, *, is_last: bool
) -> Damage:
    if is_last:
        remedy = (
            f"{_FROM_BACKUP}; else `sonic maintain` moves it away, which returns the table to "
            f"version {version - 1}: repeat the command that wrote last"
        )
        if version > 0:
            aside = _with_checksum(file, file.with_suffix(".crc"))
            return Damage(name, version, str(file), wrong, remedy, aside)
    remedy = f"{_FROM_BACKUP} (later versions build on it), or {recreate}"
    return Damage(name, version, str(file), wrong, remedy)


def _outside(
    name: str, log: Path, version: int | None, path: str, recreate: str, *, last: int
) -> Damage:
    """Report a path outside of the table's folder; the file is neither read nor moved."""
    what = f"refers to a file outside of the table's folder, by path or by link ({path})"
    file = log / f"{last if version is None else version:020}.json"
    if version is None or version != last or not version:
        remedy = f"Check who can write there. {_FROM_BACKUP}, or {recreate}"
        return Damage(name, version, str(file), what, remedy)
    remedy = (
        "Check who can write there. `sonic maintain` moves the entry away, which returns the table "
        f"to version {version - 1}"
    )
    return Damage(name, version, str(file), what, remedy, _with_checksum(file))


def _checksum(name: str, version: int, file: Path) -> Iterator[Damage]:
    """Compare an entry with Hadoop's checksum file, if there is one."""
    sums = file.with_name(f".{file.name}.crc")
    if not sums.exists() or _has_sums(file.read_bytes(), sums.read_bytes()):
        return
    remedy = (
        "`sonic maintain` moves the checksums away, and Spark then reads the entry as delta-rs "
        "does; see with `sonic maintain --check` what is missing, and index again"
    )
    what = "does not match its entry: it belongs to another commit, or the entry was changed"
    yield Damage(name, version, str(sums), what, remedy, (str(sums),))


def _has_sums(content: bytes, sums: bytes) -> bool:
    if sums[:4] != b"crc\0" or len(sums) < 8:
        return False
    size = struct.unpack(">i", sums[4:8])[0]
    if size <= 0:
        return False
    parts = (content[i : i + size] for i in range(0, len(content), size))
    return sums[8:] == b"".join(struct.pack(">I", zlib.crc32(part)) for part in parts)


def _data(place: Path, live: dict) -> Iterator[Damage]:
    remedy = (
        f"{_FROM_BACKUP}, or restore an earlier version with `sonic maintain --restore-to TIME`; "
        "else `sonic maintain` drops it from the table, and `sonic index` reads the songs again"
    )
    for path, (version, size_bytes) in live.items():
        file = place / unquote(path)
        wrong = _wrong_data(file, size_bytes)
        if wrong:
            aside = _with_checksum(file)
            yield Damage(place.name, version, str(file), wrong, remedy, aside, is_data=True)


def _wrong_data(file: Path, size_bytes: int | None) -> str | None:
    try:
        n_bytes = file.stat().st_size
        if size_bytes is not None and n_bytes != size_bytes:
            return f"has {n_bytes} bytes, but the log says {size_bytes}"
        with file.open("rb") as opened:
            head = opened.read(4)
            opened.seek(-4, os.SEEK_END)
            is_whole = head == opened.read(4) == b"PAR1"
        return None if is_whole else "is not a Parquet file any more"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _with_checksum(*files: Path) -> tuple[str, ...]:
    """The files that exist, and their Hadoop checksum files."""
    both = (part for file in files for part in (file, file.with_name(f".{file.name}.crc")))
    return tuple(str(part) for part in both if os.path.lexists(part))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
