"""Exploration without Spark: the matrices behind the figures, and the figures."""

from __future__ import annotations

import builtins
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from sonic_lib.errors import SetupError
from sonic_lib.models.exploration import projections
from sonic_lib.models.exploration.projections import Bins
from sonic_lib.report.figures import exploration as plots


def moments_of(values: np.ndarray) -> pd.DataFrame:
    """Moments as Spark returns them, summed over pairs of columns one by one."""
    rows = []
    for i, x in enumerate(values.T):
        for j, y in enumerate(values.T):
            both = ~np.isnan(x) & ~np.isnan(y)
            a, b = x[both], y[both]
            rows.append((i, j, len(a), a.sum(), (a**2).sum(), (a * b).sum()))
    names = ["first", "second", "n", "sum_first", "sum_squares_first", "sum_products"]
    return pd.DataFrame(rows, columns=names).sample(frac=1, random_state=0)


def summary_of(values: np.ndarray) -> pd.DataFrame:
    quantiles = np.quantile(values, [0, 0.005, 0.995, 1], method="lower")
    row = dict(zip(("min", "q005", "q995", "max"), quantiles, strict=True))
    whole = bool((values % 1 == 0).all())
    return pd.DataFrame([{"name": "x", "n": len(values), "is_whole": whole} | row])


def png(figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def title_of(figure) -> str:
    return figure._suptitle.get_text()


# ---- maps ----


@given(st.lists(st.integers(-5000, 5000), min_size=1, max_size=60))
def test_bins_of_whole_numbers_hold_equally_many_of_them(values):
    low, width, n = projections.choose_bins(summary_of(np.array(values, float)), n_bins=40)["x"]
    assert width == round(width) >= 1
    assert low % 1 == 0.5
    assert 1 <= n <= 40
    middle = np.quantile(values, [0.005, 0.995], method="lower")
    assert low < middle[0]
    assert low + n * width > middle[1]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_bins_have_a_width_and_cover_the_middle(values):
    summary = summary_of(np.array(values)).assign(is_whole=False)
    low, width, n = projections.choose_bins(summary, n_bins=7)["x"]
    assert width > 0
    assert low <= summary["q005"][0]
    rounding = 1e-9 * np.abs(values).max()
    assert low + n * width >= summary["q995"][0] - rounding


def test_outlier_does_not_stretch_the_bins(rng):
    values = np.append(rng.uniform(0, 1, 999), 1e6)
    assert projections.choose_bins(summary_of(values))["x"].width < 0.05


def test_column_without_values_has_no_bins():
    assert projections.choose_bins(summary_of(np.ones(3)).assign(n=0)) == {}


def test_correlations_are_over_the_rows_that_have_both(rng):
    values = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4))
    values[rng.random(values.shape) < 0.2] = np.nan
    values = np.column_stack([values, np.full(50, 0.1)])
    found = projections.correlation_matrix(moments_of(values))
    expected = pd.DataFrame(values).corr().to_numpy()
    np.testing.assert_allclose(found[:4, :4], expected[:4, :4], atol=1e-12)
    assert np.isnan(found[4]).all()  # undefined for a constant


def test_components_are_those_of_a_singular_value_decomposition(rng):
    values = rng.normal(size=(80, 5)) @ rng.normal(size=(5, 5))
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    found = projections.principal_components(moments_of(values))
    _, singular, axes = np.linalg.svd(values)
    np.testing.assert_allclose(found.explained, singular**2 / (singular**2).sum())
    np.testing.assert_allclose(np.abs(found.axes.T @ axes.T), np.eye(5), atol=1e-9)
    assert (found.axes.max(axis=0) == np.abs(found.axes).max(axis=0)).all()


def test_missing_values_are_replaced_by_the_mean():
    values = np.array([[1.0, np.nan], [3.0, np.inf]])
    standard = projections.standardise(
        values, means=np.array([1.0, 5.0]), stds=np.array([2.0, 1.0])
    )
    assert standard.tolist() == [[0, 0], [1, 0]]


def test_tsne_is_reproducible_and_separates_groups(rng):
    values = rng.normal(size=(30, 60)) + 20 * (np.arange(30) < 15)[:, None]
    points = projections.tsne(values, seed=3)
    np.testing.assert_array_equal(points, projections.tsne(values, seed=3))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e9 * np.eye(30)
    assert ((distances.argmin(axis=1) < 15) == (np.arange(30) < 15)).all()


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    original = builtins.__import__

    def fail(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(SetupError, match=r"pip install \'scikit-learn"):
        projections.load_manifold()


# ---- figures ----


def test_bars_show_the_first_values_and_their_number():
    top = pd.DataFrame({"value": [f"genre {i}" for i in range(200)], "n": np.arange(400, 200, -1)})
    figure = plots.value_bars(top, n_values=1234, n_songs=60_000, title="Top genre", n_shown=20)
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == list(range(381, 401))
    assert axes.get_yticklabels()[-1].get_text() == "genre 0"
    assert axes.texts[-1].get_text() == "400 (0.67 %)"
    assert title_of(figure) == "Top genre: 20 of 1,234 values, 60,000 songs"


def test_missing_bars_omit_complete_columns():
    missing = pd.DataFrame({"name": ["a", "b", "c"], "n_missing": [1, 0, 3]})
    (axes,) = plots.missing_bars(missing, n_songs=4).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "c"]
    assert [bar.get_width() for bar in axes.patches] == [25, 75]


def test_histograms_have_a_panel_per_column_and_a_bar_per_bin():
    bins = {"key": Bins(-0.5, 1.0, 3), "tempo_bpm": Bins(60.0, 30.0, 2)}
    counts = pd.DataFrame({"name": ["key", "key", "tempo_bpm"], "bin": [0, 2, 1], "n": [4, 6, 9]})
    figure = plots.distributions(counts, bins=bins, n_songs=10)
    key, tempo = figure.axes
    assert [bar.get_height() for bar in key.patches] == [4, 0, 6]
    assert [bar.get_x() + bar.get_width() / 2 for bar in key.patches] == [0, 1, 2]
    assert [bar.get_height() for bar in tempo.patches] == [0, 9]
    assert title_of(plots.distributions(counts, bins=bins, n_songs=10, n_shown=1)) == (
        "Distributions: 1 of 2 columns, 10 songs"
    )


def test_heatmap_puts_similar_columns_together():
    matrix = np.eye(5)
    for i, j, r in ((0, 3, 0.9), (1, 4, -0.8), (2, 0, np.nan)):
        matrix[i, j] = matrix[j, i] = r
    figure = plots.correlation_heatmap(matrix, names=list("abcde"), title="r", n_shown=4)
    image, labels = figure.axes[0].images[0], figure.axes[0].get_xticklabels()
    order = "".join(label.get_text() for label in labels)
    assert sorted([order[:2], order[2:]], key=min) in (["ad", "be"], ["ad", "eb"], ["da", "be"])
    places = ["abcde".index(name) for name in order]
    np.testing.assert_array_equal(image.get_array(), matrix[np.ix_(places, places)])
    assert title_of(figure) == "r: 4 of 5 columns"
    assert {text.get_text() for text in figure.axes[0].texts} == {".90", "−.80", ".00"}


def test_a_hundred_columns_can_be_drawn(rng):
    matrix = np.corrcoef(rng.normal(size=(130, 50)))
    matrix[7] = matrix[:, 7] = np.nan
    names = [f"mfcc_{i:03d}_of_a_very_long_name_indeed" for i in range(130)]
    figure = plots.correlation_heatmap(matrix, names=names, title="r")
    assert title_of(figure) == "r: 40 of 130 columns"
    assert all(len(label.get_text()) <= 28 for label in figure.axes[0].get_xticklabels())
    assert png(figure)


def test_explained_variance_adds_up():
    (axes,) = plots.explained_variance(np.array([0.5, 0.3, 0.2]), n_shown=2).axes
    assert [bar.get_height() for bar in axes.patches] == [50, 30]
    assert axes.lines[0].get_ydata().tolist() == [50, 80]


def coloured(axes):
    return {to_hex(dots.get_facecolor()[0]): len(dots.get_offsets()) for dots in axes.collections}


def test_map_has_a_panel_for_each_common_value():
    values = pd.Series(["rock"] * 3 + ["$jazz$"] * 2 + ["folk", None], name="genre", index=[9] * 7)
    figure = plots.song_map(np.zeros((7, 2)), values, axis_names=("x", "y"), title="Map", n_shown=2)
    assert [axes.get_title() for axes in figure.axes] == ["rock (3)", "$jazz$ (2)"]
    assert list(coloured(figure.axes[1]).values()) == [5, 2]
    assert title_of(figure) == "Map: 2 of 3 values, 7 songs"
    assert png(figure)


def test_song_of_two_genres_is_in_both_panels():
    values = pd.Series([["rock", "pop"], ["rock"], []], name="genres")
    points = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    figure = plots.song_map(points, values, axis_names=("", ""), title="Map")
    shown = {axes.get_title(): axes.collections[1].get_offsets().tolist() for axes in figure.axes}
    assert shown == {"rock (2)": [[0, 1], [2, 3]], "pop (1)": [[0, 1]]}


def test_numbers_become_colours_and_missing_ones_are_grey():
    values = pd.Series([1.0, np.nan, 3.0], name="popularity")
    figure = plots.song_map(np.eye(3, 2), values, axis_names=("", ""), title="Map")
    missing, known = figure.axes[0].collections
    assert len(missing.get_offsets()) == 1
    assert known.get_array().tolist() == [1, 3]
    assert figure.axes[1].get_ylabel() == "popularity"


def test_map_without_labels_can_be_drawn():
    figure = plots.song_map(np.eye(3, 2), axis_names=("", ""), title="Map")
    assert len(figure.axes) == 1
    assert len(figure.axes[0].collections[0].get_offsets()) == 3


@pytest.mark.parametrize(
    ("value", "label"), [(0.25, "0.25"), (-30, "−30"), (2015, "2015"), (200_000, "200k")]
)
def test_axis_numbers_are_short(value, label):
    assert plots._number(value) == label
