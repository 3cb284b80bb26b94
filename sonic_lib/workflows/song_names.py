"""Find songs by id, key or title."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from sonic_lib.errors import UsageError
from sonic_lib.models.names import ARTISTS, TITLES, find_value, first_artist, song_name
from sonic_lib.workflows.spellings import spellings

_N_NAMED = 10
_NO_TITLES = (
    ' The table has no titles; `sonic sql "SELECT source_key FROM sonic.features"` lists its keys.'
)


def named(features: DataFrame) -> DataFrame:
    """Select titles and artists of songs: song_id, source_key, title, artist."""
    return features.select(
        "song_id",
        "source_key",
        find_value("texts", TITLES).alias("title"),
        find_value("texts", ARTISTS).alias("artist"),
    )


def find_songs(features: DataFrame, given: Sequence[str]) -> list[int]:
    """Find each song by its id, its key, or a part of its title if that is unique.

    If all matches are versions of one song (see `names.one_song`), the lowest song_id is returned.

    Raises
    ------
    UsageError
        If none is given, or one is not found or is ambiguous.
    """
    if not given:
        raise UsageError("No SONG is given; expected at least one.")
    songs = named(features)
    found = []
    for text in given:
        key = F.col("source_key")
        is_key = (F.col("song_id").cast("string") == text) | key.isin(spellings(text))
        in_title = [F.contains(F.lower("title"), F.lit(s)) for s in spellings(text.lower())]
        rows = (
            songs.filter(is_key).orderBy(key != text).limit(1).collect()
            or songs.filter(reduce(or_, in_title)).orderBy("song_id").limit(_N_NAMED).collect()
        )
        if not rows or (len(rows) > 1 and not _are_one(rows)):
            which = ", ".join(
                f"{row.song_id} ({' - '.join(filter(None, (row.artist, row.title)))})"
                for row in rows
            )
            where = "" if songs.filter("title IS NOT NULL").limit(1).collect() else _NO_TITLES
            raise UsageError(
                f"SONG {text!r}: expected a song_id, a key (a path or an id), or a part of the "
                f"title of one song; it matches {which or 'none'}.{where}"
            )
        found.append(rows[0].song_id)
    return found


def _are_one(rows: Sequence[Row]) -> bool:
    """Whether all rows are versions of one song, and there are no further matches."""
    if len(rows) == _N_NAMED or not all(row.title and row.artist for row in rows):
        return False
    return len({(song_name(row.title), first_artist(row.artist)) for row in rows}) == 1
