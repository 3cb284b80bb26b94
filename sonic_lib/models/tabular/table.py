"""A feature table as arrays, shared by all folds.

Conventions
-----------
Rows are numbered 0 to n - 1.  The code of a category is its index in the `values` of its column, or
-1 if it does not occur in the training rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from sonic_lib.models.tabular.text import hashed


@dataclass(frozen=True)
class Layout:
    """Names of the columns of the input, in order.

    Parameters
    ----------
    plain : tuple of str
        Numbers and parts of dates; the first `n_alike` of them define similarity.
    categories, encoded, lists, texts : tuple of str
        As in `columns.Columns`.
    """

    plain: tuple[str, ...]
    n_alike: int
    categories: tuple[str, ...] = ()
    encoded: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Items:
    """The categories of one column: entry e says that row `rows[e]` is in category `codes[e]`."""

    rows: NDArray[np.int64]
    codes: NDArray[np.int64]
    values: Sequence[str]


@dataclass(frozen=True)
class Table:
    """The rows of a table.

    Parameters
    ----------
    plain : np.ndarray [shape=(n, p)]
        NaN where missing.
    hashes : np.ndarray [shape=(n,), int]
        Hashes of the keys.
    categories, items : dict of str to Items
        Text columns with few values; text columns with many values, and lists.
    words : dict of str to scipy.sparse.csr_matrix [shape=(n, text.N_HASHES)]
        N-grams of texts.
    """

    plain: NDArray[np.float64]
    hashes: NDArray[np.int64]
    categories: dict[str, Items]
    items: dict[str, Items]
    words: dict[str, Any]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.plain)


def from_arrow(
    given: Mapping[str, pa.Array],
    *,
    layout: Layout,
    vocabulary: Mapping[str, Sequence[str]] | None = None,
) -> Table:
    """Convert the Arrow arrays that Spark sends.

    Parameters
    ----------
    given : mapping of str to pa.Array
        hash (long), plain (array of double), categories, encoded and texts (arrays of string),
        lists (array of array of string): one entry per column of the layout.
    layout : Layout
    vocabulary : mapping of str to sequence of str, optional
        The values of each categorical column that a model knows; by default those in the rows.
    """
    n = len(given["hash"])
    plain = given["plain"].flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    known = vocabulary or {}

    def single(kind: str, names: Sequence[str]) -> dict[str, Items]:
        return {
            name: _coded(np.arange(n), texts, known.get(name))
            for name, texts in zip(names, _columns(given[kind], len(names)), strict=True)
        }

    items = single("encoded", layout.encoded)
    for name, lists in zip(layout.lists, _columns(given["lists"], len(layout.lists)), strict=True):
        counts = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        rows = np.repeat(np.arange(n), counts)
        items[name] = _coded(rows, lists.flatten(), known.get(name))
    texts = _columns(given["texts"], len(layout.texts))
    words = {name: hashed(each.to_pylist()) for name, each in zip(layout.texts, texts, strict=True)}
    return Table(
        plain.reshape(n, len(layout.plain)),
        given["hash"].to_numpy(zero_copy_only=False),
        single("categories", layout.categories),
        items,
        words,
    )


def vocabulary_of(table: Table) -> dict[str, list[str]]:
    """Return the values of all categorical columns, for `from_arrow` of other rows."""
    return {name: list(items.values) for name, items in (table.categories | table.items).items()}


def _columns(arrays: pa.Array, n_columns: int) -> list[pa.Array]:
    """Split arrays of n entries by column."""
    flat = arrays.flatten()
    places = np.arange(len(arrays)) * n_columns
    return [flat.take(pa.array(places + place)) for place in range(n_columns)]


def _coded(rows: NDArray, texts: pa.Array, values: Sequence[str] | None) -> Items:
    is_known = texts.is_valid().to_numpy(zero_copy_only=False)
    rows, given = rows[is_known], texts.filter(texts.is_valid()).to_pandas()
    if values is None:
        # Sorted, so that codes do not depend on the order of the rows.
        values = sorted(given.unique())
    codes = pd.Index(values, dtype=object).get_indexer(given).astype(np.int64)
    return Items(rows[codes >= 0], codes[codes >= 0], values)
