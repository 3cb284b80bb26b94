"""Conditions given as text: which are accepted and which are refused."""

from __future__ import annotations

import pytest

from sonic_lib.errors import UsageError
from sonic_lib.sql.predicate import condition

ROWS = [(1, "A", 1990), (2, "B", 2001), (3, None, 2020)]


@pytest.fixture
def songs(spark):
    return spark.createDataFrame(ROWS, "song_id long, artist string, release_year int")


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("artist = 'A'", [1]),
        ("lower(artist) LIKE '%b%' OR release_year BETWEEN 2010 AND 2030", [2, 3]),
        ("artist IS NULL -- the unknown", [3]),
        ("true", [1, 2, 3]),
        ("artist = 'A\\'; DROP TABLE songs'", []),
    ],
)
def test_conditions_select_songs(songs, text, chosen):
    found = songs.filter(condition(songs, text, option="--where")).collect()
    assert sorted(row.song_id for row in found) == chosen


@pytest.mark.parametrize(
    "text",
    [
        "",
        "artist",
        "release_year + 1",
        "no_such = 1",
        "artist = 'A'; DROP TABLE songs",
        "DROP TABLE songs",
        "SELECT true",
        "*",
        "count(*) > 1",
        "explode(array(true))",
        "row_number() OVER (ORDER BY song_id) = 1",
        "rand() < 0.5",
        "reflect('java.lang.System', 'getenv', 'HOME') = 'x'",
        "EXISTS (SELECT 1)",
        "song_id IN (SELECT song_id FROM other)",
        "(SELECT true)",
    ],
)
def test_anything_else_is_refused(spark, songs, text):
    songs.createOrReplaceTempView("other")
    with pytest.raises(UsageError, match="--where"):
        condition(songs, text, option="--where")
