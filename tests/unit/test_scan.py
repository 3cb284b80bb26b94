"""Slices read from data files in any order, compared with a filter of all rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sonic_lib.fingerprint.params import HASH_BITS
from sonic_lib.fingerprint.query import WindowHashes, window_row
from sonic_lib.matching.join import join_slice
from sonic_lib.matching.scan import IndexFiles, Rows, find_hits
from sonic_lib.matching.slices import gather

PREFIX_BITS = 1
N_FRAMES = 1e6
EVERYTHING = 1 << 20


def write(path, rows: Rows, *, row_group_size: int = 50, **options) -> str:
    path.parent.mkdir(exist_ok=True)
    table = pa.table(dict(zip(Rows._fields, rows, strict=True)))
    pq.write_table(table, path, row_group_size=row_group_size, **options)
    return str(path)


def random_rows(rng, *, n: int, prefix: int) -> Rows:
    # Some hashes are frequent, among them the smallest and largest of the partition.
    width = HASH_BITS - PREFIX_BITS
    low, high = prefix << width, ((prefix + 1) << width) - 1
    hashes = rng.choice([low, high, *rng.integers(low, high, n // 3)], n)
    order = np.argsort(hashes, kind="stable")
    songs = rng.integers(1, 9, n)
    offsets, bits = rng.integers(0, 99, n), rng.integers(-(2**31), 2**31, n)
    return Rows(hashes[order], songs, offsets.astype(np.int32), bits.astype(np.int32))


@pytest.fixture
def world(tmp_path, rng):
    """Files of two partitions (sorted, unsorted, and one without statistics), and a clip."""
    parts = {
        prefix: [random_rows(rng, n=n, prefix=prefix) for n in (300, 120, 40)] for prefix in (0, 1)
    }
    files: dict[int, list[str]] = {}
    for prefix, (tidy, untidy, bare) in parts.items():
        shuffled = rng.permutation(len(untidy.hash))
        untidy = Rows._make(column[shuffled] for column in untidy)
        folder = tmp_path / f"hash_prefix={prefix}"
        files[prefix] = [
            write(folder / "a.parquet", tidy),
            f"file://{write(folder / 'b c%20.parquet', untidy)}",
            write(folder / "c.parquet", bare, write_statistics=False),
        ]
    together = [np.concatenate(columns) for columns in zip(*parts[0], *parts[1], strict=True)]
    order = np.argsort(together[0], kind="stable")
    rows = Rows._make(column[order] for column in together)
    asked = np.sort(rng.choice(rows.hash, 200))
    columns = (np.zeros(200, np.int8), rng.integers(-9, 9, 200).astype(np.int32))
    descriptors = rng.integers(-(2**31), 2**31, 200).astype(np.int32)
    detunes = np.zeros(200, np.float32)
    window = WindowHashes(0, 0.0, 9.0, asked, *columns, detunes, descriptors)
    return files, rows, window_row(window)["queries"]


def hits_of(queries, files, *, excluded=(), parts_bits: int = 0, n_fingerprints: int = 920):
    index = IndexFiles(
        files, PREFIX_BITS, n_fingerprints, N_FRAMES, np.array(sorted(excluded), np.int64)
    )
    queries = gather([queries], bits=index.slice_bits)
    found = []
    for part in range(1 << parts_bits):
        for _, windows, _, hits in find_hits(
            queries, index, part=part, parts_bits=parts_bits, max_hits=EVERYTHING
        ):
            assert windows.tolist() == [0]
            found += zip(*(c.tolist() for c in hits._replace(detune=hits.variant)), strict=True)
    return sorted(found)


def expected(queries, rows: Rows, *, excluded=()):
    counts = ~np.isin(rows.song_id, list(excluded))
    rows = Rows._make(column[counts] for column in rows)
    queries = gather([queries], bits=0).queries
    _, _, hits = join_slice(queries, rows, n_index_frames=N_FRAMES, max_hits=EVERYTHING)
    return sorted(zip(*(c.tolist() for c in hits._replace(detune=hits.variant)), strict=True))


@pytest.mark.parametrize("parts_bits", [0, 1, 3])
def test_hits_are_the_same_however_rows_are_laid_out(world, parts_bits):
    files, rows, queries = world
    wanted = expected(queries, rows)
    assert len(wanted) > 50
    assert hits_of(queries, files, parts_bits=parts_bits) == wanted


def test_rows_of_excluded_songs_do_not_count(world):
    files, rows, queries = world
    wanted = expected(queries, rows, excluded={2, 5})
    assert hits_of(queries, files, excluded={2, 5}) == wanted
    assert wanted != expected(queries, rows)


def test_partition_without_files_has_no_hits(world):
    files, rows, queries = world
    half = Rows._make(c[rows.hash < 1 << (HASH_BITS - 1)] for c in rows)
    assert hits_of(queries, {0: files[0]}) == expected(queries, half)
    assert hits_of(queries, {}) == []


def test_finer_slices_of_a_larger_table_give_the_same_hits(world):
    files, rows, queries = world
    assert hits_of(queries, files, n_fingerprints=200 << 20) == expected(queries, rows)
