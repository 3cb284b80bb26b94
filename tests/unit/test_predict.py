"""Sources that lack columns of a model."""

from __future__ import annotations

import pytest

from sonic_lib.errors import ModelError
from sonic_lib.models.columns import ColumnProfile, choose_columns
from sonic_lib.workflows.prediction import missing_columns


@pytest.fixture
def card() -> dict:
    described = [
        ColumnProfile("genre", "text", 90, 3),
        ColumnProfile("tempo", "number", 90, 80),
        ColumnProfile("key", "text", 90, 12),
    ]
    columns = choose_columns(described, model="genre")
    return {"name": "genre", "version": "v1", "columns": columns.to_card()}


def test_source_may_lack_some_columns(card):
    tempo, key = ("number", "tempo"), ("text", "key")
    assert missing_columns(card, {tempo, key, ("text", "more")}, "songs") == []
    assert missing_columns(card, {key}, "songs") == ["tempo, missing in songs"]
    assert missing_columns(card, {key, ("text", "tempo")}, "songs") == [
        "tempo, of texts in songs and numbers in training"
    ]


def test_source_that_lacks_all_columns_is_refused(card):
    with pytest.raises(ModelError, match=r"songs has none of the columns .*tempo, key"):
        missing_columns(card, {("text", "colour")}, "songs")
