"""Songs are found whether a disk stores é as one character (NFC) or two, as on macOS (NFD)."""

from __future__ import annotations

from unicodedata import normalize

import pyarrow as pa
import pytest

from sonic_lib.workflows import catalogue
from sonic_lib.workflows.removal import choose_songs
from sonic_lib.workflows.song_names import find_songs

FORMS = ("NFC", "NFD")


def names(form: str) -> tuple[str, str]:
    """The path and title of a song; the letters are not in Unicode's order of marks."""
    return normalize(form, "/music/Café/Zoë ế.mp3"), normalize(form, "Motörhead – Ёлка")


@pytest.fixture(params=FORMS)
def stored(request) -> tuple[str, str]:
    return names(request.param)


@pytest.fixture(params=FORMS)
def form(request) -> str:
    return request.param


@pytest.fixture
def songs(spark, stored):
    path, title = stored
    rows = [
        (1, path, title, None, None, 9.0),
        (2, "/music/Cafe/Zoe.mp3", "Motorhead", None, None, 9.0),
    ]
    schema = "song_id long, first_path string, title string, artist string, album string"
    return spark.createDataFrame(rows, f"{schema}, duration_s double")


def test_both_engines_find_words_in_either_form(songs, form, monkeypatch):
    table = songs.withColumnRenamed("first_path", "path").toArrow()
    assert isinstance(table, pa.Table)
    monkeypatch.setattr(catalogue, "n_rows", lambda *_: 2)
    monkeypatch.setattr(catalogue, "list_songs", lambda _: table)
    for words in (["CAFÉ"], ["zoë ế"], ["ёл", "motörh"]):
        asked = [normalize(form, word) for word in words]
        local = catalogue.list_without_spark("lake", asked)
        assert local["song_id"].to_pylist() == [1], words
        rows = songs.transform(catalogue.searched, words=asked).collect()
        assert [row.song_id for row in rows] == [1], words


def test_song_to_remove_is_found_in_either_form(spark, songs, form):
    files = songs.selectExpr("song_id", "first_path AS path", "'/music' AS root")
    for given in (*names(form), names(form)[0].removeprefix("/music/")):
        assert choose_songs(files, songs, [given], warehouse="lake") == [1]


def test_of_two_files_whose_names_differ_in_the_form_only_the_given_one_is_removed(spark):
    paths = [names(form)[0] for form in FORMS]
    files = spark.createDataFrame(
        [(i, path, "/music") for i, path in enumerate(paths)],
        "song_id long, path string, root string",
    )
    songs = files.selectExpr("song_id", "cast(null AS string) AS title")
    found = [choose_songs(files, songs, [path], warehouse="lake") for path in paths]
    assert found == [[0], [1]]


def test_seed_of_recommendations_is_found_in_either_form(songs, form):
    features = songs.selectExpr(
        "song_id", "first_path AS source_key", "map('title', title) AS texts"
    )
    for given in (names(form)[0], normalize(form, "motÖr")):
        assert find_songs(features, [given]) == [1]
