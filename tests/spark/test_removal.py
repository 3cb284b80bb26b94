"""Songs to remove, given by id, path or title."""

from __future__ import annotations

import pytest

from sonic_lib.errors import UsageError
from sonic_lib.workflows.removal import choose_songs

FILES = [
    (1, "/music/A/01.mp3", "/music/A"),
    (2, "/music/B/01.mp3", "/music/B"),
    (3, "/music/B/02.mp3", "/music/B"),
    (3, "/music/B/copy of 02.mp3", "/music/B"),
    (4, "/music/A/B/02.mp3", "/music/A"),
]


@pytest.fixture
def choose(spark, monkeypatch):
    monkeypatch.chdir("/")
    titles = ["One", "Two", "Two", "Four"]
    songs = spark.createDataFrame(list(enumerate(titles, 1)), "song_id long, title string")
    files = spark.createDataFrame(FILES, "song_id long, path string, root string")
    return lambda *given: choose_songs(files, songs, given, warehouse="lake")


@pytest.mark.parametrize(
    ("given", "song_ids"),
    [
        (["3"], [3]),
        (["/music/A/01.mp3"], [1]),
        (["music/B/01.mp3"], [2]),  # relative to the current folder
        (["02.mp3"], [3]),  # relative to the one that was indexed
        (["B/02.mp3"], [4]),
        (["copy of 02.mp3", "1"], [1, 3]),
        (["one"], [1]),  # the title
    ],
)
def test_song_is_found_by_id_whole_path_or_path_below_its_folder(choose, given, song_ids):
    assert choose(*given) == song_ids


def test_path_that_is_right_as_it_stands_is_not_looked_for_elsewhere(choose, monkeypatch):
    monkeypatch.setattr(
        "sonic_lib.workflows.removal.canonical_path", lambda _, text: f"/music/B/{text}"
    )
    assert choose("01.mp3") == [2]


def test_path_of_several_songs_is_refused_with_their_places(choose):
    with pytest.raises(UsageError, match=r"/music/A/01\.mp3, /music/B/01\.mp3.*whole path"):
        choose("3", "01.mp3")
    with pytest.raises(UsageError, match=r"'Two' \(/.*, /.*\); nothing"):
        choose("Two")


def test_unknown_song_is_named(choose):
    with pytest.raises(
        UsageError, match=r"No song in lake has the id, path or title '03\.mp3', '9'"
    ):
        choose("1", "9", "03.mp3")
