"""Identify a clip again and collect the hits behind the answer.

Does not load Spark if clip and index are on this machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from sonic_lib.audio.local_files import walk
from sonic_lib.config import Config
from sonic_lib.errors import SetupError, UsageError
from sonic_lib.fingerprint.variants import FIRST_PASS, SECOND_PASS, Probe

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import SparkSession

    from sonic_lib.matching.evidence import Explanation

    # From probes and answers to the hits with the songs of the answers, with start_s and end_s of
    # each hit's window.
    FindHits: TypeAlias = Callable[[Sequence[Probe], pd.DataFrame], pd.DataFrame]

N_LISTED = 2  # the answer and its runner-up


def explain_clip(spark: SparkSession, config: Config, clip: str) -> Explanation:
    """Identify one clip on Spark and collect the hits behind the answer.

    Parameters
    ----------
    clip : str
        An audio file.

    Raises
    ------
    UsageError
        If `clip` is not a single audio file.
    TableError
        If there is no index, or it is empty or was made with other parameters.
    """
    from pyspark.sql import functions as F

    from sonic_lib.audio.listing import list_audio
    from sonic_lib.matching.all_hits import find_all_hits, looked_up
    from sonic_lib.matching.join import MIN_WEIGHT_NATS
    from sonic_lib.matching.spark import window_id
    from sonic_lib.spark.caching import cache_scope, cached
    from sonic_lib.storage import tables
    from sonic_lib.workflows.identification import extract_clips, open_index, search

    tables.check_params(spark, config.warehouse, params=config.fingerprint.params())
    index = open_index(spark, config.warehouse)

    def hits(probes: Sequence[Probe], answers: pd.DataFrame) -> pd.DataFrame:
        extracts = extract_clips(clips, config, what="clips", probes=probes)
        songs = spark.createDataFrame(answers[["song_id"]].drop_duplicates())
        windows = extracts.filter("window IS NOT NULL").select(window_id(), "start_s", "end_s")
        return (
            index.fingerprints.transform(
                find_all_hits,
                hashes=extracts.transform(looked_up, prefix_bits=index.files.prefix_bits),
                songs=index.songs,
                n_index_frames=index.files.n_frames,
            )
            .filter(F.col("weight") >= MIN_WEIGHT_NATS)
            .join(F.broadcast(songs), "song_id")
            .join(windows, "window_id")
            .toPandas()
        )

    with cache_scope():
        clips = cached(list_audio(spark, [clip]))
        _check_one(clip, clips.count())
        names = index.songs.select("song_id", "title", "artist")
        found = search(clips, index, config, n_listed=N_LISTED).join(names, "song_id", "left")
        return _explanation(found.toPandas(), config, find_hits=hits)


def explain_without_spark(config: Config, clip: str) -> Explanation | None:
    """Explain a clip without Spark, if that is not slower.

    Parameters
    ----------
    clip : str
        A local audio file.

    Returns
    -------
    Explanation, optional
        None if Spark is needed.

    Raises
    ------
    UsageError, TableError
        As `explain_clip`.
    """
    from sonic_lib.storage.local_index import open_index
    from sonic_lib.workflows.local_engine import extract_clip, identify_clips, start_helper
    from sonic_lib.workflows.local_identification import MAX_S, estimated_s

    paths = [file["path"] for file in walk([clip])]
    _check_one(clip, len(paths))
    [path] = paths
    start_helper()
    try:
        index = open_index(config.warehouse, params=config.fingerprint.params())
    except SetupError:
        return None
    n_bytes = os.path.getsize(path) if os.path.exists(path) else 0
    if estimated_s(1, n_bytes, index.files.n_fingerprints) > MAX_S:
        return None
    import pandas as pd  # meanwhile, the helper loads its modules

    from sonic_lib.matching.evidence import shared_hits

    def hits(probes: Sequence[Probe], answers: pd.DataFrame) -> pd.DataFrame:
        windows = extract_clip(path, config, probes=probes)
        found = shared_hits(windows, index.files, answers["song_id"].unique())
        return found.join(pd.DataFrame(windows)[["start_s", "end_s"]], on="window")

    found = pd.DataFrame(identify_clips([path], index, config, n_listed=N_LISTED))
    if "song_id" in found:
        names = index.songs.select(["song_id", "title", "artist"]).to_pandas()
        found = found.merge(names, on="song_id", how="left")
    return _explanation(found, config, find_hits=hits)


def _explanation(found: pd.DataFrame, config: Config, *, find_hits: FindHits) -> Explanation:
    import pandas as pd

    from sonic_lib.matching.evidence import Explanation, placed
    from sonic_lib.matching.scoring import second_pass_threshold

    error, note = found["error"].iloc[0], found["note"].iloc[0]
    if "song_id" not in found:  # the local engine found nothing that the clip shares
        found = found.assign(song_id=None)
    has_song = found["song_id"].notna()
    if error is not None or not has_song.any():
        return Explanation(error, found.iloc[:0], pd.DataFrame(), note)
    answers = found[has_song].astype({"song_id": "int64"})
    answers = answers.sort_values(["clip_start_s", "rank"], ignore_index=True)
    is_sure = answers["score"] >= second_pass_threshold(config.identify.false_accept_rate)
    probes = FIRST_PASS if is_sure[answers["rank"] == 1].all() else SECOND_PASS
    return Explanation(None, answers, placed(find_hits(probes, answers)), note)


def _check_one(clip: str, n_clips: int) -> None:
    if n_clips != 1:
        raise UsageError(
            f"{clip!r} has {n_clips} audio files, but explain takes one; "
            "use `sonic identify` for folders."
        )
