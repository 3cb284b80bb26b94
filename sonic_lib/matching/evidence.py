"""Explain an answer: all hits of a clip with a few songs; numpy and pandas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sonic_lib.fingerprint.descriptor import LOG_LIKELIHOOD_RATIO
from sonic_lib.fingerprint.params import FRAME_S
from sonic_lib.fingerprint.variants import VARIANTS
from sonic_lib.matching.join import MIN_WEIGHT_NATS, Rows
from sonic_lib.matching.lines import LINE_FRAMES
from sonic_lib.matching.scan import IndexFiles, read_slices
from sonic_lib.matching.slices import Queries, gather

ON_LINE_S = LINE_FRAMES * FRAME_S
# As wide as a line, so that the answer's own hits fall into one bin.
OFFSET_STEP_S = 2 * ON_LINE_S


class Explanation(NamedTuple):
    """The answers of one clip and the hits behind them.

    Attributes
    ----------
    error : str or None
        Why the clip could not be read, if it could not.
    answers : pandas.DataFrame
        Segments, each followed by the runner-up, with title and artist.
    hits : pandas.DataFrame
        song_id, clip_s, song_s, hash and weight of each hit with these songs.
    note : str or None
        What could not be read of the clip.
    """

    error: str | None
    answers: pd.DataFrame
    hits: pd.DataFrame
    note: str | None


def shared_hits(
    windows: Sequence[dict], index: IndexFiles, song_ids: NDArray[np.int64]
) -> pd.DataFrame:
    """Find every hit of some windows with some songs, as `all_hits.find_all_hits` does on Spark.

    Parameters
    ----------
    windows : sequence of dict
        Rows of `schemas.CLIP_EXTRACTS` with queries.
    song_ids : np.ndarray [shape=(n,)]

    Returns
    -------
    pandas.DataFrame
        window (index in `windows`), variant, frame, hash, song_id, offset_frames and weight
        (nats, at least MIN_WEIGHT_NATS).
    """
    queries = gather([row["queries"] for row in windows], bits=index.slice_bits)
    parts = [
        _slice_hits(asked, rows, song_ids, index.n_frames)
        for _, asked, rows in read_slices(queries, index, part=0, parts_bits=0)
    ]
    if not parts:
        empty = gather([], bits=0).queries
        nothing = Rows._make(np.zeros(0, np.int64) for _ in Rows._fields)
        parts = [_slice_hits(empty, nothing, song_ids, index.n_frames)]
    return pd.concat(parts, ignore_index=True)


def _slice_hits(
    asked: Queries, rows: Rows, song_ids: NDArray[np.int64], n_index_frames: float
) -> pd.DataFrame:
    n_rows = np.searchsorted(rows.hash, asked.hash, "right") - np.searchsorted(
        rows.hash, asked.hash
    )
    own = Rows._make(column[np.isin(rows.song_id, song_ids)] for column in rows)
    first = np.searchsorted(own.hash, asked.hash)
    counts = np.searchsorted(own.hash, asked.hash, "right") - first
    query = np.repeat(np.arange(len(asked.hash)), counts)
    row = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    differing = (own.descriptor[row] ^ asked.descriptor[query]).astype(np.int32)
    distance = np.unpackbits(differing.view(np.uint8).reshape(-1, 4), axis=1).sum(axis=1)
    weight = np.log(n_index_frames / n_rows[query]) + np.asarray(LOG_LIKELIHOOD_RATIO)[distance]
    hits = {
        "window": asked.window[query],
        "variant": asked.variant[query],
        "frame": asked.frame[query],
        "hash": asked.hash[query],
        "song_id": own.song_id[row],
        "offset_frames": own.offset_frames[row],
        "weight": weight.astype(np.float32),
    }
    return pd.DataFrame(hits)[weight >= MIN_WEIGHT_NATS]


def placed(hits: pd.DataFrame) -> pd.DataFrame:
    """Add the positions of hits in clip and song: clip_s and song_s.

    Parameters
    ----------
    hits : pandas.DataFrame
        variant, frame, offset_frames, and start_s and end_s of the window.
    """
    tempo = np.array([v.tempo for v in VARIANTS])[hits["variant"].to_numpy(int)]
    middle_s = 0.5 * (hits["start_s"] + hits["end_s"])
    return hits.assign(
        clip_s=middle_s + hits["frame"] * FRAME_S / tempo, song_s=hits["offset_frames"] * FRAME_S
    )


def on_line(hits: pd.DataFrame, answer: pd.Series) -> pd.Series:
    """Mark the hits that lie within LINE_FRAMES of an answer's line."""
    expected_s = answer.offset_s + answer.speed * (hits["clip_s"] - answer.clip_start_s)
    inside = hits["clip_s"].between(answer.clip_start_s, answer.clip_end_s)
    is_near = (hits["song_s"] - expected_s).abs() <= ON_LINE_S
    return (hits["song_id"] == answer.song_id) & is_near & inside


def offset_votes(
    hits: pd.DataFrame, answer: pd.Series
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Count an answer's hits by position in the song, corrected for drift.

    Returns
    -------
    steps : np.ndarray
        Bins, counted from the answer's own position.
    places : np.ndarray [s]
        Where the segment would start in the song, for each bin.
    votes : np.ndarray
        Hits in each bin.
    """
    own = hits[hits["song_id"] == answer.song_id]
    offset_s = own["song_s"] - answer.speed * (own["clip_s"] - answer.clip_start_s)
    steps = np.rint((offset_s.to_numpy(float) - answer.offset_s) / OFFSET_STEP_S).astype(np.int64)
    found, votes = np.unique(steps, return_counts=True)
    return found, answer.offset_s + found * OFFSET_STEP_S, votes
