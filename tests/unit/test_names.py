"""Versions of a song have one name, and different songs do not."""

from __future__ import annotations

import pytest

from sonic_lib.models.names import (
    ARTISTS,
    TITLES,
    TRACK_IDS,
    find_column,
    first_artist,
    song_name,
)

ONE_SONG = [
    ("Help! - Remastered 2009", "Help!"),
    ("Help! (2009 Remaster)", "HELP"),
    ("Blinding Lights (with ROSALÍA) - Remix", "Blinding Lights"),
    ("Blinding Lights [Chromatics Remix]", "Blinding Lights"),
    ("Stay (feat. Justin Bieber)", "Stay feat. Justin Bieber"),
    ("Layla - Acoustic; Live at MTV Unplugged", "Layla"),
    ("Hotel California - Live On MTV, 1994", "Hotel California (Live)"),
    ("One More Time - Radio Edit", "One More Time"),
    ("Part of Me - Part 2 - Remastered", "Part of Me - Part 2"),
    ("Let It Go - From \"Frozen\"/Soundtrack Version", "Let It Go"),
    ("(I Can't Get No) Satisfaction - Mono", "(I Can't Get No) Satisfaction"),
    ("夜明け (Live)", "夜明け"),
    ("Straße – Extended Mix", "STRAßE"),
    ("Sandstorm ft. Nobody", "Sandstorm"),
]  # fmt: skip
OTHER_SONGS = [
    ("Live and Let Die", "Let Die"),
    ("Song 2", "Song 3"),
    ("Time (Clock of the Heart)", "Time"),
    ("Symphony No. 5 - I. Allegro", "Symphony No. 5 - II. Andante"),
    ("Another Brick in the Wall, Pt. 1", "Another Brick in the Wall, Pt. 2"),
    ("Remix", "Live"),
    ("(Live)", "(Remix)"),
    ("Left Alone", "Left"),
    ("Mixed Emotions", "Emotions"),
]
ONE_ARTIST = [
    ("The Beatles", "Beatles"),
    ("Drake feat. Rihanna", "Drake"),
    ("['Ed Sheeran', 'Beyoncé']", "Ed Sheeran"),
    ("Calvin Harris, Dua Lipa", "calvin harris"),
    ("Avicii;Aloe Blacc", "AVICII"),
]
OTHER_ARTISTS = [("The The", "The Band"), ("Simon & Garfunkel", "Simon"), ("!!!", "???")]


@pytest.mark.parametrize(("one", "other"), ONE_SONG)
def test_versions_have_one_name(one, other):
    assert song_name(one) == song_name(other) != ""


@pytest.mark.parametrize(("one", "other"), OTHER_SONGS)
def test_other_songs_have_other_names(one, other):
    assert song_name(one) != song_name(other)


@pytest.mark.parametrize(("one", "other"), ONE_ARTIST)
def test_artist_is_the_same_however_guests_are_credited(one, other):
    assert first_artist(one) == first_artist(other) != ""


@pytest.mark.parametrize(("one", "other"), OTHER_ARTISTS)
def test_other_artists_have_other_names(one, other):
    assert first_artist(one) != first_artist(other)


@pytest.mark.parametrize(
    ("names", "present", "found"),
    [
        (TITLES, ["Track Name", "artist"], "Track Name"),
        (TITLES, ["name", "TITLE"], "TITLE"),
        (TITLES, ["Title", "title"], "title"),
        (ARTISTS, ["artistName", "tempo"], "artistName"),
        (TRACK_IDS, ["Track-ID"], "Track-ID"),
        (ARTISTS, ["artist_popularity"], None),
    ],
)
def test_columns_are_found_in_any_spelling(names, present, found):
    assert find_column(names, present) == found
