"""Check the sort order of data files: numpy, with few imports for the executors."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql.pandas.types import to_arrow_schema

from sonic_lib.schemas import FILE_RUNS

SORT_KEYS = ("hash", "song_id", "offset_frames")


def count_descents(columns: list[NDArray]) -> int:
    """Count the rows that are lexicographically less than the one before."""
    less = np.zeros(max(len(columns[0]) - 1, 0), bool)
    equal = ~less
    for values in columns:
        less |= equal & (values[1:] < values[:-1])
        equal &= values[1:] == values[:-1]
    return int(less.sum())


def file_runs(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One row per run of rows of one file in a batch; a task reads a split in order."""
    schema = to_arrow_schema(FILE_RUNS)
    place = 0
    for batch in batches:
        files = batch["file"].dictionary_encode().indices.to_numpy()
        splits = batch["split_bytes"].to_numpy()
        columns = [batch[name].to_numpy() for name in SORT_KEYS]
        changes = (files[1:] != files[:-1]) | (splits[1:] != splits[:-1])
        rows = []
        for first, stop in itertools.pairwise([0, *np.flatnonzero(changes) + 1, len(files)]):
            if first == stop:
                continue
            run = [column[first:stop] for column in columns]
            place += 1
            rows.append(
                {
                    "file": batch["file"][first].as_py(),
                    "hash_prefix": batch["hash_prefix"][first].as_py(),
                    "split_bytes": splits[first],
                    "place": place,
                    "n_rows": stop - first,
                    "n_descents": count_descents(run),
                    "first": [part[0] for part in run],
                    "last": [part[-1] for part in run],
                }
            )
        yield pa.RecordBatch.from_pylist(rows, schema=schema)
