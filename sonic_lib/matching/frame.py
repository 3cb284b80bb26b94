"""What clips look up, to matches: the whole of identification as DataFrame -> DataFrame."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema

from sonic_lib.fingerprint.frame import hash_rows
from sonic_lib.matching.candidates import find_hits, rare_fingerprints
from sonic_lib.matching.lines import Hits
from sonic_lib.matching.segments import COLUMNS, find_segments
from sonic_lib.matching.windows import chance_evidence, window_rows
from sonic_lib.schemas import LINES, SEGMENTS


def window_id() -> Column:
    """Column: a number for a window of a clip, far narrower than the clip's path."""
    return F.xxhash64("path", "window").alias("window_id")


def thin_windows(windows: DataFrame) -> DataFrame:
    """Leave out every other window; those that overlapped it by half still cover the clip.

    Parameters
    ----------
    windows : DataFrame with path, window
        All windows of every clip.
    """
    last = F.max("window").over(Window.partitionBy("path"))
    return (
        windows.withColumn("last", last)
        .filter((F.col("window") % 2 == 0) | (F.col("window") == F.col("last")))
        .drop("last")
    )


def clip_hashes(extracts: DataFrame, *, prefix_bits: int, keep_hash: bool = False) -> DataFrame:
    """One row a hash to look up.

    Parameters
    ----------
    extracts : DataFrame [schemas.CLIP_EXTRACTS]
    keep_hash : bool
        Give it a second time, as looked_up, which hits carry on.

    Returns
    -------
    DataFrame
        window_id, variant, hash_prefix, hash, frame, detune.
    """
    hashes = (
        extracts.filter("hashes IS NOT NULL")
        .select(window_id(), "variant", "hashes", "frames", "detunes")
        .transform(hash_rows, prefix_bits=prefix_bits)
        .withColumnRenamed("offset_frames", "frame")
    )
    return hashes.withColumn("looked_up", F.col("hash")) if keep_hash else hashes


def match_windows(
    hashes: DataFrame,
    *,
    fingerprints: DataFrame,
    songs: DataFrame,
    n_index_frames: float,
    max_rows_per_hash: int,
    broadcast: str,
    n_listed: int,
) -> DataFrame:
    """Find the songs and lines of every window.

    Parameters
    ----------
    hashes : DataFrame
        From `clip_hashes`.
    fingerprints, songs : DataFrame
        The tables.
    n_index_frames : float
        Frames of all songs together.
    max_rows_per_hash, broadcast
        As in `candidates.rare_fingerprints`.
    n_listed : int
        How many songs of a window to give, at least.

    Returns
    -------
    DataFrame [schemas.LINES]
        Windows that share nothing with the index have no row.
    """
    return (
        fingerprints.transform(
            rare_fingerprints,
            clip_hashes=hashes,
            songs=songs,
            max_rows_per_hash=max_rows_per_hash,
            broadcast=broadcast,
        )
        .transform(
            find_hits, clip_hashes=hashes, n_index_frames=n_index_frames, broadcast=broadcast
        )
        .transform(judge_windows, n_index_frames=n_index_frames, n_listed=n_listed)
    )


def judge_windows(hits: DataFrame, *, n_index_frames: float, n_listed: int) -> DataFrame:
    """Group the hits of every window by song and line, and score the songs.

    Parameters
    ----------
    hits : DataFrame
        From `candidates.find_hits`.
    n_index_frames, n_listed
        As in `match_windows`.

    Returns
    -------
    DataFrame [schemas.LINES]

    Notes
    -----
    A window's hits are sorted together and come to Python as columns, window after window:
    a few megabytes at a time, whatever the number of clips and songs.
    """
    chance = chance_evidence(n_index_frames)
    schema = to_arrow_schema(LINES)

    def judge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for window, hits in _windows(batches):
            rows = window_rows(hits, chance=chance, n_listed=n_listed)
            rows = [{"window_id": window} | row for row in rows]
            yield pa.RecordBatch.from_pylist(rows, schema=schema)

    return hits.repartition("window_id").sortWithinPartitions("window_id").mapInArrow(judge, LINES)


def _windows(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, Hits]]:
    """Cut sorted batches where a window ends: its id and its hits."""
    held: list[pa.RecordBatch] = []
    last = -1
    for batch in batches:
        ids = batch["window_id"].to_numpy()
        cuts = np.flatnonzero(ids[1:] != ids[:-1]) + 1
        for first, stop in itertools.pairwise([0, *cuts.tolist(), len(ids)]):
            if held and ids[first] != last:
                yield last, _hits(held)
                held = []
            if first < stop:
                last = int(ids[first])
                held.append(batch.slice(first, stop - first))
    if held:
        yield last, _hits(held)


def _hits(batches: list[pa.RecordBatch]) -> Hits:
    window = pa.Table.from_batches(batches)
    return Hits(*(window[name].to_numpy() for name in Hits._fields))


def segments(
    lines: DataFrame, *, windows: DataFrame, false_accept_rate: float, n_listed: int
) -> DataFrame:
    """Join the windows of every clip to segments.

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
