"""What an index run has to do, on frames small enough to check by hand."""

from __future__ import annotations

from datetime import datetime

import pytest
from pyspark.sql import functions as F

from sonic_lib.index import plan
from sonic_lib.schemas import DIGESTS, FILES, SONG_FILES, SONGS

MONDAY, TUESDAY = datetime(2026, 5, 4), datetime(2026, 5, 5)


@pytest.fixture
def frame(spark):
    """Rows of a schema from the relevant values."""

    def make(schema, *rows: dict, **same):
        full = [{"size_bytes": 1, "modified_at": MONDAY, "root": "/m"} | same | r for r in rows]
        return spark.createDataFrame([tuple(r.get(n) for n in schema.names) for r in full], schema)

    return make


@pytest.fixture
def files(frame):
    return lambda *rows: frame(FILES, *rows)


@pytest.fixture
def known(frame):
    return lambda *rows: frame(SONG_FILES.schema, *rows)


@pytest.fixture
def digests(frame):
    return lambda *rows: frame(DIGESTS, *rows)


@pytest.fixture
def songs(frame):
    return lambda *ids: frame(SONGS.schema, *({"song_id": i} for i in ids))


@pytest.fixture
def read(spark):
    schema = "song_id long, stage string, error string, note string"
    return lambda *rows: spark.createDataFrame(list(rows), schema)


def found(rows, *columns):
    return sorted(tuple(row[c] for c in columns) for row in rows.collect())


# ---- changed_files ----


def indexed(path, song_id=1, status="indexed", **more):
    return {"path": path, "song_id": song_id, "status": status, **more}


def test_only_new_and_modified_files_are_read(files, known):
    changed = plan.changed_files(
        files(
            {"path": "/m/same"},
            {"path": "/m/new"},
            {"path": "/m/larger", "size_bytes": 2},
            {"path": "/m/later", "modified_at": TUESDAY},
            {"path": "/m/rejected"},
        ),
        known=known(
            *(indexed(f"/m/{name}") for name in ("same", "larger", "later", "not given")),
            indexed("/m/rejected", None, "rejected"),
        ),
        retry_rejected=False,
    )
    assert found(changed, "path", "is_new") == [
        ("/m/larger", False),
        ("/m/later", False),
        ("/m/new", True),
    ]
    assert sorted(changed.columns) == sorted([*FILES.names, "is_new"])


def test_rejected_files_are_read_again_on_request(files, known):
    changed = plan.changed_files(
        files({"path": "/m/rejected"}, {"path": "/m/same"}),
        known=known(indexed("/m/rejected", None, "rejected"), indexed("/m/same")),
        retry_rejected=True,
    )
    assert found(changed, "path", "is_new") == [("/m/rejected", False)]


# ---- new_songs ----


def test_each_new_content_is_decoded_once(digests, songs):
    new = plan.new_songs(
        digests(
            {"path": "/m/b", "song_id": 1, "content_sha256": "aa"},
            {"path": "/m/a", "song_id": 1, "content_sha256": "aa", "size_bytes": 7},
            {"path": "/m/c", "song_id": 2, "content_sha256": "bb"},
            {"path": "/m/known", "song_id": 3, "content_sha256": "cc"},
            {"path": "/m/unreadable", "error": "no permission"},
        ),
        songs=songs(3, 4),
    )
    assert found(new, "song_id", "content_sha256", "path", "size_bytes") == [
        (1, "aa", "/m/a", 7),
        (2, "bb", "/m/c", 1),
    ]


# ---- reject_collisions ----


def test_files_crafted_to_share_a_song_id_are_kept_apart(digests, songs, known, read):
    stored = songs(3, 4).withColumn("content_sha256", F.lit("c0"))
    files = digests(
        {"path": "/m/kept", "song_id": 1, "content_sha256": "aa"},
        {"path": "/m/copy", "song_id": 1, "content_sha256": "aa"},
        {"path": "/m/made", "song_id": 1, "content_sha256": "ab"},
        {"path": "/m/other than stored", "song_id": 3, "content_sha256": "bb"},
        {"path": "/m/stored", "song_id": 4, "content_sha256": "c0"},
        {"path": "/m/unreadable", "error": "no permission"},
    ).transform(plan.reject_collisions, songs=stored)
    assert found(files.filter("song_id IS NOT NULL"), "path", "song_id") == [
        ("/m/copy", 1),
        ("/m/kept", 1),
        ("/m/stored", 4),
    ]
    errors = dict(found(files.filter("error IS NOT NULL"), "path", "error"))
    assert "63 bits" in errors["/m/made"]
    assert "song 3" in errors["/m/other than stored"]
    assert errors["/m/unreadable"] == "no permission"
    assert found(plan.new_songs(files, songs=stored), "song_id", "path") == [(1, "/m/copy")]
    judged = plan.song_files(files, songs=songs(1, 3, 4), known=known(), read=read())
    assert found(judged, "path", "status") == [
        ("/m/copy", "indexed"),
        ("/m/kept", "duplicate"),
        ("/m/made", "rejected"),
        ("/m/other than stored", "rejected"),
        ("/m/stored", "indexed"),
        ("/m/unreadable", "rejected"),
    ]


# ---- song_files ----

JUDGED = ("path", "song_id", "status", "stage", "error")


def test_every_file_read_gets_a_status(digests, songs, known, read):
    judged = plan.song_files(
        digests(
            {"path": "/m/song", "song_id": 1},
            {"path": "/m/copy b", "song_id": 2},
            {"path": "/m/copy a", "song_id": 2},
            {"path": "/m/broken", "song_id": 3},
            {"path": "/m/broken too", "song_id": 3},
            {"path": "/m/unreadable", "error": "no permission"},
        ),
        songs=songs(1, 2, 9),
        known=known(),
        read=read((1, None, None, "the end"), (3, "decode", "truncated", None)),
    )
    assert found(judged, *JUDGED) == [
        ("/m/broken", None, "rejected", "decode", "truncated"),
        ("/m/broken too", None, "rejected", "decode", "truncated"),
        ("/m/copy a", 2, "indexed", None, None),
        ("/m/copy b", 2, "duplicate", None, None),
        ("/m/song", 1, "indexed", None, None),
        ("/m/unreadable", None, "rejected", "open", "no permission"),
    ]
    assert found(judged.filter("note IS NOT NULL"), "path", "note") == [("/m/song", "the end")]
    assert set(judged.columns) == set(SONG_FILES.schema.names) - {"run_id", "seen_at"}


def test_renamed_file_keeps_its_song(spark, digests, songs, known, read):
    found_now = digests({"path": "/m/new name.v2.mp3", "song_id": 1})
    old = known(indexed("/m/old.mp3", 1), indexed("/m/other.mp3", 2))
    missing = old.filter("path IN ('/m/old.mp3', '/m/other.mp3')")
    moved = plan.moved_files(missing, digests=found_now)
    assert found(moved, "path", "song_id") == [("/m/old.mp3", 1)]
    left = old.join(moved, "path", "left_anti")
    judged = plan.song_files(found_now, songs=songs(1), known=left, read=read())
    assert found(judged, *JUDGED[:3]) == [("/m/new name.v2.mp3", 1, "indexed")]
    tags = "title string, artist string, album string, genre string, release_year int"
    stored = spark.createDataFrame(
        [(1, "old", None, None, None, None), (2, "other", *[None] * 4)], f"song_id long, {tags}"
    )
    renamed = plan.renamed_songs(stored, gone=moved, files=judged)
    assert found(renamed, "song_id", "title") == [(1, "new name.v2")]
    for tagged in (
        stored.replace("old", "A Title", "title"),
        stored.fillna("Someone", "artist"),
        stored.fillna(1999, "release_year"),
    ):
        assert found(plan.renamed_songs(tagged, gone=moved, files=judged), "song_id") == []


def test_copy_of_a_known_song_is_a_duplicate(digests, songs, known, read):
    judged = plan.song_files(
        digests({"path": "/m/a copy", "song_id": 1}),
        songs=songs(1),
        known=known(indexed("/m/song", 1)),
        read=read(),
    )
    assert found(judged, *JUDGED[:3]) == [("/m/a copy", 1, "duplicate")]


def test_touched_file_with_the_same_content_keeps_its_status(digests, songs, known, read):
    judged = plan.song_files(
        digests({"path": "/m/song", "song_id": 1}),
        songs=songs(1),
        known=known(indexed("/m/song", 1), indexed("/m/copy", 1, "duplicate")),
        read=read(),
    )
    assert found(judged, *JUDGED[:3]) == [("/m/song", 1, "indexed")]


def test_two_unreadable_files_are_two_rejects(digests, songs, known, read):
    judged = plan.song_files(
        digests({"path": "/m/a", "error": "x"}, {"path": "/m/b", "error": "y"}),
        songs=songs(1),
        known=known(),
        read=read(),
    )
    assert found(judged, "path", "status", "error") == [
        ("/m/a", "rejected", "x"),
        ("/m/b", "rejected", "y"),
    ]


def test_touched_file_gives_its_name_to_no_copy(spark, digests, songs, known, read):
    """A song's file and a copy that sorts first have new times, but the same bytes."""
    before = known(indexed("/m/a song", 1), indexed("/m/0 copy", 1, "duplicate"))
    read_again = digests(*({"path": path, "song_id": 1} for path in ("/m/a song", "/m/0 copy")))
    judged = plan.song_files(read_again, songs=songs(1), known=before, read=read())
    tags = "title string, artist string, album string, genre string, release_year int"
    stored = spark.createDataFrame([(1, "a song", *[None] * 4)], f"song_id long, {tags}")
    assert plan.renamed_songs(stored, gone=before, files=judged).isEmpty()


# ---- promoted_files ----


def test_duplicate_replaces_the_indexed_file_of_its_song(known, files):
    before = known(
        indexed("/m/deleted", 1, run_id="first"),
        indexed("/m/copy b", 1, "duplicate", run_id="second"),
        indexed("/m/copy a", 1, "duplicate", run_id="second"),
        indexed("/m/changed", 2),
        indexed("/m/copy of changed", 2, "duplicate"),
        indexed("/m/moved back", 3),
        indexed("/m/copy of moved", 3, "duplicate"),
        indexed("/m/untouched", 4),
        indexed("/m/copy that is gone", 4, "duplicate"),
        indexed("/m/its other copy", 4, "duplicate"),
        indexed("/m/only file", 5),
        indexed("/m/changed, too", 6),
        indexed("/m/copy a of 6", 6, "duplicate"),
        indexed("/m/copy b of 6", 6, "duplicate"),
    )
    names = ("deleted", "changed", "moved back", "only file", "copy that is gone", "changed, too")
    gone = files(*({"path": f"/m/{name}"} for name in names))
    read = known(indexed("/m/changed", 8), indexed("/m/moved here", 3))
    missing = files({"path": "/m/copy a of 6"})
    promoted = plan.promoted_files(before, gone=gone, missing=missing, files=read)
    assert found(promoted, "song_id", "path", "status") == [
        (1, "/m/copy a", "indexed"),
        (2, "/m/copy of changed", "indexed"),
        (6, "/m/copy b of 6", "indexed"),
    ]
    assert promoted.filter("song_id = 1").first().run_id == "second"
    assert promoted.columns == before.columns


# ---- abandoned_songs ----


def test_song_without_files_is_abandoned(known, digests, files):
    abandoned = plan.abandoned_songs(
        known(
            indexed("/m/changed", 1),
            indexed("/m/changed to its copy", 2),
            indexed("/m/first", 3),
            indexed("/m/second", 3, "duplicate"),
            indexed("/m/moved", 4),
            indexed("/m/rejected", None, "rejected"),
            indexed("/m/untouched", 5),
        ),
        gone=files(
            *({"path": f"/m/{name}"} for name in ("changed", "changed to its copy", "first")),
            *({"path": f"/m/{name}"} for name in ("moved", "rejected", "never known")),
        ),
        digests=digests(
            {"path": "/m/changed", "song_id": 8},
            {"path": "/m/changed to its copy", "song_id": 3},
            {"path": "/m/moved here", "song_id": 4},
            {"path": "/m/unreadable", "song_id": None, "error": "no permission"},
        ),
    )
    assert found(abandoned, "song_id") == [(1,), (2,)]


def test_song_is_removed_when_all_its_files_are(known, digests, files):
    abandoned = plan.abandoned_songs(
        known(indexed("/m/first", 3), indexed("/m/second", 3, "duplicate")),
        gone=files({"path": "/m/first"}, {"path": "/m/second"}),
        digests=digests(),
    )
    assert found(abandoned, "song_id") == [(3,)]


# ---- pruned_files ----


def test_pruning_removes_missing_files_below_the_given_folders(known, files):
    pruned = plan.pruned_files(
        known(
            indexed("/m/here.mp3"),
            indexed("/m/gone.mp3"),
            indexed("/m/sub/gone too.mp3"),
            indexed("/m/rejected and gone.mp3", None, "rejected"),
            indexed("/music/elsewhere.mp3"),
            indexed("/one file.mp3"),
            indexed("/100%_[x]/gone.mp3"),
            indexed("/1000_[x]/elsewhere.mp3"),
        ),
        files=files({"path": "/m/here.mp3"}),
        roots=["/m", "/one file.mp3", "/100%_[x]/"],
    )
    assert found(pruned, "path") == [
        ("/100%_[x]/gone.mp3",),
        ("/m/gone.mp3",),
        ("/m/rejected and gone.mp3",),
        ("/m/sub/gone too.mp3",),
        ("/one file.mp3",),
    ]


def test_pruning_spares_folders_that_could_not_be_listed(known, files):
    pruned = plan.pruned_files(
        known(indexed("/m/closed/a.mp3"), indexed("/m/closed2/b.mp3"), indexed("/m/c.mp3")),
        files=files({"path": "/m/closed"}, {"path": "/m/c.mp3"}),
        roots=["/m"],
    )
    assert found(pruned, "path") == [("/m/closed2/b.mp3",)]


def test_unlisted_folder_may_be_named_like_a_song(known, files):
    pruned = plan.pruned_files(
        known(indexed("/m/Best of.mp3/cd 1/a.mp3"), indexed("/m/Best of.mp3s/b.mp3")),
        files=files({"path": "/m/Best of.mp3"}),
        roots=["/m"],
    )
    assert found(pruned, "path") == [("/m/Best of.mp3s/b.mp3",)]


def test_pruning_the_root_folder_covers_everything(known, files):
    pruned = plan.pruned_files(known(indexed("/m/gone.mp3")), files=files(), roots=["/"])
    assert found(pruned, "path") == [("/m/gone.mp3",)]
