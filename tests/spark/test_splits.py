"""Splits by hash do not depend on row order, and keep groups together."""

from __future__ import annotations

import pytest
from pyspark.sql import functions as F

from sonic_lib.models import membership
from sonic_lib.models.balance import balanced_parts
from sonic_lib.models.splits import (
    FOLDS,
    HELD_OUT,
    INNER_FOLDS,
    bucket,
    is_held_out,
    large_groups,
    with_folds,
)


@pytest.fixture
def songs(spark):
    rows = [(i, None if i % 10 == 0 else f"artist {i % 50}") for i in range(1000)]
    return spark.createDataFrame(rows, "song_id long, `the artist` string")


def folds(frame, **options):
    rows = frame.transform(with_folds, n_folds=5, seed=1, **options)
    return {row.song_id: row._fold for row in rows.collect()}


def test_folds_have_similar_sizes_and_do_not_depend_on_order(songs):
    found = folds(songs)
    sizes = [list(found.values()).count(fold) for fold in range(5)]
    assert sum(sizes) == 1000
    assert all(150 < size < 250 for size in sizes)
    assert folds(songs.orderBy(F.desc("song_id")).repartition(7)) == found


def test_groups_stay_together_and_rows_without_one_do_not(songs):
    found = folds(songs, group="the artist")
    by_artist = {}
    for row in songs.collect():
        by_artist.setdefault(row["the artist"], set()).add(found[row.song_id])
    alone = by_artist.pop(None)
    assert all(len(seen) == 1 for seen in by_artist.values())
    assert alone == set(range(5))


def test_other_seeds_and_purposes_give_other_splits(songs):
    base = folds(songs)
    other = songs.select(
        "song_id",
        bucket(n_buckets=5, seed=2, purpose=FOLDS).alias("seed"),
        bucket(n_buckets=5, seed=1, purpose=INNER_FOLDS).alias("purpose"),
    ).collect()
    for name in ("seed", "purpose"):
        agreeing = sum(base[row.song_id] == row[name] for row in other)
        assert 150 < agreeing < 250  # a fifth, by chance


def test_group_is_not_confused_with_a_key(spark):
    # Row 7 has no artist, and one artist is called 7: two separate groups.
    rows = spark.createDataFrame(
        [(i, str(i + 1)) for i in range(200)] + [(i + 1000, None) for i in range(200)],
        "song_id long, artist string",
    ).withColumn("song_id", F.pmod("song_id", F.lit(1000)))
    found = rows.select(
        "song_id",
        "artist",
        bucket(n_buckets=1000, seed=1, purpose=FOLDS, group="artist").alias("b"),
    ).collect()
    named = {row.artist: row.b for row in found if row.artist}
    alone = {str(row.song_id): row.b for row in found if row.artist is None}
    assert sum(named.get(name) == place for name, place in alone.items()) < 10


@pytest.mark.parametrize(
    ("share", "least", "most"), [(0.0, 0, 0), (0.2, 150, 250), (1.0, 1000, 1000)]
)
def test_held_out_share_is_as_requested(songs, share, least, most):
    assert least <= songs.filter(is_held_out(share=share, seed=1)).count() <= most


def test_held_out_rows_stay_held_out_when_songs_are_added(songs):
    chosen = is_held_out(share=0.3, seed=1)
    before = {row.song_id for row in songs.filter("song_id < 500").filter(chosen).collect()}
    after = {row.song_id for row in songs.filter(chosen).collect()}
    assert before == {song_id for song_id in after if song_id < 500}


# ---- large groups ----


@pytest.fixture
def packages(spark):
    """Fifteen packages of 5 to 33 songs, each in one of five styles; and songs without one."""
    rows = [
        (100 * package + i, f"package {package}", f"style {package % 5}")
        for package in range(15)
        for i in range(5 + 2 * package)
    ]
    rows += [(9000 + i, None, f"style {i % 5}") for i in range(40)]
    return spark.createDataFrame(rows, "song_id long, package string, style string").cache()


def parts_of(frame, *, shares, **options):
    counts = frame.transform(large_groups, shares=shares, **options)
    return balanced_parts(counts.toPandas(), shares=shares)


@pytest.mark.parametrize("seed", range(4))
def test_few_large_groups_are_balanced_in_rows_and_styles(packages, seed):
    parts = parts_of(
        packages, shares=(0.2, 0.8), seed=seed, purpose=HELD_OUT, group="package", label="style"
    )
    grouped = packages.toPandas().dropna()
    assert set(parts) == set(grouped["package"])
    is_first = grouped["package"].map(parts) == 0
    assert 0.15 < is_first.mean() < 0.25
    assert grouped[is_first]["style"].nunique() >= 4
    assert grouped[~is_first]["style"].nunique() == 5


def test_large_groups_are_held_out_as_assigned_and_other_rows_by_their_hash(packages):
    parts = {f"package {package}": int(package % 5 > 0) for package in range(15)}
    split = packages.transform(membership.with_held_out, group="package", parts=parts).toPandas()
    grouped = split.dropna()
    assert (grouped["_held_out"] == grouped["package"].map(parts).eq(0)).all()
    alone = split[split["package"].isna()]
    assert 0 < alone["_held_out"].sum() < 40


def test_folds_of_large_groups_are_even_and_do_not_depend_on_order(packages):
    def split(frame):
        parts = parts_of(
            frame, shares=[0.2] * 5, seed=1, purpose=FOLDS, group="package", label="style"
        )
        return folds(frame, group="package", parts=parts)

    found = split(packages)
    assert split(packages.orderBy(F.desc("song_id")).repartition(5)) == found
    sizes = [sum(fold == k for fold in found.values()) for k in range(5)]
    assert min(sizes) > 0.6 * len(found) / 5
    assert max(sizes) < 1.5 * len(found) / 5


def test_many_small_groups_are_split_by_their_hash(spark):
    rows = spark.range(9000).selectExpr("id AS song_id", "cast(id DIV 2 AS string) AS artist")
    assert parts_of(rows, shares=(0.2, 0.8), seed=1, purpose=HELD_OUT, group="artist") == {}
    split = rows.transform(membership.with_held_out, group="artist", parts={})
    by_hash = is_held_out(
        share=membership.HELD_OUT_SHARE, seed=membership.HELD_OUT_SEED, group="artist"
    )
    assert split.filter(F.col("_held_out") != by_hash).count() == 0
