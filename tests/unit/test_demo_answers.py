"""The demo's songs on disk, and how it compares its answers with the truth."""

from __future__ import annotations

import argparse

import pandas as pd
import pytest

from sonic_lib.cli.commands.demo import _summary_lines, _synthesise, check, compare
from sonic_lib.errors import UsageError


def arguments(folder, **changes) -> argparse.Namespace:
    return argparse.Namespace(folder=str(folder), **({"songs": 1, "clips": 1, "seed": 1} | changes))


def test_songs_are_created_once_and_again_for_another_seed(tmp_path, capsys):
    folder = tmp_path / "demo"
    _synthesise(folder, arguments(folder))
    [song] = (path for path in folder.glob("songs/*/*"))
    written_at = song.stat().st_mtime_ns
    check(arguments(folder))
    _synthesise(folder, arguments(folder))
    assert "there already" in capsys.readouterr().out
    assert song.stat().st_mtime_ns == written_at

    _synthesise(folder, arguments(folder, seed=2))
    assert [path for path in folder.glob("songs/*/*")] != [song]


def test_incomplete_demo_is_created_again(tmp_path):
    _synthesise(tmp_path, arguments(tmp_path))
    (tmp_path / "truth.csv").unlink()
    _synthesise(tmp_path, arguments(tmp_path))
    assert (tmp_path / "truth.csv").exists()


def test_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "songs").mkdir()
    with pytest.raises(UsageError, match="contains files of your own"):
        check(arguments(tmp_path))


@pytest.mark.parametrize("wrong", [{"songs": 0}, {"clips": 0}, {"seed": -1}])
def test_impossible_numbers_are_refused(tmp_path, wrong):
    with pytest.raises(UsageError, match="expected at least one"):
        check(arguments(tmp_path, **wrong))


def test_answers_are_compared_with_the_truth():
    truth = pd.DataFrame(
        [
            ("right.wav", "a.mp3", 3.0, 5.0, "clean"),
            ("shifted.wav", "a.mp3", 3.0, 5.0, "clean"),
            ("missed.wav", "a.mp3", 3.0, 5.0, "noise"),
            ("mistaken.wav", "a.mp3", 3.0, 5.0, "noise"),
            ("unknown.wav", None, None, 5.0, "clean"),
            ("tricked.wav", None, None, 5.0, "noise"),
            ("deaf.wav", None, None, 5.0, "noise"),
        ],
        columns=["clip", "song", "offset_s", "length_s", "condition"],
    )
    matches = pd.DataFrame(
        [
            ("right.wav", 1, "a.mp3", 3.05, True),
            ("right.wav", 2, "b.mp3", 1.0, True),
            ("shifted.wav", 1, "a.mp3", 3.2, True),
            ("missed.wav", 1, "a.mp3", 3.0, False),
            ("mistaken.wav", 1, "b.mp3", 3.0, True),
            ("unknown.wav", 1, "b.mp3", 9.0, False),
            ("tricked.wav", 1, "b.mp3", 9.0, True),
            ("deaf.wav", 1, None, None, False),
        ],
        columns=["clip", "rank", "song", "offset_s", "accepted"],
    )
    answers = compare(matches, truth)

    def true_of(column):
        return set(answers["clip"][answers[column]])

    assert len(answers) == len(truth)
    assert true_of("found") == {"right.wav", "shifted.wav"}
    assert true_of("placed") == {"right.wav"}
    assert true_of("falsely_accepted") == {"mistaken.wav", "tricked.wav"}
    lines = list(_summary_lines(answers))
    assert [line.split() for line in lines[1:-1]] == [
        ["clean", "2", "2", "1", "0"],
        ["noise", "2", "0", "0", "1"],
        ["unknown", "song", "3", "-", "-", "1"],
    ]
    assert lines[-1] == "4 known clips: 2 found; 3 unknown: 1 falsely accepted"
