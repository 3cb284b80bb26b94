"""Votes for (clip, song, offset), as joins and aggregates: DataFrame -> DataFrame.

Method
------
A hash that a clip shares with a song is a vote for one offset between the two (Wang, ISMIR
2003).  A vote weighs ln(frames in the index / occurrences of the hash): what it says against
chance, in nats.  An offset's score is its votes and half of those of the two neighbouring
offsets, since landmarks fall on either side of a frame's edge.

Shape of the plan
-----------------
1. The fingerprints are read once, for all clips, and only those with a wanted hash go on, by
   a left semi join on (hash_prefix, hash).
2. What remains is shuffled by hash and counted there.  Hashes above `max_rows_per_hash` are
   left out before they meet the clips, so a hot hash costs its rows once, not times the clips.
3. The join with the clips' hashes gives one row a hit.
4. One shuffle by (clip, song) serves votes, neighbours and the best offset; a last one by
   clip carries only the few best songs.
"""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from sonic_lib.fingerprint.params import FRAME_S

_HASH = ["hash_prefix", "hash"]
# Above this many rows a broadcast costs more than a shuffle.
MAX_BROADCAST_ROWS = 2_000_000


def choose_plan(*, n_clip_hashes: int, n_fingerprints: int) -> str:
    """Which side of the join every executor gets whole.

    Returns
    -------
    str
        ``"clips"``: the wanted hashes are broadcast, and filter the table where it is read.
        ``"index"``: the table is small, and is broadcast to the hashes of very many clips.
        ``"none"``: both sides are large, and are shuffled by hash.
    """
    if n_clip_hashes <= MAX_BROADCAST_ROWS:
        return "clips"
    return "index" if n_fingerprints <= MAX_BROADCAST_ROWS else "none"


def rare_fingerprints(
    fingerprints: DataFrame,
    *,
    clip_hashes: DataFrame,
    songs: DataFrame,
    max_rows_per_hash: int,
    broadcast: str,
) -> DataFrame:
    """Fingerprints whose hash some clip has, with n_rows, how often the hash occurs.

    Parameters
    ----------
    clip_hashes : DataFrame with hash_prefix, hash
    songs : DataFrame with song_id
        Fingerprints of other songs do not count.
    max_rows_per_hash : int
        Hashes that occur more often are left out.
    broadcast : str
        From `choose_plan`.
    """
    if broadcast != "index":
        wanted = clip_hashes.select(*_HASH).distinct()
        wanted = F.broadcast(wanted) if broadcast == "clips" else wanted
        fingerprints = fingerprints.join(wanted, _HASH, "left_semi")
    by_hash = Window.partitionBy(*_HASH)
    return (
        fingerprints.join(songs.select("song_id"), "song_id", "left_semi")
        .withColumn("n_rows", F.count("*").over(by_hash))
        .filter(F.col("n_rows") <= max_rows_per_hash)
    )


def count_votes(
    fingerprints: DataFrame, *, clip_hashes: DataFrame, n_index_frames: float, broadcast: str
) -> DataFrame:
    """Votes for each (clip_id, song_id, offset): weight and n_votes.

    Parameters
    ----------
    fingerprints : DataFrame
        From `rare_fingerprints`.
    clip_hashes : DataFrame with clip_id, hash_prefix, hash, clip_frame
        Distinct; so no fingerprint votes twice for an offset.
    n_index_frames : float
        Frames of all songs of the index together.
    broadcast : str
        From `choose_plan`.
    """
    # A hash in every frame says nothing, and a weight of zero could not be divided by.
    fingerprints = fingerprints.filter(F.col("n_rows") < float(n_index_frames))
    fingerprints = F.broadcast(fingerprints) if broadcast == "index" else fingerprints
    weight = F.log(F.lit(float(n_index_frames)) / F.col("n_rows"))
    return (
        fingerprints.join(clip_hashes, _HASH)
        .select(
            "clip_id",
            "song_id",
            (F.col("offset_frames") - F.col("clip_frame")).alias("offset"),
            weight.alias("weight"),
        )
        .repartition("clip_id", "song_id")
        .groupBy("clip_id", "song_id", "offset")
        .agg(F.sum("weight").alias("weight"), F.count("*").alias("n_votes"))
    )


def best_songs(votes: DataFrame, *, n_songs: int) -> DataFrame:
    """The best offset of each song, and of these the best songs of each clip.

    Returns
    -------
    DataFrame
        clip_id, song_id, evidence (nats), n_votes and offset_s, the place in the song of the
        clip's first sample in seconds: the mean of the three offsets that count.
    """
    around = Window.partitionBy("clip_id", "song_id").orderBy("offset").rangeBetween(-1, 1)
    scored = votes.select(
        "clip_id",
        "song_id",
        (0.5 * F.col("weight") + 0.5 * F.sum("weight").over(around)).alias("evidence"),
        F.sum("n_votes").over(around).alias("n_votes"),
        (F.sum(F.col("weight") * F.col("offset")).over(around) / F.sum("weight").over(around))
        .cast("double")
        .alias("offset"),
    )
    best = scored.groupBy("clip_id", "song_id").agg(
        F.max(F.struct("evidence", "n_votes", "offset")).alias("best")
    )
    rank = F.row_number().over(
        Window.partitionBy("clip_id").orderBy(F.desc("best.evidence"), "song_id")
    )
    return (
        best.withColumn("rank", rank)
        .filter(F.col("rank") <= n_songs)
        .select(
            "clip_id",
            "song_id",
            "best.evidence",
            "best.n_votes",
            (F.col("best.offset") * FRAME_S).alias("offset_s"),
        )
    )
