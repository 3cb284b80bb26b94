"""Listing: every audio file once, whatever its name; nothing hangs and nothing is hidden."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from sonic_lib.audio import listing
from sonic_lib.audio.listing import (
    canonical_path,
    endings_counter,
    has_audio_suffix,
    list_audio,
    relative_path,
)
from sonic_lib.cli.commands.index import passed_over_text
from sonic_lib.errors import UsageError
from sonic_lib.schemas import FILES
from sonic_lib.spark.filesystem import qualified

STRANGE = (
    "ünïcödé/夜明け.mp3",
    "decomposed/e\u0301te\u0301.flac",
    "a b/ c .wav",
    "100%/%20#1?.ogg",
    "[brackets]/{braces}*.mp3",
    'quotes/it\'s "here" `now` $HOME.wav',
    "lines/two\nlines\t\r.mp3",
    "_under/_score.mp3",
    ".dot/.hidden.mp3",
    "co:lon/a:b.mp3",
    "back\\slash/a\\b.mp3",
    "folder.mp3/inside.MP3",
    "a/b/c/d/e/f/g/deep.Opus",
    "two.dots.m4a",
    "top.aiff",
    "🎵.mp3",
)


def make(folder: Path, *names: str, content: bytes = b"x") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def listed(spark, *paths) -> dict[str, str]:
    """Root by path; each path must occur once."""
    rows = list_audio(spark, [str(path) for path in paths]).collect()
    assert len({row.path for row in rows}) == len(rows)
    return {row.path: row.root for row in rows}


def names(spark, *paths) -> set[str]:
    return {str(Path(path).relative_to(root)) for path, root in listed(spark, *paths).items()}


@pytest.fixture
def music(tmp_path):
    folder = tmp_path / "my 100% [music] #1's\n夜"
    folder.mkdir()
    return folder


def test_schema_is_the_declared_one(spark, music):
    listed = list_audio(spark, [str(music)])
    assert [(f.name, f.dataType) for f in listed.schema] == [(f.name, f.dataType) for f in FILES]


def test_any_name_is_listed_unchanged(spark, music):
    make(music, *STRANGE)
    assert listed(spark, music) == {str(music / name): str(music) for name in STRANGE}


def test_all_spellings_of_a_folder_are_equivalent(spark, music):
    make(music, *STRANGE)
    spellings = [str(music), f"{music}/", f"{music}//", f"{music}/./../{music.name}"]
    files = list_audio(spark, spellings).select("root", relative_path()).collect()
    assert sorted(files) == sorted((str(music), name) for name in STRANGE)
    assert {canonical_path(spark, spelling) for spelling in spellings} == {str(music)}


def test_uris_are_written_as_readers_report_them(spark, tmp_path):
    assert qualified(spark, f"file://{tmp_path}//a b%20[1]/") == f"file:{tmp_path}/a b%20[1]"
    assert qualified(spark, "nowhere://host//a/") == "nowhere://host//a"


def test_file_uris_are_local_paths(spark, tmp_path):
    make(tmp_path, "a b/c%20d.mp3", "e.mp3")
    folder, path = f"{tmp_path}/a b", f"{tmp_path}/a b/c%20d.mp3"
    uris = [f"file:{folder}", f"file://{folder}", f"file:{path}", f"file://{tmp_path}/e.mp3"]
    assert set(listed(spark, *uris)) == {path, f"{tmp_path}/e.mp3"}


def test_relative_and_home_paths_are_made_absolute(spark, tmp_path, monkeypatch):
    make(tmp_path, "music/a.mp3", "home/b.mp3")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert listed(spark, "music", "~") == {
        f"{tmp_path}/music/a.mp3": f"{tmp_path}/music",
        f"{tmp_path}/home/b.mp3": f"{tmp_path}/home",
    }


def test_size_and_time_match_the_file(spark, music):
    make(music, "a.mp3", content=b"12345")
    os.utime(music / "a.mp3", ns=(0, 1_700_000_000_123_456_000))
    (row,) = list_audio(spark, [str(music)]).select("*", F.unix_micros("modified_at")).collect()
    assert row.size_bytes == 5
    assert row[-1] == 1_700_000_000_123_456
    assert row.modified_at.replace(microsecond=0) == datetime.fromtimestamp(
        1_700_000_000, timezone.utc
    ).astimezone().replace(tzinfo=None)


def test_other_files_are_skipped(spark, music):
    make(music, "cover.jpg", "list.m3u", "mp3", "notes.mp3.txt", "song.mp", ".mp3", "a.mp3")
    assert names(spark, music) == {"a.mp3"}


def test_skipped_files_are_counted_once_over_all_tasks(spark, tmp_path):
    make(tmp_path, "a.wav", "a/b/cover.jpg", "a/c/d/cover.JPG", "list.m3u", "a/README")
    passed_over = endings_counter(spark)
    files = list_audio(spark, [str(tmp_path)], passed_over=passed_over).persist()
    assert files.count() == 1
    assert passed_over.value == {".jpg": 2, ".m3u": 1, "": 1}
    text = passed_over_text(passed_over.value)
    assert text.endswith("4 files without an audio extension: 2 .jpg, 1 .m3u, 1 without one")


def test_file_given_directly_is_listed_whatever_its_suffix(spark, music):
    make(music, "A/one.mp3", "A/two.dat", "B/three.wav", "B/four.wav")
    assert listed(spark, music / "A/one.mp3") == {str(music / "A/one.mp3"): str(music / "A")}
    assert names(spark, music / "A/one.mp3", music / "A/two.dat", music / "B/three.wav") == {
        "A/one.mp3",
        "A/two.dat",
        "B/three.wav",
    }


def test_files_next_to_folders_keep_their_own_root(spark, music):
    make(music, "A/one.mp3", "B/two.mp3")
    found = listed(spark, music / "A", music / "B/two.mp3")
    assert found == {
        str(music / "A/one.mp3"): str(music / "A"),
        str(music / "B/two.mp3"): str(music / "B"),
    }


def test_overlapping_folders_list_a_file_once_below_the_outer_one(spark, music):
    make(music, "A/one.mp3", "A/inner/two.mp3", "three.mp3")
    found = listed(spark, music / "A/inner", music, music / "A", music, f"{music}/")
    assert set(found.values()) == {str(music)}
    assert len(found) == 3


def test_empty_folders_list_nothing(spark, music):
    (music / "empty" / "emptier").mkdir(parents=True)
    assert listed(spark, music) == {}


def test_missing_paths_are_refused_by_name(spark, music):
    for given in (["absent"], [str(music), f"{music}/absent"]):
        with pytest.raises(UsageError, match=r"absent.* does not exist"):
            list_audio(spark, given)
    with pytest.raises(UsageError, match="No folder"):
        list_audio(spark, [])


# ---- what is no plain file ----


def test_links_are_followed(spark, music, tmp_path):
    make(tmp_path, "elsewhere/a.mp3", "elsewhere/deep/b.mp3")
    make(music, "c.mp3")
    (music / "folder").symlink_to(tmp_path / "elsewhere")
    (music / "file.mp3").symlink_to(tmp_path / "elsewhere" / "a.mp3")
    assert names(spark, music) == {"c.mp3", "file.mp3", "folder/a.mp3", "folder/deep/b.mp3"}


def test_loop_of_links_is_walked_once(spark, music):
    make(music, "a.mp3", "A/b.mp3", "A/B/c.mp3")
    (music / "loop").symlink_to(music)
    (music / "A" / "loop").symlink_to(music)
    (music / "A" / "B" / "up").symlink_to("..")
    (music / "A" / "B" / "self").symlink_to(".")
    (music / "knot").symlink_to(music / "knot")
    assert names(spark, music) == {"a.mp3", "A/b.mp3", "A/B/c.mp3"}


def test_broken_links_and_pipes_are_listed_for_rejection(spark, music):
    (music / "gone.mp3").symlink_to(music / "nowhere.mp3")
    os.mkfifo(music / "pipe.mp3")
    (music / "given.mp3").symlink_to(music / "nowhere.mp3")
    assert names(spark, music, music / "given.mp3") == {"gone.mp3", "pipe.mp3", "given.mp3"}


def test_non_utf8_names_are_listed_readably(spark, music):
    path = os.fsencode(music) + b"/caf\xe9.mp3"
    with open(path, "wb"):
        pass
    make(music, "b.mp3")
    assert names(spark, music) == {"caf\\udce9.mp3", "b.mp3"}


def test_many_files_in_many_folders(spark, music):
    made = {f"{i % 7}/{i % 31}/{i}.mp3" for i in range(2500)}
    make(music, *made)
    assert names(spark, music) == made


def test_suffix_decides_whether_a_file_may_be_audio(spark):
    paths = {"/a/b.mp3": True, "/a.b/C.FLAC": True, "/a.mp3/b": False, "/a/b.jpg": False}
    rows = spark.createDataFrame([(path,) for path in paths], "path string")
    assert dict(rows.select("path", has_audio_suffix()).collect()) == paths


def test_folder_in_an_object_store_may_have_brackets(spark, tmp_path):
    folder = tmp_path / "Album [live] {1}"
    folder.mkdir()
    (folder / "a.mp3").write_bytes(b"x")
    (tmp_path / "Album l 1").mkdir()
    (row,) = listing._list_remote(spark, str(folder)).collect()
    assert row.path.endswith("/Album [live] {1}/a.mp3")
    assert row.size_bytes == 1
