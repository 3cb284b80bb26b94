"""Extracts of clips to matches: the whole of identification as DataFrame -> DataFrame."""

from __future__ import annotations

import math

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sonic_lib.fingerprint.frame import hash_rows
from sonic_lib.matching.candidates import best_songs, count_votes, rare_fingerprints
from sonic_lib.matching.decide import N_CANDIDATES, judge_clip

_JUDGED = (
    "clip_id long, rank int, song_id long, offset_s double, n_votes long, score double, "
    "p_value double, accepted boolean"
)


def clip_hashes(extracts: DataFrame, *, prefix_bits: int) -> DataFrame:
    """One row a hash of a clip: clip_id, hash_prefix, hash, clip_frame."""
    return (
        extracts.filter("hashes IS NOT NULL")
        .select(clip_id(), "hashes", "frames")
        .transform(hash_rows, prefix_bits=prefix_bits)
        .withColumnRenamed("offset_frames", "clip_frame")
    )


def clip_id(path: str = "path"):
    """Column: a number for a clip, far narrower than its path."""
    return F.xxhash64(path).alias("clip_id")


def identify(
    hashes: DataFrame,
    *,
    fingerprints: DataFrame,
    songs: DataFrame,
    n_index_frames: float,
    max_rows_per_hash: int,
    broadcast: str,
    false_accept_rate: float,
    n_listed: int,
) -> DataFrame:
    """Rank and judge the songs that each clip may be.

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
    false_accept_rate, n_listed
        As in `decide.judge_clip`.

    Returns
    -------
    DataFrame
        clip_id, rank, song_id, offset_s (s), n_votes, score, p_value, accepted.  Clips that
        share nothing with the index have no row.
    """
    # Two votes for one offset: what chance gives any clip in an index of some size.
    chance = 2 * math.log(max(n_index_frames, 2.0))

    def judge(clip: pd.DataFrame) -> pd.DataFrame:
        judged = judge_clip(
            clip, chance=chance, false_accept_rate=false_accept_rate, n_listed=n_listed
        )
        return judged[[column.split()[0] for column in _JUDGED.split(", ")]]

    return (
        fingerprints.transform(
            rare_fingerprints,
            clip_hashes=hashes,
            songs=songs,
            max_rows_per_hash=max_rows_per_hash,
            broadcast=broadcast,
        )
        .transform(
            count_votes,
            clip_hashes=hashes,
            n_index_frames=n_index_frames,
            broadcast=broadcast,
        )
        .transform(best_songs, n_songs=N_CANDIDATES)
        .groupBy("clip_id")
        .applyInPandas(judge, _JUDGED)
    )
