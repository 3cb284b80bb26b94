"""Order of rows in files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonic_lib.index.sort_order import count_descents


@pytest.mark.parametrize(
    ("rows", "n"),
    [
        ([], 0),
        ([(1, 1)], 0),
        ([(1, 1), (1, 1), (1, 2), (2, 0)], 0),
        ([(1, 2), (1, 1)], 1),
        ([(2, 0), (1, 9), (1, 8), (5, 0)], 2),
    ],
)
def test_out_of_order_rows_are_counted(rows, n):
    columns = np.array(rows, int).reshape(-1, 2).T
    assert count_descents(list(columns)) == n


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), max_size=12))
def test_sorted_rows_have_none_out_of_order(rows):
    columns = np.array(rows, int).reshape(-1, 3).T
    assert (count_descents(list(columns)) == 0) == (rows == sorted(rows))
