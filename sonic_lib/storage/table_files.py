"""Check the files of a local warehouse against their tables' logs, without Spark.

Engines report broken files unclearly, or not at all.  Here damage is found by replaying the log as
Delta's protocol prescribes: the newest checkpoint, the entries since, the data files they leave.
"""

from __future__ import annotations

import json
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sonic_lib.spark.folders import walk
from sonic_lib.storage.checked_table import FROM_BACKUP, CheckedTable
from sonic_lib.storage.checksums import sums_of, with_sums, wrong_sums
from sonic_lib.storage.damage import Damage
from sonic_lib.storage.log_files import (
    POINTER,
    BrokenFile,
    actions_in,
    list_log,
    live_in,
    opened,
)
from sonic_lib.storage.own_files import NAMES_MORE, names_more_files

_WHO = "Check who can write there"
_VERSION_DIGITS = 20


def find_damage(warehouse: str, names: Iterable[str]) -> list[Damage]:
    """Check the files of some tables of a local warehouse; missing tables are skipped."""
    places = (Path(warehouse) / name for name in names)
    return [
        damage for place in places if place.is_dir() for damage in _of_table(CheckedTable(place))
    ]


def _of_table(table: CheckedTable) -> Iterator[Damage]:
    log = table.log
    if log.is_symlink():
        what = "is a link, which may lead out of the warehouse, so the table is refused"
        yield table.lost(None, log, what, remedy=f"{_WHO}. ")
        return
    try:
        table.listed = list_log(log)
    except FileNotFoundError:
        pass
    except OSError as error:
        yield table.lost(None, log, f"cannot be listed ({error.strerror})")
        return
    has_version = table.listed.entries or table.listed.checkpoints
    found = [*(_of_log(table) if has_version else _no_log(table))]
    yield from found
    yield from _strange(table, known={damage.file for damage in found})


def _no_log(table: CheckedTable) -> Iterator[Damage]:
    table.is_known = False
    if any(entry.name.endswith(".parquet") for entry in walk(table.place)):
        what = "is missing or empty, so the table's current files are unknown"
        yield table.lost(None, table.log, what)


def _of_log(table: CheckedTable) -> Iterator[Damage]:
    yield from _pointer(table)
    base, damages = _base(table)
    yield from damages
    if base is None:
        table.is_known = False
        return
    yield from _entries(table, base)
    if table.is_known:
        yield from _data(table)


def _strange(table: CheckedTable, *, known: set[str]) -> Iterator[Damage]:
    """Report what does not belong in the log, which is moved only if the rest is complete.

    There may be hundreds of thousands of such files, so those of a kind are one damage.
    """
    kinds: dict[tuple[str, bool], list[Path]] = defaultdict(list)
    for file, what in sorted(table.listed.strange.items()):
        if str(file) not in known:
            is_spare = table.is_known and (_version_of(file) or 0) <= table.last
            kinds[what, is_spare].append(file)
    for (what, is_spare), files in kinds.items():
        first, version = files[0], _version_of(files[0])
        text = what if len(files) == 1 else f"{what} ({len(files)} such files)"
        if is_spare:
            remedy = f"`sonic maintain` moves it away: the table does not need it. {_WHO}"
            aside = tuple(map(str, files))
            yield Damage(table.name, version, str(first), text, remedy, aside)
        else:
            remedy = f"{_WHO}. If nobody needs it, delete it. "
            yield table.lost(version, first, text, remedy=remedy)


def _version_of(file: Path) -> int | None:
    digits = file.name[:_VERSION_DIGITS]
    return int(digits) if len(digits) == _VERSION_DIGITS and digits.isdecimal() else None


def _pointer(table: CheckedTable) -> Iterator[Damage]:
    pointer = table.log / POINTER
    if not os.path.lexists(pointer):
        return
    what = "is broken, or names a checkpoint that is missing"
    try:
        with opened(pointer) as content:
            text = content.read()
        is_there = json.loads(text)["version"] in table.listed.checkpoints
        wrong = NAMES_MORE if names_more_files(text) else None if is_there else what
    except (ValueError, KeyError, TypeError, OSError, RecursionError):
        wrong = what
    if wrong:
        remedy = "`sonic maintain` moves it away: Delta then finds the newest checkpoint itself"
        yield Damage(table.name, None, str(pointer), wrong, remedy, with_sums(pointer))
    else:
        yield from _sums(table, None, pointer)


def _base(table: CheckedTable) -> tuple[int | None, list[Damage]]:
    """Return the version after which replay begins, and broken checkpoints; fill `live`."""
    damages: list[Damage] = []
    for version, files in sorted(table.listed.checkpoints.items(), reverse=True):
        try:
            adds = live_in(files)
        except (OSError, ValueError) as error:
            what = _reason(error)
            if not table.has_entries(version):
                return None, [*damages, table.lost(version, files[0], what)]
            remedy = "`sonic maintain` moves it away: the log's entries have the same content"
            aside = with_sums(*files, table.log / POINTER)
            damages.append(Damage(table.name, version, str(files[0]), what, remedy, aside))
            continue
        damages += [damage for file in files for damage in _sums(table, version, file)]
        return version, [*damages, *_added(table, None, adds.values())]
    if 0 not in table.listed.entries:
        what = "is missing: it declares the table's columns"
        return None, [*damages, table.lost(0, table.log / f"{0:020}.json", what)]
    return -1, damages


def _entries(table: CheckedTable, base: int) -> Iterator[Damage]:
    """Replay the entries after a version."""
    expected = base + 1
    for version, file in sorted(table.listed.entries.items()):
        if version <= base:
            continue
        if version > expected:
            yield _gap(table, expected, version - 1)
            table.is_known = False
        expected = version + 1
        try:
            actions = actions_in(file)
            if version == 0 and not (_has(actions, "protocol") and _has(actions, "metaData")):
                raise BrokenFile("lacks the table's protocol or its columns")
        except (OSError, BrokenFile) as error:
            yield _broken_entry(table, version, file, _reason(error))
            table.is_known = False
            continue
        yield from _sums(table, version, file)
        for action in actions:
            if "remove" in action:
                table.live.pop(action["remove"]["path"], None)
        yield from _added(table, version, (action["add"] for action in actions if "add" in action))
        changes = [action["cdc"] for action in actions if "cdc" in action]
        yield from _outside(table, version, [*filter(None, map(table.foreign, changes))])


def _added(
    table: CheckedTable, version: int | None, adds: Iterable[dict[str, Any]]
) -> Iterator[Damage]:
    foreign = []
    for add in adds:
        if found := table.foreign(add):
            foreign.append(found)
        else:
            table.live[add["path"]] = (version, add)
    yield from _outside(table, version, foreign)


def _has(actions: list[dict], kind: str) -> bool:
    return any(isinstance(action.get(kind), dict) for action in actions)


def _gap(table: CheckedTable, first: int, last: int) -> Damage:
    what = "is missing, and no checkpoint replaces it"
    if last > first:
        what = (
            f"and all entries after it up to {last:020}.json are missing (versions {first} to "
            f"{last}), and no checkpoint replaces them"
        )
    return table.lost(first, table.log / f"{first:020}.json", what)


def _broken_entry(table: CheckedTable, version: int, file: Path, wrong: str) -> Damage:
    if version != table.last:
        remedy = f"{FROM_BACKUP} (later versions build on it), or {table.recreate}"
        return Damage(table.name, version, str(file), wrong, remedy)
    if version == 0:
        return table.lost(version, file, wrong)
    remedy = (
        f"{FROM_BACKUP}; else `sonic maintain` moves it away, which returns the table to "
        f"version {version - 1}: repeat the command that wrote last"
    )
    aside = with_sums(file, file.with_suffix(".crc"))
    return Damage(table.name, version, str(file), wrong, remedy, aside)


def _outside(table: CheckedTable, version: int | None, paths: list[str]) -> Iterator[Damage]:
    """Report paths outside of the table's folder; the files are neither read nor moved."""
    if not paths:
        return
    more = f", and {len(paths) - 1} more" if len(paths) > 1 else ""
    what = f"refers to a file outside of the table's folder, by path or by link ({paths[0]}{more})"
    file = table.log / f"{table.last if version is None else version:020}.json"
    if not version or version != table.last:
        yield table.lost(version, file, what, remedy=f"{_WHO}. ")
        return
    remedy = (
        f"{_WHO}. `sonic maintain` moves the entry away, which returns the table to version "
        f"{version - 1}"
    )
    aside = with_sums(file, file.with_suffix(".crc"))
    yield Damage(table.name, version, str(file), what, remedy, aside)


def _sums(table: CheckedTable, version: int | None, file: Path) -> Iterator[Damage]:
    """Compare a file with Hadoop's checksums, if there are any: Spark refuses it if they differ."""
    wrong = wrong_sums(file)
    if not wrong:
        return
    sums = str(sums_of(file))
    remedy = (
        "If there is a backup, put both files back. Else `sonic maintain` moves the checksums "
        "away, and Spark then reads the file as delta-rs does; see with `sonic maintain --check` "
        "what is missing, and index again"
    )
    what = f"{wrong}: it belongs to another commit, or one of the two was changed"
    yield Damage(table.name, version, sums, what, remedy, (sums,))


def _data(table: CheckedTable) -> Iterator[Damage]:
    remedy = (
        f"{FROM_BACKUP}, or restore an earlier version with `sonic maintain --restore-to TIME`; "
        "else `sonic maintain` drops it from the table, and `sonic index` reads the songs again"
    )
    for path, (version, action) in table.live.items():
        file = table.place / unquote(path)
        wrong = _wrong_data(file, action.get("size"))
        if wrong:
            aside = with_sums(file)
            yield Damage(table.name, version, str(file), wrong, remedy, aside, is_data=True)
        else:
            yield from _sums(table, version, file)


def _wrong_data(file: Path, size_bytes: object) -> str | None:
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            return "is not a regular file"
        if size_bytes is not None and status.st_size != size_bytes:
            return f"has {status.st_size} bytes, but the log says {size_bytes}"
        with file.open("rb") as content:
            head = content.read(4)
            content.seek(-4, os.SEEK_END)
            is_whole = head == content.read(4) == b"PAR1"
        return None if is_whole else "is not a Parquet file any more"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return _reason(error)


def _reason(error: Exception) -> str:
    return f"cannot be read ({error.strerror})" if isinstance(error, OSError) else str(error)
