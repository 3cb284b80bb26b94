"""Read slices of the fingerprint table from its data files: I/O, without Spark.

Rows are sorted by hash in each file, so a slice is a few row groups in the files of one partition.
Spark tasks read their slices with this module, and so does the engine without Spark.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sonic_lib.fingerprint.params import HASH_BITS
from sonic_lib.matching.alignment import Hits
from sonic_lib.matching.join import Rows, join_slice
from sonic_lib.matching.slices import Queries, SlicedQueries, slice_bits, within
from sonic_lib.spark.uris import local_path, open_remote

_COLUMNS = Rows._fields


@dataclass(frozen=True)
class IndexFiles:
    """The data files of one version of the fingerprint table; small enough for every task.

    Attributes
    ----------
    files : mapping of int to sequence of str
        Paths or URIs of the data files of each partition, by `hash_prefix`, in a fixed order.
    prefix_bits : int
    n_fingerprints : int
        Rows of the table.
    n_frames : float
        Frames of all songs of the index together.
    excluded : np.ndarray [shape=(n,), int64]
        Songs whose rows are ignored, ascending.
    """

    files: Mapping[int, Sequence[str]]
    prefix_bits: int
    n_fingerprints: int
    n_frames: float
    excluded: NDArray[np.int64]

    @property
    def slice_bits(self) -> int:
        """Log2 of the number of slices of the table."""
        return slice_bits(self.n_fingerprints, prefix_bits=self.prefix_bits)


def find_hits(
    queries: SlicedQueries, index: IndexFiles, *, part: int, parts_bits: int, max_hits: int
) -> Iterator[tuple[int, NDArray[np.int32], NDArray[np.intp], Hits]]:
    """Join the queries in one part of the hashes with the table, slice by slice.

    Parameters
    ----------
    queries : SlicedQueries
        Sliced as the index is.
    part : int
        Number of the part, of 2**parts_bits; `parts_bits` is at most `index.slice_bits`.
    max_hits : int
        How many hits a window may keep over all slices.

    Yields
    ------
    slice : int
    windows, stops, hits
        As from `join.join_slice`; slices without hits are omitted.
    """
    share = max(1, max_hits >> index.slice_bits)
    for number, asked, rows in read_slices(queries, index, part=part, parts_bits=parts_bits):
        windows, stops, hits = join_slice(
            asked, rows, n_index_frames=index.n_frames, max_hits=share
        )
        if len(windows):
            yield number, windows, stops, hits


def read_slices(
    queries: SlicedQueries, index: IndexFiles, *, part: int, parts_bits: int
) -> Iterator[tuple[int, Queries, Rows]]:
    """Read the slices of one part of the hashes that have queries.

    Yields
    ------
    slice : int
    asked : Queries
        The queries in the slice.
    rows : Rows
        All rows of the slice.
    """
    bits = index.slice_bits
    first, stop = part << (bits - parts_bits), (part + 1) << (bits - parts_bits)
    for prefix, numbers in itertools.groupby(
        range(first, stop), key=lambda number: number >> (bits - index.prefix_bits)
    ):
        files = [_SortedFile(path) for path in index.files.get(prefix, ())]
        for number in numbers:
            asked = within(queries, number)
            if len(asked.hash) and files:
                yield number, asked, _read_slice(files, number, bits=bits, excluded=index.excluded)


def _read_slice(
    files: Sequence[_SortedFile], number: int, *, bits: int, excluded: NDArray[np.int64]
) -> Rows:
    """Return the rows of a slice without excluded songs, ordered by hash, then by file."""
    low, high = (edge << (HASH_BITS - bits) for edge in (number, number + 1))
    parts = [part for file in files for part in file.rows(low, high)]
    rows = parts[0] if len(parts) == 1 else _together(parts)
    if len(excluded):
        counts = ~np.isin(rows.song_id, excluded)
        rows = Rows._make(column[counts] for column in rows)
    return rows


class _SortedFile:
    """A data file whose row groups are read in order."""

    def __init__(self, path: str) -> None:
        self._file = pq.ParquetFile(_open(path))
        self._bounds = [self._hash_bounds(k) for k in range(self._file.num_row_groups)]
        # Slices are usually narrower than row groups, so the next one starts in the same group.
        # (functools.cache on a method would form a cycle and keep rows until the next collection.)
        self._last: dict[int, Rows] = {}

    def rows(self, low: int, high: int) -> Iterator[Rows]:
        """Yield the rows with a hash in low..high-1, by row group."""
        for group, (least, greatest) in enumerate(self._bounds):
            if greatest < low or least >= high:
                continue
            if group not in self._last:
                self._last = dict([*self._last.items()][-1:]) | {group: self._read_group(group)}
            rows = self._last[group]
            start, stop = np.searchsorted(rows.hash, [low, high])
            if start < stop:
                yield Rows._make(column[start:stop] for column in rows)

    def _hash_bounds(self, group: int) -> tuple[int, int]:
        metadata = self._file.metadata.row_group(group)
        column = self._file.schema_arrow.get_field_index("hash")
        statistics = metadata.column(column).statistics
        if statistics is None or not statistics.has_min_max:
            return 0, 1 << HASH_BITS
        return statistics.min, statistics.max

    def _read_group(self, group: int) -> Rows:
        table = self._file.read_row_group(group, columns=list(_COLUMNS), use_threads=False)
        return _sorted(Rows._make(table[name].to_numpy() for name in _COLUMNS))


def _open(uri: str) -> pa.NativeFile:
    """Open a data file; a local one is memory-mapped."""
    path = local_path(uri)
    return open_remote(uri) if path is None else pa.memory_map(path)


def _sorted(rows: Rows) -> Rows:
    """Order rows by hash; they usually are already."""
    if np.all(rows.hash[1:] >= rows.hash[:-1]):
        return rows
    order = np.argsort(rows.hash, kind="stable")
    return Rows._make(column[order] for column in rows)


def _together(parts: Sequence[Rows]) -> Rows:
    kinds = (np.int64, np.int64, np.int32, np.int32)
    empty = Rows._make(np.zeros(0, kind) for kind in kinds)
    return _sorted(Rows._make(map(np.concatenate, zip(empty, *parts, strict=True))))
