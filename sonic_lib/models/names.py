"""Recognise versions of a song by their names: "Help! - Remastered 2009" is "Help!".

The same patterns are applied by Python functions and by Spark columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F

from sonic_lib.spark.columns import column

TITLES = ("title", "track_name", "track_title", "song_name", "track", "song", "name")
ARTISTS = ("artist", "artist_name", "artists", "artists_name", "track_artist")
TRACK_IDS = ("track_id", "spotify_id", "isrc")
_NO_LETTER = r"[\W_]+"

# Words of a part in brackets or behind a dash that describe a version.
_VERSION = (
    r"\b(?:re-?master(?:ed|s)?|re-?mix(?:ed|es)?|rmx|mix(?:ed)?|edit(?:ed|ion)?|versions?|"
    r"live|radio|feat|ft|featuring|with|acoustic|unplugged|demo|mono|stereo|deluxe|bonus|"
    r"instrumental|extended|explicit|clean|original|re-?record(?:ed|ing)|anniversary|sessions?|"
    r"karaoke|from|soundtrack|sped|slowed|bootleg|rework|vip|dub)\b"
)
_TITLE_RULES = (
    (rf"[\[(][^\[\]()]*{_VERSION}[^\[\]()]*[\])]", " "),
    (rf"\s[-–—]\s(?:(?!\s[-–—]\s).)*{_VERSION}.*$", ""),
    (r"\s(?:feat|ft|featuring)\b.*$", ""),
    (r"[\W_]+", " "),
)
_ARTIST_RULES = (
    (r"^\[\s*[\"']?", ""),  # the first of a list
    (r"[\"']\s*,.*$", ""),
    (r"\s(?:feat|ft|featuring)\b.*$", ""),
    (r"(?:;|,\s).*$", ""),
    (r"^\s*the\s+", ""),
    (r"[\W_]+", " "),
)


def find_column(names: Sequence[str], present: Collection[str]) -> str | None:
    """Return the first column with one of some names, in any spelling.

    Examples
    --------
    >>> find_column(ARTISTS, ["Tempo", "Artist Name"]), find_column(ARTISTS, ["artist(s)_name"])
    ('Artist Name', 'artist(s)_name')
    """
    by_spelling = {_spelling(name): name for name in sorted(present)}
    return next((by_spelling[key] for key in map(_spelling, names) if key in by_spelling), None)


def find_value(texts: str, names: Sequence[str]) -> Column:
    """Column: the value in a map whose key is one of some names, in any spelling."""
    entries = F.map_entries(texts)

    def value(name: str) -> Column:
        def is_it(entry: Column) -> Column:
            key = F.regexp_replace(F.lower(entry["key"]), F.lit(f"(?U){_NO_LETTER}"), F.lit(""))
            return key == _spelling(name)

        return F.get(F.filter(entries, is_it), F.lit(0))["value"]

    return F.coalesce(*map(value, names))


def _spelling(name: str) -> str:
    return re.sub(_NO_LETTER, "", name.lower())


def song_name(title: str) -> str:
    """Return a title without the parts that describe a version.

    Examples
    --------
    >>> song_name("Help! - Remastered 2009")
    'help'
    >>> song_name("(I Can't Get No) Satisfaction (Live)")
    'i can t get no satisfaction'
    """
    return _plain(title, _TITLE_RULES)


def first_artist(artist: str) -> str:
    """Return the first artist of a song, without guests.

    Examples
    --------
    >>> first_artist("The Beatles"), first_artist("Drake feat. Rihanna")
    ('beatles', 'drake')
    """
    return _plain(artist, _ARTIST_RULES)


def one_song(title: str, artist: str) -> Column:
    """Column: a number that is equal for versions of a song; null if a name is missing."""
    names = F.array(song_name_column(title), first_artist_column(artist))

    def number(pair: Column) -> Column:
        return F.when(pair[0].isNotNull() & pair[1].isNotNull(), F.xxhash64(pair[0], pair[1]))

    return _once(names, number)


def song_name_column(name: str) -> Column:
    """Column: `song_name` of a column."""
    return _plain_column(name, _TITLE_RULES)


def first_artist_column(name: str) -> Column:
    """Column: `first_artist` of a column."""
    return _plain_column(name, _ARTIST_RULES)


def _plain(text: str, rules: Sequence[tuple[str, str]]) -> str:
    plain = whole = text.lower()
    for pattern, other in rules:
        plain = re.sub(pattern, other, plain)
    return plain.strip(" ") or whole.strip(" ")


def _plain_column(name: str, rules: Sequence[tuple[str, str]]) -> Column:
    whole = F.lower(column(name))
    plain = whole
    for pattern, other in rules:
        # (?U): letters of any script, as in Python.
        plain = F.regexp_replace(plain, F.lit(f"(?U){pattern}"), F.lit(other))
    instead = F.nullif(F.trim(whole), F.lit(""))
    return _once(F.trim(plain), lambda text: F.when(text != "", text).otherwise(instead))


def _once(value: Column, use: Callable[[Column], Column]) -> Column:
    """Column: `use(value)`, where Spark would evaluate the value wherever it is used."""
    return F.get(F.transform(F.array(value), use), F.lit(0))
