"""Damage to table files is reported with the version, the file and the remedy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sonic_lib.storage.table_files import DAMAGED, _has_sums, find_damage, move_aside

pa = pytest.importorskip("pyarrow")
deltalake = pytest.importorskip("deltalake")


@pytest.fixture
def lake(tmp_path) -> Path:
    """Songs in three commits, the second of which is also a checkpoint."""
    warehouse = tmp_path / "lake"
    for number in range(3):
        rows = pa.table({"song_id": pa.array([number], pa.int64())})
        deltalake.write_deltalake(str(warehouse / "songs"), rows, mode="append")
    return warehouse


def log_file(lake: Path, version: int, suffix: str = ".json") -> Path:
    return lake / "songs/_delta_log" / f"{version:020}{suffix}"


def data_file(lake: Path) -> Path:
    return sorted((lake / "songs").glob("*.parquet"))[0]


def cut(file: Path, share: float = 0.5) -> Path:
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    return file


def gone(file: Path) -> Path:
    file.unlink()
    return file


def wrong_sums(file: Path) -> Path:
    sums = file.with_name(f".{file.name}.crc")
    sums.write_bytes(b"crc\0\0\0\x02\0" + bytes(4))
    return sums


def no_log(lake: Path) -> Path:
    shutil.rmtree(lake / "songs/_delta_log")
    return lake / "songs/_delta_log"


def wrong_pointer(lake: Path) -> Path:
    pointer = lake / "songs/_delta_log/_last_checkpoint"
    pointer.write_text('{"version": 17')
    return pointer


def cut_checkpoint(lake: Path) -> Path:
    deltalake.DeltaTable(str(lake / "songs")).create_checkpoint()
    return cut(log_file(lake, 2, ".checkpoint.parquet"))


def overwritten(file: Path) -> Path:
    file.write_bytes(bytes(file.stat().st_size))
    return file


# What is damaged, the reported version, and whether `sonic maintain` can continue.
KINDS: dict[str, tuple[Callable[[Path], Path], int | None, bool]] = {
    "last entry cut": (lambda lake: cut(log_file(lake, 2)), 2, True),
    "last entry empty": (lambda lake: cut(log_file(lake, 2), 0), 2, True),
    "an entry before cut": (lambda lake: cut(log_file(lake, 1)), 1, False),
    "first entry gone": (lambda lake: gone(log_file(lake, 0)), 0, False),
    "an entry between gone": (lambda lake: gone(log_file(lake, 1)), 1, False),
    "another commit's sums": (lambda lake: wrong_sums(log_file(lake, 2)), 2, True),
    "no log": (no_log, None, False),
    "a checkpoint cut": (cut_checkpoint, 2, True),
    "a wrong pointer": (wrong_pointer, None, True),
    "a data file gone": (lambda lake: gone(data_file(lake)), None, True),
    "a data file cut": (lambda lake: cut(data_file(lake)), None, True),
    "a data file overwritten": (lambda lake: overwritten(data_file(lake)), None, True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_reported_with_version_file_and_remedy(lake, kind):
    damage, version, can_be_repaired = KINDS[kind]
    assert find_damage(str(lake), ["songs", "absent"]) == []
    file = damage(lake)
    [found] = find_damage(str(lake), ["songs", "absent"])
    assert (found.table, found.file) == ("songs", str(file))
    if version is not None:
        assert found.version == version
    assert found.can_be_repaired == can_be_repaired
    for words in (str(file), "backup" if not can_be_repaired else "sonic maintain"):
        assert words in str(found)
    if found.aside and not found.is_data:
        move_aside(str(lake), [found])
        assert find_damage(str(lake), ["songs"]) == []
        assert list((lake / DAMAGED / "songs").iterdir())
        rows = deltalake.DeltaTable(str(lake / "songs")).to_pyarrow_table().num_rows
        assert rows == (2 if kind.startswith("last entry") else 3)


def test_checksums_match_hadoop():
    # Of "x" * 600 in chunks of 512 bytes, as Hadoop wrote them.
    import struct
    import zlib

    content = b"x" * 600
    sums = b"crc\0" + struct.pack(">iII", 512, zlib.crc32(content[:512]), zlib.crc32(content[512:]))
    assert _has_sums(content, sums)
    assert not _has_sums(content[1:], sums)
    assert not _has_sums(content, b"")


def test_removed_files_may_be_missing(lake):
    name = data_file(lake).name
    entry = {"remove": {"path": name, "deletionTimestamp": 0, "dataChange": True}}
    log_file(lake, 3).write_text(json.dumps(entry) + "\n")
    data_file(lake).unlink()
    assert find_damage(str(lake), ["songs"]) == []


def test_table_without_a_log_is_found_in_deep_folders(lake, deep):
    no_log(lake)
    data_file(lake).rename(deep.joinpath(*["d"] * 1_050, "0.parquet"))
    for file in (lake / "songs").glob("*.parquet"):
        file.unlink()
    (deep / "d").rename(lake / "songs/d")
    [found] = find_damage(str(lake), ["songs"])
    assert "is missing or empty" in str(found)
