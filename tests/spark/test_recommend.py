"""Recommendations: frames compared with scikit-learn, and the commands on a real table."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import functions as F
from sklearn.neighbors import NearestNeighbors

from sonic_lib.cli.main import main
from sonic_lib.errors import ModelError, UsageError
from sonic_lib.models.names import (
    first_artist,
    first_artist_column,
    one_song,
    song_name,
    song_name_column,
)
from sonic_lib.models.similarity.recommend import (
    clustered_neighbours,
    exact_neighbours,
    shared_values,
    standardised,
)
from sonic_lib.schemas import FEATURES, RECOMMENDATIONS
from sonic_lib.storage import creation, tables, writes
from sonic_lib.workflows.recommendation import Vectors, fit_centroids, song_vectors

K = 5


@pytest.fixture(scope="module")
def points():
    """Songs around twelve centres, so that clusters are meaningful."""
    rng = np.random.default_rng(3)
    middles = rng.normal(size=(12, 6))
    return middles[rng.integers(0, 12, 600)] + rng.normal(0, 0.4, (600, 6))


@pytest.fixture
def vectors(spark, points):
    rows = [(i, i, row.tolist()) for i, row in enumerate(points)]
    return spark.createDataFrame(rows, "song_id long, recording long, vector array<double>")


def as_lists(neighbours):
    rows = neighbours.orderBy("song_id", "rank").collect()
    found = {}
    for row in rows:
        found.setdefault(row.song_id, []).append((row.recommended_song_id, row.similarity))
        assert row.rank == len(found[row.song_id])
    return found


@pytest.mark.parametrize("n_tasks", [1, 3])
def test_exact_lists_match_scikit_learn(vectors, points, n_tasks):
    found = as_lists(vectors.transform(exact_neighbours, k=K, n_tasks=n_tasks))
    oracle = NearestNeighbors(n_neighbors=K + 1, metric="cosine", algorithm="brute").fit(points)
    distances, places = oracle.kneighbors(points)
    assert sorted(found) == list(range(600))
    for song, row in found.items():
        assert [other for other, _ in row] == places[song, 1:].tolist()
        np.testing.assert_allclose([s for _, s in row], 1 - distances[song, 1:], atol=1e-9)


def test_clustered_search_finds_nearly_all(vectors, points):
    exact = as_lists(vectors.transform(exact_neighbours, k=K, n_tasks=1))
    centroids = fit_centroids(Vectors(vectors, list("abcdef"), 600), n=12)
    assert centroids.shape == (12, 6)
    for n_probed, at_least in ((12, 1.0), (3, 0.8)):
        found = as_lists(
            vectors.transform(clustered_neighbours, centroids=centroids, k=K, n_probed=n_probed)
        )
        hits = [
            len({i for i, _ in exact[song]} & {i for i, _ in found.get(song, [])}) for song in exact
        ]
        assert np.mean(hits) / K >= at_least


def test_recordings_are_listed_once_and_never_for_themselves(spark):
    rows = [
        *[(1, 7, [1.0, 0.0]), (2, 7, [1.0, 0.01])],  # one recording stored twice
        *[(3, 8, [0.9, 0.1]), (4, 8, [0.9, 0.2]), (5, 5, [0.0, 1.0]), (6, 6, [0.0, 0.0])],
    ]
    vectors = spark.createDataFrame(rows, "song_id long, recording long, vector array<double>")
    found = as_lists(vectors.transform(exact_neighbours, k=10, n_tasks=2))
    assert [i for i, _ in found[1]] == [3, 5, 6]
    assert [i for i, _ in found[5]] == [4, 2, 6]
    # A song without features has similarity 0 to all others: smallest ids first.
    assert found[6] == [(1, 0.0), (3, 0.0), (5, 0.0)]


def test_missing_values_are_replaced_by_the_mean(spark):
    frame = spark.createDataFrame(
        [(1, 2.0, None, "A ", "x"), (2, 4.0, 6.0, "a", "X"), (3, None, 8.0, None, "x")],
        "song_id long, a double, `b.c` double, title string, artist string",
    )
    rows = (
        frame.transform(
            standardised,
            means={"a": 3.0, "b.c": 7.0},
            deviations={"a": 1.0, "b.c": 0.5},
            recording=one_song("title", "artist"),
        )
        .orderBy("song_id")
        .collect()
    )
    assert [row.vector for row in rows] == [[-1.0, 0.0], [1.0, -2.0], [0.0, 2.0]]
    assert rows[0].recording == rows[1].recording != rows[2].recording == 3


def test_songs_can_be_named_by_columns(spark):
    from tests.unit.test_names import ONE_ARTIST, ONE_SONG, OTHER_ARTISTS, OTHER_SONGS

    titles = sorted({title for pair in ONE_SONG + OTHER_SONGS for title in pair})
    artists = sorted({artist for pair in ONE_ARTIST + OTHER_ARTISTS for artist in pair})
    for texts, column, function in (
        (titles, song_name_column, song_name),
        (artists, first_artist_column, first_artist),
    ):
        frame = spark.createDataFrame([(text,) for text in texts], "t string")
        found = [row[0] for row in frame.select(column("t")).collect()]
        assert found == [function(text) for text in texts]


def test_shared_values_are_shares_of_pairs(spark):
    songs = spark.createDataFrame(
        [(1, "rock", "x"), (2, "rock", "y"), (3, "jazz", None)],
        "song_id long, genre string, artist string",
    )
    pairs = spark.createDataFrame(
        [(1, 2), (2, 1), (1, 3), (3, 2)], "song_id long, recommended_song_id long"
    )
    row = pairs.transform(shared_values, songs=songs, columns=["genre", "artist"]).first()
    assert (row.genre, row.artist) == (0.5, 0.0)


# ---- the commands ----


@pytest.fixture
def catalogue(spark, warehouse, points):
    creation.create_for_models(spark, warehouse)
    rows = [
        (
            *("it's", i, f"key{i}"),
            dict(zip("abcdef", map(float, row), strict=True)) | {"always": 1.0},
            {"track_name": f"Song {i:03}", "artist_name": f"Artist {i % 7}"},
            0,
        )
        for i, row in enumerate(points[:80])
    ]
    frame = spark.createDataFrame(
        rows,
        "source string, song_id long, source_key string, numbers map<string,double>, "
        "texts map<string,string>, feature_version int",
    ).withColumns({"run_id": F.lit("r"), "computed_at": F.current_timestamp()})
    writes.append(frame, warehouse, FEATURES)
    return warehouse


def test_constant_column_is_excluded(spark, catalogue):
    features = tables.read(spark, catalogue, FEATURES)
    vectors = song_vectors(features)
    assert (vectors.columns, vectors.constant) == (list("abcdef"), ("always",))
    with pytest.raises(ModelError, match="None of the columns always varies"):
        song_vectors(features, columns=["always"])
    with pytest.raises(UsageError, match=r"columns nothing .*not among the numeric"):
        song_vectors(features, columns=["nothing"])


def test_training_twice_gives_the_same_lists(spark, catalogue, capsys):
    def call(*words):
        code = main([*words, "--warehouse", catalogue])
        return code, capsys.readouterr()

    code, said = call("recommend", "key3")
    assert code == 1
    assert "no recommendations for it's yet" in said.err
    lists = []
    for _ in range(2):
        code, said = call("train", "recommendations", "--count", "4")
        assert code == 0
        assert "compared by 6 features; constant: always" in said.out
        table = tables.read(spark, catalogue, RECOMMENDATIONS).drop("model_version")
        lists.append(sorted(table.collect()))
    assert lists[0] == lists[1]
    assert len(lists[0]) == 80 * 4

    code, said = call("recommend", "song 003", "--count", "2")
    assert code == 0
    expected = [row for row in lists[0] if row.song_id == 3 and row["rank"] <= 2]
    for row in expected:
        assert f"key{row.recommended_song_id}" in said.out
    code, said = call("recommend", "Song 00")
    assert code == 2
    assert "it matches 0 (Artist 0 - Song 000), 1 (" in said.err


def test_without_titles_whole_keys_are_listed(spark, warehouse, points, capsys):
    creation.create_for_models(spark, warehouse)
    rows = [
        ("t", 2**62 + i, f"{i:064x}-1", dict(zip("abcdef", map(float, row), strict=True)))
        for i, row in enumerate(points[:30])
    ]
    frame = spark.createDataFrame(
        rows, "source string, song_id long, source_key string, numbers map<string,double>"
    ).selectExpr("*", "cast(map() AS map<string,string>) AS texts", "0 AS feature_version")
    frame = frame.withColumns({"run_id": F.lit("r"), "computed_at": F.current_timestamp()})
    writes.append(frame, warehouse, FEATURES)
    here = ["--warehouse", warehouse]
    assert main(["train", "recommendations", *here]) == 0
    key = f"{3:064x}-1"
    for words, columns in (
        (["recommend", key], ["rank", "similarity", "source_key"]),
        (["playlist", key], ["place", "relevance", "source_key"]),
    ):
        capsys.readouterr()
        assert main([*words, *here]) == 0
        header, _, *lines = capsys.readouterr().out.strip().splitlines()
        assert header.split() == columns
        assert all(len(line.split()[-1]) == 66 for line in lines)
    assert main(["recommend", "no such", *here]) == 2
    assert "The table has no titles" in capsys.readouterr().err


def test_versions_of_a_song_are_listed_once(spark, catalogue, capsys):
    """A remaster is not listed for its original, and a part of the title matches both."""
    features = tables.read(spark, catalogue, FEATURES)
    row = features.filter("song_id = 3").first().asDict()
    row |= {"song_id": 903, "source_key": "key903"}
    row["texts"] = {"track_name": "Song 003 - Remastered 2011", "artist_name": "Artist 3 feat. X"}
    writes.append(spark.createDataFrame([row], FEATURES.schema), catalogue, FEATURES)
    assert main(["train", "recommendations", "--count", "5", "--warehouse", catalogue]) == 0
    lists = tables.read(spark, catalogue, RECOMMENDATIONS)
    pair = lists.filter("song_id IN (3, 903) AND recommended_song_id IN (3, 903)")
    assert pair.count() == 0
    both = lists.filter("recommended_song_id IN (3, 903)").groupBy("song_id").count()
    assert both.filter("count > 1").count() == 0
    capsys.readouterr()
    assert main(["recommend", "song 003", "--warehouse", catalogue]) == 0


def test_feature_table_is_imported_first(spark, warehouse, tmp_path):
    table = tmp_path / "charts.csv"
    table.write_text("title,a,b\n" + "".join(f"song {i},{i},{i * i % 7}\n" for i in range(12)))
    words = ["train", "recommendations", "--count", "2", "--csv", str(table)]
    assert main([*words, "--warehouse", warehouse]) == 0
    lists = tables.read(spark, warehouse, RECOMMENDATIONS)
    assert lists.count() == 12 * 2
    absent = str(tmp_path / "absent.csv")
    assert main(["train", "recommendations", "--csv", absent, "--warehouse", warehouse]) == 2


def test_retraining_reuses_the_options(spark, catalogue):
    here = ["--warehouse", catalogue]
    words = ["train", "recommendations", "--count", "3", "--columns", "b", "e"]
    assert main([*words, *here]) == 0
    lists = []
    for _ in range(2):
        table = tables.read(spark, catalogue, RECOMMENDATIONS).drop("model_version")
        lists.append(sorted(table.collect()))
        assert main(["retrain", "recommendations", *here]) == 0
    assert lists[0] == lists[1]
    assert len(lists[0]) == 80 * 3


def test_playlist_has_no_seed_and_no_duplicates(catalogue, capsys, tmp_path):
    output = tmp_path / "list.json"
    words = ["playlist", "key1", "2", "--count", "9", "--output", str(output)]
    assert main([*words, "--warehouse", catalogue]) == 0
    import json

    listed = json.loads(output.read_text())
    assert [row["place"] for row in listed] == list(range(1, 10))
    ids = [row["song_id"] for row in listed]
    assert len(set(ids)) == 9
    assert not {1, 2} & set(ids)
    assert "key" in capsys.readouterr().out
    assert main(["playlist", "key1", "--diversity", "2", "--warehouse", catalogue]) == 2
