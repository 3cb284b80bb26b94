"""Listing of folders, including links that lead out of them."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from sonic_lib.audio.local_files import below, check_audio, walk
from sonic_lib.errors import UsageError
from sonic_lib.workflows.local_identification import _clips


def names(folder: Path, **options: bool) -> list[str]:
    return sorted(os.path.relpath(row["path"], folder) for row in walk([str(folder)], **options))


def put(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")


def test_folders_with_two_links_each_to_the_next_are_walked_once(tmp_path):
    for i in range(16):
        put(tmp_path / f"{i:02}" / "a.mp3")
        for link in ("x", "y"):
            (tmp_path / f"{i:02}" / link).symlink_to(tmp_path / f"{i + 1:02}")
    put(tmp_path / "16" / "a.mp3")
    assert names(tmp_path) == [f"{i:02}/a.mp3" for i in range(17)]


def test_folder_elsewhere_is_walked_by_the_first_of_its_links(tmp_path):
    put(tmp_path / "elsewhere" / "a.mp3", tmp_path / "music" / "b.mp3")
    for link in ("x", "y"):
        (tmp_path / "music" / link).symlink_to(tmp_path / "elsewhere")
    assert names(tmp_path / "music") == ["b.mp3", "x/a.mp3"]


def test_file_is_listed_by_its_own_name_if_it_has_one(tmp_path):
    put(tmp_path / "b" / "c.mp3")
    (tmp_path / "a").symlink_to(tmp_path / "b")
    assert names(tmp_path) == ["b/c.mp3"]


def test_file_below_two_folders_is_one_clip_on_both_engines(tmp_path):
    put(tmp_path / "a" / "1.wav", tmp_path / "a" / "2.wav")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    found = _clips([str(tmp_path / "b"), str(tmp_path / "a")], follow_links=True, stop_early=True)
    assert found == {str(tmp_path / "a" / f"{n}.wav"): (str(tmp_path / "a"), 1) for n in (1, 2)}


def test_loops_end(tmp_path):
    put(tmp_path / "a" / "b" / "c.mp3")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "b" / "top").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")
    assert names(tmp_path) == ["a/b/c.mp3"]


@pytest.mark.parametrize("target", ["/proc", "/proc/self", "/sys", "/dev"])
def test_links_out_of_the_folder_are_listed_but_not_followed(tmp_path, target):
    put(tmp_path / "music" / "a.mp3", tmp_path / "private.mp3")
    (tmp_path / "music" / "out").symlink_to(target)
    assert names(tmp_path / "music") == ["a.mp3", "out"]


@pytest.mark.parametrize("target", ["/", "..", "../.."])
def test_links_to_parents_of_the_folder_are_passed_over(tmp_path, target):
    music = tmp_path / "music"
    put(music / "a.mp3", music / "b" / "c.mp3", tmp_path / "private.mp3")
    (music / "up").symlink_to(target)
    (music / "up.mp3").symlink_to(target)
    (music / "b" / "again").symlink_to(music.parent)
    (music / "b" / "root").symlink_to(music)
    passed_over = Counter()
    found = below(str(music), str(music), passed_over=passed_over)
    assert [os.path.relpath(row["path"], music) for row in found] == ["a.mp3", "b/c.mp3"]
    assert passed_over == {"": 2, ".mp3": 1}


def test_folders_of_the_system_are_not_counted(tmp_path, monkeypatch):
    put(tmp_path / "a.mp3", tmp_path / "machine" / "b.mp3")
    monkeypatch.setattr("sonic_lib.audio.local_files._MACHINE", (str(tmp_path / "machine"),))
    passed_over = Counter()
    found = below(str(tmp_path), str(tmp_path), passed_over=passed_over)
    assert [os.path.relpath(row["path"], tmp_path) for row in found] == ["a.mp3"]
    assert passed_over == {}


def test_links_can_be_skipped(tmp_path):
    put(tmp_path / "elsewhere" / "a.mp3", tmp_path / "music" / "b.mp3")
    (tmp_path / "music" / "x").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "music" / "c.mp3").symlink_to(tmp_path / "elsewhere" / "a.mp3")
    assert names(tmp_path / "music", follow_links=False) == ["b.mp3"]


def test_a_thousand_levels_are_walked(deep):
    found = names(deep)
    assert f"{'d/' * 1_050}a.mp3" in found
    too_long = [name for name in found if len(str(deep / name)) > 4_095]
    assert len(too_long) == 1  # it is also a row, with the reason that its path is too long


@pytest.mark.parametrize("year", [1975, 2024, 2500])
def test_invalid_dates_are_clamped_to_the_range_of_readers(tmp_path, year):
    (tmp_path / "song.mp3").write_bytes(b"sound")
    seconds = (year - 1970) * 365.25 * 86_400
    try:
        os.utime(tmp_path / "song.mp3", (seconds, seconds))
    except OSError:
        pytest.skip("this file system knows no such date")
    [entry] = walk([str(tmp_path)])
    stored = pd.Timestamp(entry["modified_at"]).as_unit("ns")
    assert stored.year == pytest.approx(min(year, 2262), abs=1)


def test_skipped_files_are_counted_by_extension(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("song.wav", "cover.JPG", "a/inlay.jpg", "a/list.cue", "README", "odd.\u202etxt"):
        (tmp_path / name).write_bytes(b"x")
    passed_over = Counter()
    found = list(below(str(tmp_path), str(tmp_path), passed_over=passed_over))
    assert [entry["path"] for entry in found] == [str(tmp_path / "song.wav")]
    assert passed_over == {".jpg": 2, ".cue": 1, "": 2}


def test_folders_without_audio_are_refused_with_their_contents(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "covers" / "more").mkdir(parents=True)
    (tmp_path / "covers" / "a.JPG").touch()
    (tmp_path / "covers" / "more" / "notes").touch()
    empty, covers = str(tmp_path / "empty"), str(tmp_path / "covers")
    with pytest.raises(UsageError, match=r"no audio file in '.*empty'; expected a folder"):
        check_audio([empty])
    with pytest.raises(UsageError, match=r"\(other files: 1 \.jpg, 1 without one\)"):
        check_audio([empty, covers])
    with pytest.raises(UsageError, match="does not exist"):
        check_audio([str(tmp_path / "absent")])
    (tmp_path / "covers" / "more" / "song.mp3").touch()
    check_audio([empty, covers])
    check_audio([empty, "s3a://music/songs"])  # remote folders are not checked
