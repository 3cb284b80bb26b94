"""Damage to table files is reported with the version, the file and the remedy."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from sonic_lib.storage import delta_rs
from sonic_lib.storage.checksums import matches, sums_of
from sonic_lib.storage.damage import DAMAGED, move_aside
from sonic_lib.storage.table_files import find_damage

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
    n_chunks = -(-file.stat().st_size // 512)
    sums.write_bytes(b"crc\0\0\0\x02\0" + bytes(4 * n_chunks))
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


def instead(file: Path, text: str | bytes) -> Path:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def action(**kinds: object) -> Callable[[Path], Path]:
    """Replace the last entry by an action."""
    return lambda lake: instead(log_file(lake, 2), json.dumps(kinds))


def pipe(file: Path) -> Path:
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    return file


def sparse(file: Path) -> Path:
    os.truncate(file, 12 << 40)
    return file


def folder(file: Path) -> Path:
    file.mkdir()
    return file


def other_checkpoint(lake: Path) -> Path:
    return Path(shutil.copy(data_file(lake), log_file(lake, 2, ".checkpoint.parquet")))


def piped_checkpoint(lake: Path) -> Path:
    return pipe(log_file(lake, 2, ".checkpoint.parquet"))


def no_columns(lake: Path) -> Path:
    first = log_file(lake, 0)
    lines = first.read_text().splitlines(keepends=True)
    return instead(first, "".join(line for line in lines if "metaData" not in line))


def far_entry(lake: Path) -> Path:
    shutil.copy(log_file(lake, 2), log_file(lake, 200_000))
    return log_file(lake, 3)


def checkpoint_sums(lake: Path) -> Path:
    deltalake.DeltaTable(str(lake / "songs")).create_checkpoint()
    return wrong_sums(log_file(lake, 2, ".checkpoint.parquet"))


def pointer_sums(lake: Path) -> Path:
    deltalake.DeltaTable(str(lake / "songs")).create_checkpoint()
    return wrong_sums(lake / "songs/_delta_log/_last_checkpoint")


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
    "a data file is a pipe": (lambda lake: pipe(data_file(lake)), None, True),
    "a data file is endless": (lambda lake: sparse(data_file(lake)), None, True),
    "last entry adds null": (action(add=None), 2, True),
    "last entry adds a text": (action(add="x"), 2, True),
    "last entry adds without a path": (action(add={"size": 1}), 2, True),
    "last entry adds a number": (action(add={"path": 7}), 2, True),
    "last entry removes null": (action(remove=None), 2, True),
    "last entry nested": (lambda lake: instead(log_file(lake, 2), '{"a":' * 100_000), 2, True),
    "last entry is no text": (lambda lake: instead(log_file(lake, 2), b"{\xff}"), 2, True),
    "last entry is a pipe": (lambda lake: pipe(log_file(lake, 2)), 2, True),
    "last entry is endless": (lambda lake: sparse(log_file(lake, 2)), 2, True),
    "an entry before is a pipe": (lambda lake: pipe(log_file(lake, 1)), 1, False),
    "entries far ahead": (far_entry, 3, False),
    "no columns declared": (no_columns, 0, False),
    "another file as checkpoint": (other_checkpoint, 2, True),
    "a checkpoint is a pipe": (
        lambda lake: pipe(log_file(lake, 2, ".checkpoint.parquet")),
        2,
        True,
    ),
    "a folder as sums": (lambda lake: folder(sums_of(log_file(lake, 2))), 2, True),
    "a pipe as sums": (lambda lake: pipe(sums_of(log_file(lake, 2))), 2, True),
    "a pipe as version checksum": (lambda lake: pipe(log_file(lake, 1, ".crc")), 1, True),
    "another checkpoint's sums": (checkpoint_sums, 2, True),
    "another pointer's sums": (pointer_sums, None, True),
    "another data file's sums": (lambda lake: wrong_sums(data_file(lake)), None, True),
    "a folder of commits": (lambda lake: folder(lake / "songs/_delta_log/x"), None, True),
    "a log that is a file": (lambda lake: instead(no_log(lake), b"x"), None, False),
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


def test_checksums_match_hadoop(tmp_path):
    # Of "x" * 600 in chunks of 512 bytes, as Hadoop wrote them.
    content = b"x" * 600
    file, sums = tmp_path / "rows", tmp_path / ".rows.crc"
    file.write_bytes(content)
    chunks = zlib.crc32(content[:512]), zlib.crc32(content[512:])
    sums.write_bytes(b"crc\0" + struct.pack(">iII", 512, *chunks))
    assert matches(file, sums)
    file.write_bytes(content[1:])
    assert not matches(file, sums)
    sums.write_bytes(b"")
    assert not matches(file, sums)


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


def test_one_damage_names_all_versions_of_a_gap(lake):
    far_entry(lake)
    [found] = find_damage(str(lake), ["songs"])
    assert "(versions 3 to 199999)" in str(found)


def test_files_of_a_kind_are_one_damage(lake):
    for number in range(50):
        (lake / f"songs/_delta_log/{number}.json").touch()
    lines = [json.dumps({"add": {"path": f"/{number}", "size": 1}}) for number in range(30)]
    instead(log_file(lake, 2), "\n".join(lines))
    outside, strange = find_damage(str(lake), ["songs"])
    assert "(/0, and 29 more)" in str(outside)
    assert "(50 such files)" in str(strange)
    move_aside(str(lake), [outside, strange])
    assert find_damage(str(lake), ["songs"]) == []


def test_entry_that_leads_outside_is_moved_with_its_version_checksum(lake):
    entry = {"add": {"path": "/x", "size": 1}}
    instead(log_file(lake, 2), json.dumps(entry))
    files = [log_file(lake, 2), log_file(lake, 2, ".crc"), sums_of(log_file(lake, 2, ".crc"))]
    for file in files[1:]:
        file.touch()
    [found] = find_damage(str(lake), ["songs"])
    assert found.aside == tuple(map(str, files))


def test_correct_sums_are_accepted_for_files_of_any_size(lake):
    for file in (data_file(lake), log_file(lake, 2)):
        content = file.read_bytes()
        chunks = [zlib.crc32(content[i : i + 16]) for i in range(0, len(content), 16)]
        sums_of(file).write_bytes(b"crc\0" + struct.pack(f">i{len(chunks)}I", 16, *chunks))
    assert find_damage(str(lake), ["songs"]) == []
    large = lake / "large"
    content = os.urandom((3 << 20) + 5)
    large.write_bytes(content)
    chunks = [zlib.crc32(content[i : i + 512]) for i in range(0, len(content), 512)]
    sums_of(large).write_bytes(b"crc\0" + struct.pack(f">i{len(chunks)}I", 512, *chunks))
    assert matches(large, sums_of(large))
    large.write_bytes(content[:-1] + b"x" if content[-1:] != b"x" else content[:-1] + b"y")
    assert not matches(large, sums_of(large))


@pytest.mark.parametrize("path", ["a\0b", "a\ud800b", "a" * 5_000, "a/" * 3_000 + "b"])
def test_impossible_paths_are_reported(lake, path):
    action(add={"path": path, "size": 1})(lake)
    found = find_damage(str(lake), ["songs"])
    assert found
    assert all(damage.can_be_repaired for damage in found)


def test_commit_without_spark_leaves_no_wrong_sums(lake):
    """Every hundredth commit, delta-rs replaces the pointer that Spark wrote with checksums."""
    sums = pointer_sums(lake)
    delta_rs.append([{"song_id": 3}], str(lake), "songs")
    assert not sums.exists()
    assert find_damage(str(lake), ["songs"]) == []
