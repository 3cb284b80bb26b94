"""The join of clips and table, as DataFrame -> DataFrame.

Method
------
A hash that a clip shares with a song is a hit, a vote for one offset between the two (Wang,
ISMIR 2003).  It weighs ln(frames in the index / occurrences of the hash): what it says against
chance, in nats.

Shape of the plan
-----------------
1. The fingerprints are read once, for all clips, and only those with a wanted hash go on, by
   a left semi join on (hash_prefix, hash).
2. What remains is shuffled by hash and counted there.  Hashes above `max_rows_per_hash` are
   left out before they meet the clips, so a hot hash costs its rows once, not times the clips.
3. The join with the clips' hashes gives one row a hit.  Its size is what a large index costs;
   `limits.affordable_frequency` bounds it.
4. One shuffle by (clip, window) brings the hits to where they are grouped by song and offset
   (`frame.judge_windows`).
"""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

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
    wanted = clip_hashes.select(*_HASH)
    if broadcast == "clips":
        fingerprints = fingerprints.join(F.broadcast(wanted.distinct()), _HASH, "left_semi")
    elif broadcast == "none":
        # Not made distinct: few are met twice, and the maps that find those fill a task's memory.
        fingerprints = fingerprints.join(wanted, _HASH, "left_semi")
    by_hash = Window.partitionBy(*_HASH)
    return (
        fingerprints.join(songs.select("song_id"), "song_id", "left_semi")
        .withColumn("n_rows", F.count("*").over(by_hash))
        .filter(F.col("n_rows") <= max_rows_per_hash)
    )


def find_hits(
    fingerprints: DataFrame, *, clip_hashes: DataFrame, n_index_frames: float, broadcast: str
) -> DataFrame:
    """One row a hash that a window shares with a song.

    Parameters
    ----------
    fingerprints : DataFrame
        From `rare_fingerprints`.
    clip_hashes : DataFrame with hash_prefix, hash and whatever the hits are to carry
    n_index_frames : float
        Frames of all songs of the index together.
    broadcast : str
        From `choose_plan`.

    Returns
    -------
    DataFrame
        The other columns of `clip_hashes`, song_id, offset_frames and weight (nats).
    """
    # A hash in every frame says nothing.
    fingerprints = fingerprints.filter(F.col("n_rows") < float(n_index_frames))
    fingerprints = F.broadcast(fingerprints) if broadcast == "index" else fingerprints
    weight = F.log(F.lit(float(n_index_frames)) / F.col("n_rows")).cast("float")
    carried = [name for name in clip_hashes.columns if name not in _HASH]
    return fingerprints.join(clip_hashes, _HASH).select(
        *carried, "song_id", "offset_frames", weight.alias("weight")
    )


def hits_by_frequency(
    fingerprints: DataFrame, *, clip_hashes: DataFrame, songs: DataFrame
) -> DataFrame:
    """How many hits come from hashes of which frequency, in powers of two.

    Parameters
    ----------
    fingerprints, clip_hashes : DataFrame
        The same part of both: any set of prefixes is a fair sample, since hashes are mixed.

    Returns
    -------
    DataFrame
        max_rows (the upper end of the class) and n_hits.
    """
    wanted = clip_hashes.groupBy(*_HASH).agg(F.count("*").alias("n_uses"))
    return (
        fingerprints.join(songs.select("song_id"), "song_id", "left_semi")
        .join(wanted, _HASH)
        .groupBy(*_HASH)
        .agg(F.count("*").alias("n_rows"), F.first("n_uses").alias("n_uses"))
        .withColumn("max_rows", F.pow(F.lit(2), F.ceil(F.log2("n_rows"))).cast("long"))
        .groupBy("max_rows")
        .agg(F.sum(F.col("n_rows") * F.col("n_uses")).alias("n_hits"))
    )
