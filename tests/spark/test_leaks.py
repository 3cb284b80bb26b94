"""Columns that leak the target are found; strong but legitimate ones are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sonic_lib.errors import ModelError
from sonic_lib.models.columns import ColumnProfile, Columns, choose_columns
from sonic_lib.models.leaks import without_leaks
from sonic_lib.models.limits import seen_limits
from sonic_lib.workflows.training_sets import leaks_of

N = 1200
GENRES = ("rock", "jazz", "dub")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    genre = rng.integers(0, 3, N)
    fame = np.round(rng.normal(50, 18, N)).clip(0, 100)
    artist = genre * 1000 + rng.integers(0, 130, N)  # about three songs each, of one genre
    return pd.DataFrame(
        {
            "genre": [GENRES[g] for g in genre],
            "subgenre_x": [
                f"{GENRES[g]} {k}" for g, k in zip(genre, rng.integers(0, 6, N), strict=True)
            ],
            "code": genre * 7.0,
            "coded": genre + rng.normal(0, 0.01, N),
            "number": rng.permutation(N).astype(float),
            "fame": fame,
            "fame_again": 3 * fame - 4 + rng.normal(0, 0.5, N),
            "famous": np.where(fame > 50, "yes", "no"),
            "broad_style": np.where(genre == 2, "electric", "acoustic"),
            "artist_name": [f"artist {a}" for a in artist],
            "record": [f"record {i}" if i % 3 else "various" for i in range(N)],
            "wave": [f"{GENRES[g]}.{i:05}.wav" for i, g in enumerate(genre)],
            "strong": genre + rng.normal(0, 0.6, N),
            "tempo": rng.normal(120, 20, N),
            "mood": rng.choice(["sad", "glad"], N),
        }
    )


def found(spark, table: pd.DataFrame, **options) -> dict[str, str]:
    """Leaking columns and reasons, for a table in the shape of `features`."""
    kinds = {name: "text" if table[name].dtype == object else "number" for name in table}
    rows = [
        (
            *("t", i, str(i)),
            {name: float(row[name]) for name in kinds if kinds[name] == "number"},
            {name: row[name] for name in kinds if kinds[name] == "text"},
        )
        for i, row in enumerate(table.to_dict("records"))
    ]
    features = spark.createDataFrame(
        rows,
        "source string, song_id long, source_key string, numbers map<string,double>, "
        "texts map<string,string>",
    )
    profile = [ColumnProfile(name, kinds[name], N, table[name].nunique()) for name in sorted(table)]
    columns = choose_columns(profile, **options)
    return {leak.column: leak.why for leak in leaks_of(features, columns, n_rows=N)}


def test_only_genre_leaks_are_found(spark, table):
    assert found(spark, table, model="genre") == {
        "subgenre_x": "predicts",
        "code": "predicts",
        "coded": "predicts",
        "number": "place",
        "broad_style": "follows",
        "wave": "shape",
    }


def test_only_number_leaks_are_found(spark, table):
    assert found(spark, table, model="popularity", target="fame") == {
        "fame_again": "predicts",
        "famous": "follows",
        "number": "place",
    }


def test_leaks_are_excluded_unless_kept(table):
    described = [ColumnProfile("genre", "text", 90, 3), ColumnProfile("sub", "text", 90, 9)]
    columns = choose_columns([*described, ColumnProfile("tempo", "number", 90, 80)], model="genre")
    from sonic_lib.models.leaks import Leak

    leak = Leak("sub", "predicts", 1.0, 90)
    without = without_leaks(columns, [leak], keep=())
    assert (without.categories, without.numbers) == ((), ("tempo",))
    assert without.dropped["sub"] == "alone predicts genre"
    assert without_leaks(columns, [leak], keep=("sub",)) == columns
    assert "--keep sub" in leak.sentence("genre", is_kept=False)
    with pytest.raises(ModelError, match="No column is left to predict genre: sub"):
        without_leaks(choose_columns(described, model="genre"), [leak], keep=())


def test_kept_columns_may_have_any_name():
    described = [ColumnProfile("genre", "text", 90, 3), ColumnProfile("folder", "text", 90, 9)]
    columns = choose_columns(described, model="genre", keep=["folder"])
    assert (columns.categories, columns.kept) == (("folder",), ("folder",))
    assert Columns.from_card(columns.to_card()) == columns


@pytest.mark.parametrize(
    ("labels", "limits"),
    [
        (np.arange(0, 98), (0.0, 100.0)),
        (np.linspace(0, 1, 50), (0.0, 1.0)),
        (np.linspace(60, 190, 50), (0.0, np.inf)),
        (np.arange(0, 40), (0.0, np.inf)),
        (np.linspace(-3, 90, 50), None),
        (np.arange(0, 12), None),
    ],
)
def test_limits_are_inferred_from_the_labels(labels, limits):
    seen = seen_limits(
        n=len(labels),
        low=float(labels.min()),
        high=float(labels.max()),
        are_whole=bool((labels == np.floor(labels)).all()),
    )
    assert seen == limits
