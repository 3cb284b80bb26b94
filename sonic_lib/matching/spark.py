"""Identify clips, from their hashes to segments: DataFrame -> DataFrame."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from operator import itemgetter

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema

from sonic_lib.matching.budget import CHUNK_BYTES, is_searched_again
from sonic_lib.matching.join import pack_hits, unpack_hits
from sonic_lib.matching.ranking import chance_evidence, window_rows
from sonic_lib.matching.scan import IndexFiles, find_hits
from sonic_lib.matching.segments import COLUMNS, find_segments
from sonic_lib.matching.slices import cut, gather
from sonic_lib.schemas import HIT_PARTS, LINES, QUERY_PARTS, SEGMENTS

_MAX_WINDOWS = 50_000  # joined at once: 2 kB each for the counts of their hits


def window_id() -> Column:
    """Column: id of a window of a clip, much smaller than the clip's path."""
    return F.xxhash64("path", "window").alias("window_id")


def searched_again(windows: DataFrame) -> DataFrame:
    """Keep the windows that the second pass searches if they are uncertain.

    Parameters
    ----------
    windows : DataFrame with path, window
        All windows of every clip.
    """
    last = F.max("window").over(Window.partitionBy("path"))
    return (
        windows.withColumn("last", last)
        .filter(is_searched_again(F.col("window"), F.col("last")))
        .drop("last")
    )


def match_windows(
    extracts: DataFrame,
    *,
    index: IndexFiles,
    parts_bits: int,
    max_hits: int,
    n_listed: int,
) -> DataFrame:
    """Find the songs and lines of every window.

    Parameters
    ----------
    extracts : DataFrame [schemas.CLIP_EXTRACTS]
    index : IndexFiles
    parts_bits : int
        The hashes are joined in 2**parts_bits tasks, each of which reads one part of the table.
    max_hits : int
        How many hits a window may keep; the heaviest are kept.
    n_listed : int
        Minimum number of songs per window to return.

    Returns
    -------
    DataFrame [schemas.LINES]
        Windows that share nothing with the index have no row.

    Notes
    -----
    There are two shuffles: of the queries, to the tasks that read the table, and of the hits that
    each window keeps, to the tasks that find lines in them.  Both are packed, one row per window
    and part, so that Spark moves bytes, not single hashes.
    """
    return (
        extracts.transform(cut_windows, parts_bits=parts_bits)
        .transform(join_parts, index=index, parts_bits=parts_bits, max_hits=max_hits)
        .transform(rank_windows, n_index_frames=index.n_frames, n_listed=n_listed)
    )


def cut_windows(extracts: DataFrame, *, parts_bits: int) -> DataFrame:
    """Cut the queries of each window into parts by hash.

    Parameters
    ----------
    extracts : DataFrame [schemas.CLIP_EXTRACTS]

    Returns
    -------
    DataFrame [schemas.QUERY_PARTS]
    """
    schema = to_arrow_schema(QUERY_PARTS)

    def cut_all(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in batch.to_pylist():
                parts = cut(row["queries"], parts_bits=parts_bits)
                numbers = [number for number, part in enumerate(parts) if part]
                columns = [
                    pa.array(numbers, pa.int32()),
                    pa.array([row["window_id"]] * len(numbers), pa.int64()),
                    pa.array([parts[number] for number in numbers], pa.binary()),
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

    windows = extracts.filter("queries IS NOT NULL").select(window_id(), "queries")
    return windows.mapInArrow(cut_all, QUERY_PARTS)


def join_parts(parts: DataFrame, *, index: IndexFiles, parts_bits: int, max_hits: int) -> DataFrame:
    """Join queries with the table, one part of the hashes per task.

    Parameters
    ----------
    parts : DataFrame [schemas.QUERY_PARTS]
    index, parts_bits, max_hits
        As in `match_windows`.

    Returns
    -------
    DataFrame [schemas.HIT_PARTS]
    """
    schema = to_arrow_schema(HIT_PARTS)
    max_bytes = CHUNK_BYTES  # the driver's value, sent to the tasks

    def join(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for part, windows, packed_queries in _looked_up(batches, max_bytes=max_bytes):
            queries = gather(packed_queries, bits=index.slice_bits)
            options = {"parts_bits": parts_bits, "max_hits": max_hits}
            for number, found, stops, hits in find_hits(queries, index, part=part, **options):
                packed = np.split(pack_hits(hits), stops[:-1])
                columns = [
                    pa.array(windows[found]),
                    pa.array([number] * len(found), pa.int32()),
                    pa.array([hits_of.tobytes() for hits_of in packed], pa.binary()),
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return parts.repartitionById(1 << parts_bits, "part").mapInArrow(join, HIT_PARTS)


def _looked_up(
    batches: Iterator[pa.RecordBatch], *, max_bytes: int
) -> Iterator[tuple[int, NDArray[np.int64], list[bytes]]]:
    """Yield parts (usually one per task), with the ids and queries of their windows."""
    held: dict[int, tuple[list[int], list[bytes]]] = {}
    sizes: Counter[int] = Counter()
    for batch in batches:
        columns = (batch[name].to_pylist() for name in ("part", "window_id", "queries"))
        for part, window_id, queries in zip(*columns, strict=True):
            ids, packed = held.setdefault(part, ([], []))
            ids.append(window_id)
            packed.append(queries)
            sizes[part] += len(queries)
            if sizes[part] >= max_bytes or len(ids) >= _MAX_WINDOWS:
                yield part, np.array(ids, np.int64), packed
                del held[part], sizes[part]
    for part, (ids, packed) in sorted(held.items()):
        yield part, np.array(ids, np.int64), packed


def rank_windows(hits: DataFrame, *, n_index_frames: float, n_listed: int) -> DataFrame:
    """Group the hits of every window by song and line, and score the songs.

    Parameters
    ----------
    hits : DataFrame [schemas.HIT_PARTS]
    n_index_frames : float
        Frames of all songs of the index.
    n_listed : int
        As in `match_windows`.

    Returns
    -------
    DataFrame [schemas.LINES]

    Notes
    -----
    Python gets the hits of one window at a time: a few megabytes, whatever the number of clips
    and songs.
    """
    chance = chance_evidence(n_index_frames)
    schema = to_arrow_schema(LINES)

    def judge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for window, parts in itertools.groupby(_parts(batches), key=itemgetter(0)):
            found = unpack_hits([packed for _, packed in parts])
            rows = window_rows(found, chance=chance, n_listed=n_listed)
            rows = [{"window_id": window} | row for row in rows]
            yield pa.RecordBatch.from_pylist(rows, schema=schema)

    # Ordered by slice, because the last digits of sums of weights depend on the order.
    in_order = hits.repartition("window_id").sortWithinPartitions("window_id", "slice")
    return in_order.mapInArrow(judge, LINES)


def _parts(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, bytes]]:
    for batch in batches:
        yield from zip(batch["window_id"].to_pylist(), batch["hits"].to_pylist(), strict=True)


def segments(
    lines: DataFrame, *, windows: DataFrame, false_accept_rate: float, n_listed: int
) -> DataFrame:
    """Join the windows of every clip into segments.

    Parameters
    ----------
    lines : DataFrame [schemas.LINES]
    windows : DataFrame with window_id, path, duration_s (of the clip), window, start_s, end_s
    false_accept_rate, n_listed
        As in `segments.find_segments`.

    Returns
    -------
    DataFrame [schemas.SEGMENTS]
    """

    def find(clip: pd.DataFrame) -> pd.DataFrame:
        found = find_segments(
            clip,
            duration_s=clip["duration_s"].iloc[0],
            false_accept_rate=false_accept_rate,
            n_listed=n_listed,
        )
        return found.assign(path=clip["path"].iloc[0])[["path", *COLUMNS]]

    return lines.join(windows, "window_id").groupBy("path").applyInPandas(find, SEGMENTS)
