"""The output of `sonic identify` on a terminal."""

from __future__ import annotations

import pytest

from sonic_lib.cli.answers import say_answers
from sonic_lib.formats import clock
from sonic_lib.workflows.answers import COLUMNS

FOUND = {
    "clip": "a.wav",
    "rank": 1,
    "song": "A/song.flac",
    "title": "Golden Winter",
    "artist": "Slow Harbour",
    "clip_start_s": 0.0,
    "clip_end_s": 6.0,
    "offset_s": 59.98,
    "speed": 1.0004,
    "n_votes": 300,
    "score": 80.0,
    "p_value": 6.74e-33,
    "accepted": True,
    "pitch": 1.0,
    "note": None,
    "error": None,
}
NOTHING = dict.fromkeys(COLUMNS) | {"rank": 1, "clip_start_s": 0.0, "accepted": False}
NOTHING |= {"clip_end_s": 6.0, "p_value": 1.0}
UNKNOWN = NOTHING | {"clip": "b.wav", "song": "x", "title": "x", "p_value": 0.314}


def printed(capsys, *rows: dict, n_listed: int = 1) -> list[list[str]]:
    """Cells of each line below the rule."""
    say_answers(rows, n_listed=n_listed)
    lines = capsys.readouterr().out.splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[2:]]


def test_answer_shows_song_and_position(capsys):
    [cells] = printed(capsys, FOUND)
    assert cells == ["a.wav", "Golden Winter - Slow Harbour", "0:59.98", "< 1e-9"]


def test_speed_is_shown_only_if_it_differs(capsys):
    fast, plain = printed(capsys, FOUND | {"speed": 1.05}, FOUND | {"clip": "b.wav"})
    assert "1.050" in fast
    assert len(plain) == len(fast) - 1


def test_song_without_tags_is_shown_by_its_file(capsys):
    [cells] = printed(capsys, FOUND | {"title": None, "artist": None})
    assert cells[1] == "A/song.flac"


def test_unknown_clip_shows_no_song(capsys):
    [cells] = printed(capsys, UNKNOWN)
    assert cells == ["b.wav", "unknown", "0.31"]


def test_clip_without_hits_shows_no_p_value(capsys):
    [cells] = printed(capsys, NOTHING | {"clip": "c.wav"})
    assert cells == ["c.wav", "unknown"]


def test_unreadable_clip_shows_the_reason(capsys):
    unread = {"clip": "d.mp3", "error": "empty file", "clip_end_s": None}
    [cells] = printed(capsys, NOTHING | unread)
    assert cells == ["d.mp3", "not read: empty file"]


def test_note_on_a_damaged_clip_is_shown(capsys):
    [cells] = printed(capsys, FOUND | {"note": "ends early"})
    assert cells[1] == "Golden Winter - Slow Harbour (ends early)"


def test_segments_show_their_times_with_candidates_below(capsys):
    later = FOUND | {"clip_start_s": 125.5, "clip_end_s": 3725.0, "offset_s": 0.0}
    other = UNKNOWN | {"clip": "a.wav", "rank": 2, "title": "Other"}
    first, second, below = printed(capsys, FOUND, later, other, n_listed=2)
    assert "0:00.00 - 0:06.00" in first
    assert "2:05.50 - 1:02:05.00" in second
    assert below == ["or Other"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0:00.00"),
        (59.999, "1:00.00"),
        (-0.001, "0:00.00"),
        (-1.5, "-0:01.50"),
        (3600.0, "1:00:00.00"),
        (7325.9, "2:02:05.90"),
    ],
)
def test_clock(seconds, shown):
    assert clock(seconds) == shown


def test_tie_is_shown_as_one(capsys):
    second = FOUND | {"rank": 2, "title": "Silver Autumn", "artist": None, "score": 79.0}
    third = FOUND | {"rank": 3, "title": "Bronze", "score": 30.0}
    [cells] = printed(capsys, FOUND, second, third)
    assert cells[1] == "Golden Winter - Slow Harbour, or equally Silver Autumn"


def test_rejected_answers_do_not_tie(capsys):
    second = UNKNOWN | {"rank": 2, "score": 0.0}
    [cells] = printed(capsys, UNKNOWN | {"score": 0.0}, second)
    assert cells == ["b.wav", "unknown", "0.31"]
