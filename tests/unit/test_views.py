"""Which tables a SQL text needs."""

from __future__ import annotations

import pytest

from sonic_lib.sql import functions, views

SONGS, FILES = "sonic.songs", "sonic.song_files"


@pytest.mark.parametrize(
    ("statements", "needed"),
    [
        (["SELECT * FROM sonic.songs"], {SONGS}),
        (["select 1 from `sonic`.`Songs` s join SONIC . song_files f"], {SONGS, FILES}),
        (["-- count\n(WITH s AS (SELECT * FROM sonic.songs) SELECT * FROM s)"], {SONGS}),
        (["SELECT * FROM sonic.songs", "SELECT * FROM sonic.song_files"], {SONGS, FILES}),
        (
            ["SELECT * FROM sonic.rejects"],
            views.tables_of(dict(views.statements("views"))["rejects"]),
        ),
        (["SELECT * FROM sonic.absent"], {"sonic.absent"}),
        (["SHOW TABLES IN sonic"], None),
        (["SELECT * FROM sonic.songs", "SHOW TABLES IN sonic"], None),
        (["USE sonic", "SELECT * FROM songs"], None),
        (["DESCRIBE sonic.songs"], None),
        (["SELECT * FROM songs"], None),
        (["CREATE VIEW v AS SELECT * FROM sonic.songs"], None),
    ],
)
def test_queries_need_what_they_name_and_others_everything(statements, needed):
    assert views.needed_tables(statements) == needed


def test_views_read_tables_only():
    # Otherwise, what a view needs would not be found.
    texts = dict(views.statements("views"))
    assert not {f"sonic.{name}" for name in texts} & set().union(
        *map(views.tables_of, texts.values())
    )


def test_table_functions_are_recognised():
    assert functions.are_used("SELECT * FROM Fingerprint_Audio(TABLE(x))")
    assert not functions.are_used("SELECT count(*) FROM sonic.fingerprints")
