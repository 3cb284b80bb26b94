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
from sonic_lib.storage.damage import DAMAGED, move_aside
from sonic_lib.storage.locks import FOLDER, writing
from sonic_lib.storage.log_files import has_version
from sonic_lib.storage.own_files import check_files, check_links
from sonic_lib.storage.table_files import find_damage

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
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


def add(
    lake: Path,
    path: str,
    *,
    kind: str = "add",
    version: int = 2,
    encode: Callable = json.dumps,
    **more: object,
) -> None:
    """Commit a file to the songs, as an attacker would."""
    size = private(lake).stat().st_size
    entry = {"path": path, "partitionValues": {}, "size": size, "modificationTime": 0}
    entry |= {"dataChange": True, "stats": json.dumps({"numRecords": 1})} | more
    log = lake / "songs/_delta_log"
    (log / f"{version:020}.json").write_text(encode({kind: entry}) + "\n")


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


def vector(lake: Path, kind: str, text: str) -> None:
    """Commit a copy of the song's file with a deletion vector, which removes some of its rows."""
    shutil.copy(private(lake), lake / "songs/part-2.parquet")
    add(lake, "part-2.parquet", deletionVector={"storageType": kind, "pathOrInlineDv": text})


def link_to_vector(lake: Path) -> None:
    name = "deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin"
    (lake / "songs" / name).symlink_to(private(lake))
    vector(lake, "u", "^-aqEH.-t@S}K{vb[*k^")


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
    "changed rows": lambda lake: add(lake, str(private(lake)), kind="cdc"),
    "a path with a query": lambda lake: add(lake, "part-1.parquet?x"),
    "a path with NUL": lambda lake: add(lake, "part-1\0.parquet"),
    "a path with half a character": lambda lake: add(lake, "part-1\ud800.parquet"),
    "a path to the log": lambda lake: add(lake, f"_delta_log/{0:020}.json"),
    "a path to the table": lambda lake: add(lake, "."),
    "a vector elsewhere": lambda lake: vector(lake, "p", private(lake).as_uri()),
    "a vector above": lambda lake: vector(lake, "u", "../../x^-aqEH.-t@S}K{vb[*k^"),
    "a vector in no known notation": lambda lake: vector(lake, "u", "ab^-aqE"),
    "a link to a vector": link_to_vector,
}


@pytest.mark.parametrize("kind", KINDS)
def test_foreign_files_are_neither_read_nor_moved(lake, kind):
    names = ["songs"]
    delta_rs.open_table(str(lake), "songs")
    assert find_damage(str(lake), names) == []
    KINDS[kind](lake)
    content = private(lake).read_bytes()
    for place in 2 * (str(lake), lake.as_uri(), f"file:{lake}"):  # no refusal counts as a pass
        with pytest.raises(TableError, match="refers to a file outside of its folder"):
            delta_rs.open_table(place, "songs")
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


UUID = "80a083e8-7026-4e79-81be-64bd76c43a11"
SIDECAR = {"path": "../../private/x.parquet"}


def entry_of(lake: Path, version: int = 2) -> Path:
    return lake / f"songs/_delta_log/{version:020}.json"


def foreign(lake: Path, encode: Callable = json.dumps) -> str:
    """Return an action that adds a file of somebody else, as text."""
    return encode({"add": {"path": str(private(lake)), "size": 1, "partitionValues": {}}})


def put(lake: Path, name: str, text: str | None = None) -> None:
    file = lake / "songs/_delta_log" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(foreign(lake) if text is None else text)


def checkpoint(lake: Path, name: str, *, adds: list[str], **columns: list) -> None:
    """Write a checkpoint by hand, with the declarations that each needs."""
    rows: list[dict] = [{"add": {"path": path, "size": 1}} for path in adds]
    rows.append({"protocol": {"minReaderVersion": 1}, "metaData": {"id": "x"}})
    table = pa.Table.from_pylist(
        rows,
        schema=pa.schema(
            {
                "add": pa.struct({"path": pa.string(), "size": pa.int64()}),
                "protocol": pa.struct({"minReaderVersion": pa.int32()}),
                "metaData": pa.struct({"id": pa.string()}),
            }
        ),
    )
    for column, values in columns.items():
        table = table.append_column(column, pa.array(values))
    pq.write_table(table, lake / "songs/_delta_log" / name)


def in_second_part(lake: Path) -> None:
    for part, path in enumerate(("part-0.parquet", str(private(lake))), 1):
        checkpoint(lake, f"{1:020}.checkpoint.{part:010}.{2:010}.parquet", adds=[path])


def beside_a_checkpoint(lake: Path) -> None:
    deltalake.DeltaTable(str(lake / "songs")).create_checkpoint()
    checkpoint(lake, f"{1:020}.checkpoint.{1:010}.{1:010}.parquet", adds=[str(private(lake))])


def linked_entry(lake: Path) -> None:
    (lake.parent / "entry").write_text(foreign(lake))
    entry_of(lake).symlink_to(lake.parent / "entry")


def entry(write: Callable[[str], str]) -> Callable[[Path], None]:
    return lambda lake: put(lake, entry_of(lake).name, write(foreign(lake)))


# Foreign files that a reader with other rules might find.
HIDDEN: dict[str, Callable[[Path], None]] = {
    "single quotes": entry(lambda action: action.replace('"', "'")),
    "after a bad line": entry(lambda action: f"{{\n{action}"),
    "after an object": entry(lambda action: "{} " + action),
    "after a carriage return": entry(lambda action: "{\r" + action[1:]),
    "under a key given twice": entry(lambda action: action[:-1] + ', "add": {"path": "x"}}'),
    "in UTF-16": lambda lake: entry_of(lake).write_bytes(foreign(lake).encode("utf-16")),
    "in several entries at once": lambda lake: put(lake, f"{0:020}.{1:020}.compacted.json"),
    "in an entry with a short name": lambda lake: put(lake, "2.json"),
    "in a checkpoint of JSON": lambda lake: put(lake, f"{1:020}.checkpoint.{UUID}.json"),
    "in a checkpoint with a UUID": lambda lake: checkpoint(
        lake, f"{1:020}.checkpoint.{UUID}.parquet", adds=[str(private(lake))]
    ),
    "in a checkpoint's second part": in_second_part,
    "in a further checkpoint": beside_a_checkpoint,
    "in a checkpoint's sidecar": lambda lake: checkpoint(
        lake, f"{1:020}.checkpoint.parquet", adds=[], sidecar=[SIDECAR]
    ),
    "in an entry's sidecar": entry(lambda _: json.dumps({"sidecar": SIDECAR})),
    "in a pointer's sidecar": lambda lake: put(
        lake, "_last_checkpoint", json.dumps({"version": 1, "v2Checkpoint": [SIDECAR]})
    ),
    "in a folder of sidecars": lambda lake: put(lake, f"_sidecars/{UUID}.parquet"),
    "in a folder of staged commits": lambda lake: put(lake, f"_staged_commits/2.{UUID}.json"),
    "in an entry that is a link": linked_entry,
}


@pytest.mark.parametrize("kind", HIDDEN)
def test_what_other_readers_might_read_is_refused(lake, kind):
    check_files(str(lake / "songs"))
    content = private(lake).read_bytes()
    HIDDEN[kind](lake)
    for _ in range(2):
        with pytest.raises(TableError, match=r"Nothing was read or deleted.*maintain --check"):
            delta_rs.open_table(str(lake), "songs")
    found = find_damage(str(lake), ["songs"])
    if kind in ("in a checkpoint's second part", "in a further checkpoint"):
        assert not all(damage.can_be_repaired for damage in found)
        return
    move_aside(str(lake), found)
    assert find_damage(str(lake), ["songs"]) == []
    assert delta_rs.n_rows(str(lake), "songs") == 2
    assert private(lake).read_bytes() == content


def test_what_our_engines_write_is_accepted(lake):
    log = lake / "songs/_delta_log"
    for name in (
        f"{1:020}.crc",
        f"{2:020}.json#1",  # delta-rs, killed while it wrote
        f"{1:020}.checkpoint.parquet#2",
        f"_commit_{UUID}.json.tmp",
        f"_commit_{UUID}.json.tmp#1",
        f".{2:020}.json.{UUID}.tmp",  # Spark, likewise
        f"..{2:020}.json.{UUID}.tmp.crc",
        "_last_vacuum_info",
        ".nfs000000000001",
    ):
        (log / name).touch()
    for name in ("_staged_commits", "_sidecars", ".ipynb_checkpoints"):
        (log / name).mkdir()
    checkpoint(lake, f"{1:020}.checkpoint.{1:010}.{2:010}.parquet", adds=["/x"])  # incomplete
    check_files(str(lake / "songs"))
    assert find_damage(str(lake), ["songs"]) == []
    deltalake.DeltaTable(str(lake / "songs")).create_checkpoint()
    check_files(str(lake / "songs"))
    assert find_damage(str(lake), ["songs"]) == []


def test_checkpoint_in_parts_is_read_as_a_whole(lake):
    paths = sorted(file.name for file in (lake / "songs").glob("*.parquet"))
    for part, path in enumerate(paths, 1):
        checkpoint(lake, f"{1:020}.checkpoint.{part:010}.{2:010}.parquet", adds=[path])
    check_files(str(lake / "songs"))
    found = find_damage(str(lake), ["songs"])
    assert sorted(Path(damage.file).name for damage in found) == paths
    assert all("but the log says 1" in str(damage) for damage in found)


def test_entry_that_was_changed_is_checked_again(lake):
    check_files(str(lake / "songs"))
    put(lake, entry_of(lake, 1).name)
    with pytest.raises(TableError):
        check_files(str(lake / "songs"))


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
