"""A table that names files outside its folder, or leads there by links, is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sonic_lib.errors import SonicError, TableError
from sonic_lib.storage import delta_rs
from sonic_lib.storage.locks import FOLDER, writing
from sonic_lib.storage.log_files import has_version
from sonic_lib.storage.own_files import check_files, check_links
from sonic_lib.storage.table_files import DAMAGED, find_damage, move_aside

pa = pytest.importorskip("pyarrow")
deltalake = pytest.importorskip("deltalake")


@pytest.fixture
def lake(tmp_path) -> Path:
    """Songs in two commits, and a copy next to it that belongs to another user."""
    for place in ("lake", "private"):
        for number in range(2):
            rows = pa.table({"song_id": pa.array([number], pa.int64())})
            deltalake.write_deltalake(str(tmp_path / place / "songs"), rows, mode="append")
    return tmp_path / "lake"


def private(lake: Path) -> Path:
    return sorted((lake.parent / "private/songs").glob("*.parquet"))[0]


def add(lake: Path, path: str, *, version: int = 2, encode: Callable = json.dumps) -> None:
    """Commit a file to the songs, as an attacker would."""
    size = private(lake).stat().st_size
    entry = {"path": path, "partitionValues": {}, "size": size, "modificationTime": 0}
    entry |= {"dataChange": True, "stats": json.dumps({"numRecords": 1})}
    log = lake / "songs/_delta_log"
    (log / f"{version:020}.json").write_text(encode({"add": entry}) + "\n")


def with_escapes(action: dict) -> str:
    return json.dumps(action).replace('"add"', '"\\u0061dd"')


def link_to_file(lake: Path) -> None:
    (lake / "songs/part-1.parquet").symlink_to(private(lake))
    add(lake, "part-1.parquet")


def link_to_folder(lake: Path) -> None:
    (lake / "songs/part=1").symlink_to(private(lake).parent)
    add(lake, f"part=1/{private(lake).name}")


def in_checkpoint(lake: Path) -> None:
    (lake / "songs/part=1").mkdir()
    shutil.copy(private(lake), lake / "songs/part=1/0.parquet")
    add(lake, "part=1/0.parquet")
    deltalake.DeltaTable(str(lake / "songs")).create_checkpoint()
    (lake / f"songs/_delta_log/{2:020}.json").unlink()
    shutil.rmtree(lake / "songs/part=1")
    (lake / "songs/part=1").symlink_to(private(lake).parent)


KINDS: dict[str, Callable[[Path], None]] = {
    "up": lambda lake: add(lake, f"../../private/songs/{private(lake).name}"),
    "up, encoded": lambda lake: add(lake, f"%2E%2E/..%2Fprivate/songs/{private(lake).name}"),
    "absolute": lambda lake: add(lake, str(private(lake))),
    "a URI": lambda lake: add(lake, private(lake).as_uri()),
    "an encoded URI": lambda lake: add(lake, private(lake).as_uri().replace(":", "%3A")),
    "a URI of another storage": lambda lake: add(lake, "s3a://bucket/songs/0.parquet"),
    "an action with escapes": lambda lake: add(lake, str(private(lake)), encode=with_escapes),
    "a link to a file": link_to_file,
    "a link to a folder": link_to_folder,
    "a link, named in a checkpoint": in_checkpoint,
}


@pytest.mark.parametrize("kind", KINDS)
def test_foreign_files_are_neither_read_nor_moved(lake, kind):
    names = ["songs"]
    delta_rs.open_table(str(lake), "songs")
    assert find_damage(str(lake), names) == []
    KINDS[kind](lake)
    content = private(lake).read_bytes()
    for _ in range(2):  # a refusal must not be remembered as a pass
        with pytest.raises(TableError, match="refers to a file outside of its folder"):
            delta_rs.open_table(str(lake), "songs")
    with pytest.raises(TableError, match="refers to a file outside of its folder"):
        delta_rs.append([{"song_id": 3}], str(lake), "songs")
    [found] = find_damage(str(lake), names)
    assert "outside of the table's folder" in str(found)
    assert not found.is_data
    if found.can_be_repaired:
        assert found.version == 2
        move_aside(str(lake), [found])
        assert find_damage(str(lake), names) == []
        assert delta_rs.n_rows(str(lake), "songs") == 2
    assert private(lake).read_bytes() == content


def test_damaged_foreign_file_is_not_moved_into_the_warehouse(lake):
    # Make it look damaged: the size in the log differs.
    secret = lake.parent / "id_rsa"
    secret.write_text("the key of whoever maintains")
    add(lake, "../../id_rsa")
    found = find_damage(str(lake), ["songs"])
    move_aside(str(lake), found)
    assert secret.exists()
    assert str(secret) not in {file for damage in found for file in damage.aside}


def test_refusal_before_the_last_version_cannot_be_repaired(lake):
    add(lake, "../../private/x.parquet")
    add(lake, "part-2.parquet", version=3)
    (lake / "songs/part-2.parquet").write_bytes(private(lake).read_bytes())
    [found] = find_damage(str(lake), ["songs"])
    assert found.version == 2
    assert not found.can_be_repaired


def test_recreated_table_is_checked_again(lake):
    check_files(str(lake / "songs"))
    shutil.rmtree(lake / "songs")
    deltalake.write_deltalake(str(lake / "songs"), pa.table({"song_id": pa.array([1], pa.int64())}))
    add(lake, "/x.parquet", version=1)
    with pytest.raises(TableError):
        check_files(str(lake / "songs"))


def test_log_that_is_a_link_is_refused(lake):
    log = lake / "songs/_delta_log"
    log.rename(lake.parent / "log")
    log.symlink_to(lake.parent / "log")
    with pytest.raises(TableError, match="_delta_log"):
        check_files(str(lake / "songs"))


def test_warehouse_or_table_on_another_disk_is_accepted(lake):
    elsewhere = lake.parent / "disk"
    shutil.move(lake / "songs", elsewhere)
    (lake / "songs").symlink_to(elsewhere)
    link = lake.parent / "link"
    link.symlink_to(lake)
    assert delta_rs.n_rows(str(link), "songs") == 2
    assert find_damage(str(link), ["songs"]) == []


def test_links_are_found_before_a_purge(lake):
    check_links(str(lake / "songs"))
    (lake / "songs/deep/er").mkdir(parents=True)
    (lake / "songs/deep/er/x").symlink_to(lake.parent)
    with pytest.raises(TableError, match="deep/er/x"):
        check_links(str(lake / "songs"))


def test_links_are_found_in_deep_folders(lake, deep):
    (deep / "d").rename(lake / "songs/d")
    bottom = (lake / "songs").joinpath(*["d"] * 1_050)
    with pytest.raises(TableError, match=r"cannot be listed \(File name too long\)"):
        check_links(str(lake / "songs"))
    subprocess.run(["rm", "-r", *map(str, bottom.glob("e*"))], check=True)
    check_links(str(lake / "songs"))
    (bottom / "x").symlink_to(lake.parent)
    with pytest.raises(TableError, match="d/x"):
        check_links(str(lake / "songs"))


def test_damaged_files_are_not_moved_through_a_link(lake):
    (lake / f"songs/_delta_log/{1:020}.json").write_text("{")
    found = find_damage(str(lake), ["songs"])
    (lake / DAMAGED).symlink_to(lake.parent / "private")
    with pytest.raises(TableError, match="is a link to another place"):
        move_aside(str(lake), found)
    assert (lake / f"songs/_delta_log/{1:020}.json").exists()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_locks_are_not_created_through_links(tmp_path, kind):
    lake, home = tmp_path / "lake", tmp_path / "home"
    for folder, mode in ((lake, 0o777), (home, 0o700)):
        folder.mkdir()
        folder.chmod(mode)
    if kind == "folder":
        (lake / FOLDER).symlink_to(home)
    else:
        (lake / FOLDER).mkdir()
        (lake / FOLDER / "songs.lock").symlink_to(home / "new")
    with pytest.raises(SonicError, match="cannot be written to"), writing(str(lake), "songs"):
        pass
    assert os.stat(home).st_mode & 0o777 == 0o700
    assert list(home.iterdir()) == []


def test_folder_is_a_table_if_its_log_has_an_entry(lake):
    songs = lake / "songs"
    assert has_version(str(songs))
    assert not has_version(str(lake))
    for entry in (songs / "_delta_log").glob("*.json"):
        entry.rename(entry.with_suffix(".tmp"))  # as of an interrupted creation
    assert not has_version(str(songs))
