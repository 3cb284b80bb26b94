"""The join of sorted columns, compared with a brute-force join."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonic_lib.fingerprint.descriptor import LOG_LIKELIHOOD_RATIO
from sonic_lib.fingerprint.params import HASH_BITS
from sonic_lib.fingerprint.query import WindowHashes, window_row
from sonic_lib.matching import spark
from sonic_lib.matching.join import CLASSES_PER_NAT, Rows, join_slice, pack_hits, unpack_hits
from sonic_lib.matching.slices import (
    MIN_SLICE_BITS,
    ROWS_PER_SLICE,
    cut,
    gather,
    slice_bits,
    within,
)

N_FRAMES = 1000.0
FEW = st.integers(0, 6)  # few values, so that many are equal
BITS = st.sampled_from([0, 1, 3, 0x7FFF, 0xFFFF00, -1, -(2**31)])  # and some far apart
ROWS = st.lists(st.tuples(FEW, st.integers(1, 3), st.integers(0, 9), BITS), max_size=30)
QUERIES = st.lists(
    st.lists(st.tuples(FEW, st.integers(-5, 5), BITS), max_size=12), min_size=1, max_size=3
)


def table(rows: list[tuple]) -> Rows:
    columns = np.array(sorted(rows), np.int64).reshape(-1, 4).T
    kinds = (np.int64, np.int64, np.int32, np.int32)
    return Rows(*(column.astype(kind) for column, kind in zip(columns, kinds, strict=True)))


def packed(queries: list[tuple], *, variant: int = 0) -> bytes:
    """A window that looks up (hash, frame, descriptor)."""
    hashes, frames, descriptors = np.array(sorted(queries), np.int64).reshape(-1, 3).T
    columns = (frames.astype(np.int32), (0.5 * hashes).astype(np.float32))
    variants = np.full(len(hashes), variant, np.int8)
    window = WindowHashes(0, 0.0, 9.0, hashes, variants, *columns, descriptors.astype(np.int32))
    return window_row(window)["queries"]


def weigh(n_rows: int, asked: int, stored: int) -> float:
    distance = ((asked ^ stored) & 0xFFFFFFFF).bit_count()
    return math.log(N_FRAMES / n_rows) + float(LOG_LIKELIHOOD_RATIO[distance])


def hits_by_brute_force(rows: list[tuple], queries: list[list[tuple]]) -> list[list[tuple]]:
    """Song, offset, frame and weight of all hits with a non-zero weight, window by window."""
    n_rows = Counter(row[0] for row in rows)
    return [
        sorted(
            (song, offset, frame, weigh(n_rows[wanted], asked, stored))
            for wanted, frame, asked in window
            for hash_, song, offset, stored in rows
            if hash_ == wanted
            and math.floor(weigh(n_rows[wanted], asked, stored) * CLASSES_PER_NAT) >= 1
        )
        for window in queries
    ]


def found(rows: list[tuple], queries: list[list[tuple]], **options) -> list[list[tuple]]:
    windows, stops, hits = join_slice(
        gather([packed(window) for window in queries], bits=0).queries, table(rows), **options
    )
    columns = (hits.song_id, hits.offset_frames, hits.frame, hits.weight)
    by_window: list[list[tuple]] = [[] for _ in queries]
    start = 0
    for window, stop in zip(windows, stops, strict=True):
        part = (column[start:stop].tolist() for column in columns)
        by_window[window] = sorted(zip(*part, strict=True))
        assert by_window[window]
        start = stop
    assert start == len(hits.weight)
    return by_window


@given(ROWS, QUERIES)
def test_hits_are_all_equal_hashes_with_non_zero_weight(rows, queries):
    expected = hits_by_brute_force(rows, queries)
    given_ = found(rows, queries, n_index_frames=N_FRAMES, max_hits=10_000)
    assert given_ == [[pytest.approx(hit, rel=1e-5) for hit in window] for window in expected]


@settings(max_examples=50)
@given(ROWS, QUERIES, st.integers(1, 12))
def test_window_keeps_its_heaviest_hits_whatever_else_is_looked_up(rows, queries, max_hits):
    options = {"n_index_frames": N_FRAMES, "max_hits": max_hits}
    together = found(rows, queries, **options)
    assert together == [found(rows, [window], **options)[0] for window in queries]
    for kept, everything in zip(together, hits_by_brute_force(rows, queries), strict=True):
        classes = Counter(math.floor(hit[3] * CLASSES_PER_NAT + 1e-4) for hit in everything)
        lightest = None
        for weight_class in sorted(classes, reverse=True):
            if sum(n for c, n in classes.items() if c >= weight_class) > max_hits:
                break
            lightest = weight_class
        expected = [
            hit
            for hit in everything
            if lightest is not None and math.floor(hit[3] * CLASSES_PER_NAT + 1e-4) >= lightest
        ]
        assert kept == [pytest.approx(hit, rel=1e-5) for hit in expected]


def test_near_descriptor_outweighs_a_rarer_hash():
    rows = [(1, 1, 0, 0b11), *((2, song, 0, ~0) for song in range(2, 5))]
    clip = [(1, 0, ~0), (2, 0, ~1)]  # 30 and 1 bits differ
    (hits,) = found(rows, [clip], n_index_frames=1e9, max_hits=3)
    assert {song for song, *_ in hits} == {2, 3, 4}


def test_hit_columns_survive_packing():
    windows = [packed([(5, -3, 7), (5, 4, 7)], variant=2), packed([(5, 1, 7)], variant=18)]
    _, stops, hits = join_slice(
        gather(windows, bits=0).queries,
        table([(5, 2**62, 9, 7)]),
        n_index_frames=N_FRAMES,
        max_hits=9,
    )
    parts = np.split(pack_hits(hits), stops[:-1])
    again = unpack_hits([part.tobytes() for part in parts])
    for column, unpacked in zip(hits, again, strict=True):
        np.testing.assert_array_equal(column, unpacked)
        assert column.dtype == unpacked.dtype
    assert again.variant.tolist() == [2, 2, 18]
    assert again.frame.tolist() == [-3, 4, 1]
    assert again.song_id.tolist() == [2**62] * 3


@given(st.lists(st.integers(0, 2**HASH_BITS - 1), max_size=40), st.integers(0, 6))
def test_windows_are_cut_at_slice_boundaries(hashes, bits):
    whole = packed([(h, i, i) for i, h in enumerate(hashes)])
    parts = cut(whole, parts_bits=bits)
    assert len(parts) == 2**bits
    assert b"".join(parts) == whole
    sliced = gather([whole], bits=bits)
    for number, part in enumerate(parts):
        inside = gather([part], bits=0).queries
        assert {h >> (HASH_BITS - bits) for h in inside.hash.tolist()} <= {number}
        for column, other in zip(inside, within(sliced, number), strict=True):
            np.testing.assert_array_equal(column, other)


def test_slices_lie_within_partitions_and_grow_in_number_with_the_table():
    assert slice_bits(0, prefix_bits=0) == slice_bits(1000, prefix_bits=2) == MIN_SLICE_BITS
    assert slice_bits(1000, prefix_bits=9) == 9
    for n_fingerprints in (10**6, 10**8, 3 * 10**8, 10**12):
        bits = slice_bits(n_fingerprints, prefix_bits=4)
        assert n_fingerprints / 2**bits <= ROWS_PER_SLICE
        assert bits == MIN_SLICE_BITS or n_fingerprints / 2 ** (bits - 1) > ROWS_PER_SLICE


def test_windows_are_joined_in_bounded_chunks(monkeypatch):
    """Each window holds memory for its counts, however few its queries are."""
    monkeypatch.setattr(spark, "_MAX_WINDOWS", 2)
    columns = {"part": [0, 0, 1, 0], "window_id": [1, 2, 3, 4], "queries": [b"q"] * 4}
    chunks = spark._looked_up(iter([pa.record_batch(columns)]), max_bytes=1000)
    assert [(part, ids.tolist()) for part, ids, _ in chunks] == [(0, [1, 2]), (0, [4]), (1, [3])]
