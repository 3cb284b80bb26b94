"""The join in numpy, against one that compares everything with everything."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonic_lib.fingerprint.params import HASH_BITS
from sonic_lib.fingerprint.window import WindowHashes
from sonic_lib.matching.lookup import (
    collect_entries,
    hits_by_frequency,
    places_of,
    window_hits,
    without_frequent,
)

N_FRAMES = 1000.0
FEW = st.integers(0, 6)  # few values, so that many are equal
ROWS = st.lists(st.tuples(FEW, st.integers(1, 3), st.integers(0, 9)), max_size=30)
QUERIES = st.lists(
    st.lists(st.tuples(FEW, st.integers(-5, 5)), max_size=12), min_size=1, max_size=3
)


def columns(rows: list[tuple]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.array(rows, np.int64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2].astype(np.int32)


def window(variant: int, pairs: list[tuple[int, int]]) -> WindowHashes:
    hashes, frames = np.array(pairs, np.int64).reshape(-1, 2).T
    detunes = (hashes * 0.5 + frames).astype(np.float32)
    return WindowHashes(0, 0.0, 10.0, variant, hashes, frames.astype(np.int32), detunes)


@given(ROWS, ROWS, QUERIES)
def test_hits_are_all_pairs_of_equal_hashes(rows, more, queries):
    entries = collect_entries([columns(rows), columns(more)])
    windows = [window(variant, pairs) for variant, pairs in enumerate(queries)]
    hits = window_hits(windows, entries, n_index_frames=N_FRAMES)
    table = rows + more
    n_rows = Counter(hash_ for hash_, _, _ in table)
    expected = [
        (song, variant, offset, frame, 0.5 * hash_ + frame, math.log(N_FRAMES / n_rows[hash_]))
        for variant, pairs in enumerate(queries)
        for hash_, frame in pairs
        for entry, song, offset in table
        if entry == hash_
    ]
    found = list(zip(*(column.tolist() for column in hits), strict=True))
    assert sorted(found) == [pytest.approx(row, rel=1e-6) for row in sorted(expected)]
    assert [str(column.dtype) for column in hits] == [
        *("int64", "int32", "int32", "int32", "float32", "float32")
    ]


@given(st.lists(FEW), st.sets(FEW), st.booleans())
def test_places_are_those_of_wanted_hashes_in_any_order(hashes, wanted, is_sorted):
    column = np.array(sorted(hashes) if is_sorted else hashes, np.int64)
    places = places_of(np.array(sorted(wanted), np.int64), column)
    assert sorted(places) == [i for i, hash_ in enumerate(column) if hash_ in wanted]


@given(ROWS, QUERIES)
def test_hits_are_counted_by_frequency(rows, queries):
    entries = collect_entries([columns(rows)])
    windows = [window(variant, pairs) for variant, pairs in enumerate(queries)]
    n_rows = Counter(hash_ for hash_, _, _ in rows)
    expected = Counter()
    for pairs in queries:
        for hash_, _ in pairs:
            if n_rows[hash_]:
                expected[2 ** math.ceil(math.log2(n_rows[hash_]))] += n_rows[hash_]
    assert hits_by_frequency(entries, windows, prefix_bits=0) == dict(expected)


def test_one_partition_stands_for_all():
    high = 1 << (HASH_BITS - 1)
    entries = collect_entries([columns([(1, 1, 0), (1, 2, 0), (high, 1, 0)])])
    windows = [window(0, [(1, 0), (high, 0)])]
    assert hits_by_frequency(entries, windows, prefix_bits=1) == {2: 4.0}


def test_frequent_hashes_are_left_out():
    entries = collect_entries([columns([(1, 1, 0), (2, 1, 0), (2, 1, 3), (2, 2, 0)])])
    few = without_frequent(entries, max_rows_per_hash=2, n_index_frames=N_FRAMES)
    assert few.hash.tolist() == [1]
    assert without_frequent(entries, max_rows_per_hash=9, n_index_frames=3).hash.tolist() == [1]


def test_a_table_without_files_has_no_entries():
    entries = collect_entries([])
    assert [len(column) for column in entries] == [0, 0, 0, 0]
    hits = window_hits([window(0, [(1, 0)])], entries, n_index_frames=N_FRAMES)
    assert len(hits.song_id) == 0
