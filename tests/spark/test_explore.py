"""Summaries of a frame, compared with pandas and scipy, and the `explore` command."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from sonic_lib.cli.commands import explore as command
from sonic_lib.config import Config
from sonic_lib.errors import ModelError, UsageError
from sonic_lib.models.exploration import aggregates as explore
from sonic_lib.models.exploration import projections
from sonic_lib.models.exploration.projections import Bins
from sonic_lib.report.exploration import figures_of, tables_of, text_of
from sonic_lib.schemas import FEATURES
from sonic_lib.storage import writes
from sonic_lib.workflows import exploration

ODD_NAME = "tempo (b.p.m.) `x`"


@pytest.fixture
def values(rng):
    """Three correlated columns, with ties, missing values and a name that needs quoting."""
    loudness = rng.normal(-8, 3, 400)
    frame = pd.DataFrame(
        {
            "loudness": loudness,
            "energy": np.exp(loudness / 4) + rng.normal(0, 0.05, 400),
            ODD_NAME: np.round(100 + loudness + rng.normal(0, 4, 400)),
        }
    )
    frame[rng.random(frame.shape) < 0.1] = np.nan
    return frame


@pytest.fixture
def frame(spark, values):
    """The same values on Spark, missing as null, NaN or infinity, in more than two partitions."""
    gaps = np.resize([None, np.nan, np.inf], len(values))
    rows = values.astype(object).where(values.notna(), np.column_stack([gaps] * 3))
    rows.insert(0, "song_id", range(len(rows)))
    schema = "song_id long, loudness double, energy double, `tempo (b.p.m.) ``x``` double"
    return spark.createDataFrame(list(rows.itertuples(index=False, name=None)), schema).repartition(
        3, "song_id"
    )


def test_sample_depends_only_on_keys_and_seed(spark):
    def drawn(n, seed, n_partitions):
        songs = spark.range(1000).repartition(n_partitions).withColumnRenamed("id", "song_id")
        rows = songs.transform(explore.sample, key="song_id", n=n, seed=seed).collect()
        return {row.song_id for row in rows}

    assert drawn(100, 1, 1) == drawn(100, 1, 7)
    assert len(drawn(100, 1, 3)) == 100
    assert drawn(50, 1, 3) < drawn(100, 1, 3)
    assert drawn(100, 2, 3) != drawn(100, 1, 3)
    # Half of the keys are below 500; a fair sample of 100 has 30 to 70 of them.
    assert 30 <= sum(i < 500 for i in drawn(100, 1, 3)) <= 70
    assert len(drawn(5000, 1, 3)) == 1000


def test_values_are_counted_and_lists_item_by_item(spark):
    texts = [
        "rock",
        "['rock', 'pop']",
        """["drum'n'bass", 'pop', 'pop']""",
        " rock ",
        "[]",
        "",
        None,
        "[live] at home",
        "Don't",
    ]
    genres = spark.createDataFrame([(text,) for text in texts], "`my.genre` string")
    counts = genres.transform(explore.value_counts, column="my.genre").collect()
    assert {row.value: row.n for row in counts} == {
        "rock": 3,
        "pop": 2,
        "drum'n'bass": 1,
        "[live] at home": 1,
        "Don't": 1,
    }
    unquoted = ["[rock, r'n'b]", "[np.str_('rock'), np.str_('pop')]", "['pop', None]", "[1, 2]"]
    lists = spark.createDataFrame([(text,) for text in unquoted], "tags string")
    counts = lists.transform(explore.value_counts, column="tags").collect()
    expected = {"rock": 2, "pop": 2, "r'n'b": 1, "1": 1, "2": 1}
    assert {row.value: row.n for row in counts} == expected
    top = genres.transform(explore.top_values, column="my.genre", n=3).collect()
    assert [(row.value, row.n) for row in top] == [("rock", 3), ("pop", 2), ("Don't", 1)]


def test_summary_matches_pandas(frame, values):
    found = frame.transform(explore.summary, columns=list(values)).toPandas().set_index("name")
    expected = values.describe(percentiles=[0.005, 0.25, 0.5, 0.75, 0.995]).T
    for name in values:
        row = found.loc[name]
        assert row["n"] == expected.loc[name, "count"]
        assert row["n_missing"] == len(values) - row["n"]
        own = values[name].dropna().sort_values().to_numpy()
        for column, share in explore._QUANTILES.items():
            below, up_to = (np.searchsorted(own, row[column], side) for side in ("left", "right"))
            assert below <= share * len(own) + 1
            assert up_to >= share * len(own)
        assert row["mean"] == pytest.approx(expected.loc[name, "mean"])
        assert row["std"] == pytest.approx(expected.loc[name, "std"])
    assert found["is_whole"].to_dict() == {"loudness": False, "energy": False, ODD_NAME: True}


def test_histograms_match_numpy_and_contain_outliers(frame, values):
    bins = {"loudness": Bins(-12.0, 2.0, 4), ODD_NAME: Bins(69.5, 3.0, 20)}
    found = frame.transform(explore.histograms, bins=bins).toPandas()
    for name, (low, width, n) in bins.items():
        own = found[found["name"] == name].set_index("bin")["n"].reindex(range(n), fill_value=0)
        inside = np.clip(values[name].dropna(), low, low + n * width)
        expected, _ = np.histogram(inside, low + width * np.arange(n + 1))
        np.testing.assert_array_equal(own, expected)


def test_correlations_match_pandas(frame, values):
    names = list(values)
    moments = frame.transform(
        explore.moments, columns=names, centres=values.mean(), scales=values.std()
    ).toPandas()
    expected = values.corr().to_numpy()
    np.testing.assert_allclose(projections.correlation_matrix(moments), expected, atol=1e-12)
    # Centring and scaling only improve precision.
    rough = frame.transform(explore.moments, columns=names, centres=[1] * 3, scales=[7] * 3)
    np.testing.assert_allclose(
        projections.correlation_matrix(rough.toPandas()), expected, atol=1e-9
    )


def test_moments_of_no_rows_are_zero(frame):
    none = frame.filter("song_id < 0")
    (row,) = none.transform(explore.moments, columns=["energy"], centres=[0], scales=[1]).collect()
    assert row["n"] == row["sum_products"] == 0


def test_rank_correlations_match_scipy(frame, values):
    found = exploration._rank_correlations(frame, list(values))
    # scipy ranks each pair of columns separately, on the rows that have both.
    expected = [[spearmanr(values[[a, b]].dropna()).statistic for b in values] for a in values]
    expected = [[pair if np.ndim(pair) == 0 else 1.0 for pair in row] for row in expected]
    np.testing.assert_allclose(found, expected, atol=0.005)
    assert np.abs(found - values.corr()).to_numpy().max() > 0.03


def test_ties_get_their_mean_rank(spark):
    frame = spark.createDataFrame([(1.0,), (1.0,), (2.0,), (None,)], "x double")
    ranked = frame.transform(explore.ranks, grids={"x": [1.0, 1.0, 2.0, 2.0]}).collect()
    assert [row.x for row in ranked] == [0.25, 0.25, 0.75, None]


# ---- the command ----


@pytest.fixture
def features(spark, rng):
    """Forty songs of two genres that differ in loudness."""
    rows = []
    for i in range(40):
        is_rock = i % 2 == 0
        numbers = {"loudness_db": rng.normal(-6.0 if is_rock else -15.0), "constant": 1.0}
        numbers |= {"tempo_bpm": rng.normal(120, 9), "popularity": float(i)}
        if i % 10 == 0:
            del numbers["tempo_bpm"]
        texts = {"genre": "rock" if is_rock else "['folk', 'pop']"}
        rows.append(("audio", i, f"{i}.wav", numbers, texts, 1, "run", datetime(2026, 5, 4)))
    return spark.createDataFrame(rows, FEATURES.schema).coalesce(1)


def explored(features, *, color=None, columns=None, n_sample=3000):
    return exploration.explored(features, color=color, columns=columns, n_sample=n_sample, seed=1)


def test_exploration_contains_the_data_of_its_figures(features):
    found = explored(features, n_sample=30)
    assert found.varied == ["loudness_db", "popularity", "tempo_bpm"]
    assert [(row.value, row.n) for row in found.top.itertuples()] == [
        ("folk", 20),
        ("pop", 20),
        ("rock", 20),
    ]
    assert found.columns.set_index("name")["n_missing"]["tempo_bpm"] == 4
    assert found.counts.groupby("name")["n"].sum().to_dict() == {
        "constant": 40,
        "loudness_db": 40,
        "popularity": 40,
        "tempo_bpm": 36,
    }
    assert found.sample.shape == (30, 6)
    assert found.components.explained.sum() == pytest.approx(1)
    assert {name for name, _ in figures_of(found)} == {
        "top_values",
        "missing",
        "distributions",
        "correlations",
        "rank_correlations",
        "explained_variance",
        "pca_map",
        "tsne_map",
    }
    text = "\n".join(text_of(found))
    assert "4 columns; 1 constant" in text
    assert "tempo_bpm 4" in text
    again = explored(features.repartition(3), n_sample=30)
    pd.testing.assert_frame_equal(dict(tables_of(again))["maps"], dict(tables_of(found))["maps"])


def test_unknown_names_and_too_few_songs_are_refused(features):
    with pytest.raises(UsageError, match=r"color 'mood'.*genre"):
        explored(features, color="mood")
    with pytest.raises(UsageError, match=r"columns genre.*loudness_db"):
        explored(features, columns=["genre", "tempo_bpm"])
    with pytest.raises(ModelError, match="3 songs"):
        explored(features.limit(3))
    with pytest.raises(ModelError, match="1 numeric columns that vary"):
        explored(features, columns=["constant", "tempo_bpm"])


def test_report_of_chosen_columns_is_coloured_by_a_number(
    spark, features, warehouse, tmp_path, capsys
):
    writes.append(features, warehouse, FEATURES)
    parser = ArgumentParser()
    command.add_arguments(parser)
    folder = tmp_path / "new" / "report"
    chosen = ["--color", "popularity", "--columns", "tempo_bpm", "loudness_db"]
    args = parser.parse_args([*chosen, "--report", str(folder), "--sample", "20"])
    command.check(args)
    config = Config(warehouse=warehouse)
    assert command.run(spark, config, args) == 0
    assert "Exploration of 40 songs" in capsys.readouterr().out
    names = {path.name for path in folder.iterdir()}
    assert {"tsne_map.png", "pca_map.png", "distributions.png", "summary.csv"} <= names
    assert "top_values.png" not in names
    placed = pd.read_csv(folder / "maps.csv")
    assert [f"{popularity:.0f}.wav" for popularity in placed["color"]] == list(placed["source_key"])
    assert list(pd.read_csv(folder / "correlations.csv")["name"]) == ["tempo_bpm", "loudness_db"]
    with pytest.raises(UsageError, match=r"'charts'.*audio"):
        command.run(spark, config, parser.parse_args(["--source", "charts"]))


@pytest.mark.parametrize("n", ["9", "20001"])
def test_sample_must_fit_a_map(n):
    parser = ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(UsageError, match="--sample"):
        command.check(parser.parse_args(["--sample", n]))
