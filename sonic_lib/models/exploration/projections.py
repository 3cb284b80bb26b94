"""Bins, correlations, components and t-SNE from small aggregates; pure numpy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sonic_lib.errors import SetupError, install_command

_MAX_TSNE_COLUMNS = 50


class Bins(NamedTuple):
    """Equal bins of a histogram: `n` of `width`, starting at `low`."""

    low: float
    width: float
    n: int


class Components(NamedTuple):
    """Principal components, strongest first.

    Attributes
    ----------
    axes : np.ndarray [shape=(p, p)]
        One column per component: its weights of the standardised columns, of length 1.
    explained : np.ndarray [shape=(p,), sum 1]
        Share of the variance along each.
    """

    axes: NDArray[np.float64]
    explained: NDArray[np.float64]


def choose_bins(summary: pd.DataFrame, *, n_bins: int = 40) -> dict[str, Bins]:
    """Choose the bins of each column's histogram.

    Bins of whole numbers are centred on whole numbers, so that each holds equally many. The range
    is that of the values; if outliers lie far outside the middle 99 %, it is that of the middle.

    Parameters
    ----------
    summary : pandas.DataFrame
        From `aggregates.summary`; columns without values get no bins.
    n_bins : int > 0
        Maximum number of bins.
    """
    bins = {}
    for row in summary[summary["n"] > 0].itertuples():
        low, high = row.min, row.max
        room = row.q995 - row.q005
        if room > 0:
            low, high = max(low, row.q005 - 0.1 * room), min(high, row.q995 + 0.1 * room)
        if row.is_whole:
            low, high = np.floor(low), np.ceil(high)
            step = np.ceil((high - low + 1) / n_bins)
            bins[row.name] = Bins(low - 0.5, step, int(np.ceil((high - low + 1) / step)))
        else:
            width = (high - low) / n_bins or max(1e-9, 1e-9 * abs(low))
            bins[row.name] = Bins(low, width, n_bins if high > low else 1)
    return bins


def correlation_matrix(moments: pd.DataFrame) -> NDArray[np.float64]:
    """Pearson's correlations, each over the rows that have both values.

    Parameters
    ----------
    moments : pandas.DataFrame
        From `aggregates.moments`.

    Returns
    -------
    np.ndarray [shape=(p, p), -1 to 1]
        Symmetric; NaN if fewer than two rows have both values, or a column is constant.
    """
    n, sums, squares, products = (
        _square(moments, name) for name in ("n", "sum_first", "sum_squares_first", "sum_products")
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = products - sums * sums.T / n
        spread = squares - sums**2 / n
        # Rounding errors of a constant column are not variance.
        spread = np.where(spread > 1e-12 * np.maximum(squares, 1), spread, np.nan)
        return np.clip(covariance / np.sqrt(spread * spread.T), -1, 1)


def principal_components(moments: pd.DataFrame) -> Components:
    """Principal components of standardised columns; missing values count as the mean.

    Parameters
    ----------
    moments : pandas.DataFrame
        From `aggregates.moments` with the columns' means and standard deviations.

    Returns
    -------
    Components
        With signs that make the largest weight of each positive.
    """
    products = _square(moments, "sum_products")
    variances, axes = np.linalg.eigh((products + products.T) / 2)
    variances, axes = np.maximum(variances[::-1], 0), axes[:, ::-1]
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    return Components(axes * np.where(largest < 0, -1, 1), variances / variances.sum())


def standardise(
    values: NDArray[np.float64], *, means: NDArray[np.float64], stds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Subtract means and divide by deviations; missing values (NaN or infinite) become 0.

    Parameters
    ----------
    values : np.ndarray [shape=(n, p)]
    means, stds : np.ndarray [shape=(p,), stds > 0]
    """
    return np.nan_to_num((values - means) / stds, nan=0.0, posinf=0.0, neginf=0.0)


def tsne(values: NDArray[np.float64], *, seed: int) -> NDArray[np.float64]:
    """Project rows to a plane so that neighbours stay neighbours (t-SNE, on one machine).

    Distances between groups mean little. Source: van der Maaten and Hinton, Visualizing Data using
    t-SNE, JMLR 9 (2008), in scikit-learn's Barnes-Hut form, initialised by two components.

    Parameters
    ----------
    values : np.ndarray [shape=(n, p), n >= 4]
        Standardised; more than 50 columns are reduced to 50 components.
    seed : int
        The same seed gives the same projection.

    Returns
    -------
    np.ndarray [shape=(n, 2)]

    Raises
    ------
    SetupError
        If scikit-learn is not installed.
    """
    manifold = load_manifold()
    values = values - values.mean(axis=0)
    if values.shape[1] > _MAX_TSNE_COLUMNS:
        _, _, axes = np.linalg.svd(values, full_matrices=False)
        values = values @ axes[:_MAX_TSNE_COLUMNS].T
    perplexity = min(30.0, (len(values) - 1) / 3)
    model = manifold.TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
    return model.fit_transform(values).astype(float)


def load_manifold():
    """Import a module of scikit-learn.

    Raises
    ------
    SetupError
        If scikit-learn is not installed.
    """
    try:
        from sklearn import manifold
    except ImportError as error:
        raise SetupError(
            "t-SNE needs scikit-learn, which is not installed here. Install it on the "
            f"machine that runs the command: {install_command('scikit-learn')}"
        ) from error
    return manifold


def _square(moments: pd.DataFrame, name: str) -> NDArray[np.float64]:
    return moments.pivot(index="first", columns="second", values=name).to_numpy(float)
