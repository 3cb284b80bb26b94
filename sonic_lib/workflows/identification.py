"""Search the index for clips in two passes; used by identify, evaluate and explain."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.config import Config
from sonic_lib.console import progress
from sonic_lib.fingerprint.params import FRAMES_PER_S
from sonic_lib.fingerprint.spark import fingerprint_clips
from sonic_lib.fingerprint.variants import FIRST_PASS, FIRST_PASS_ONLY, SECOND_PASS, Probe
from sonic_lib.matching.budget import first_pass_hits
from sonic_lib.matching.scan import IndexFiles
from sonic_lib.matching.scoring import second_pass_threshold
from sonic_lib.matching.spark import match_windows, searched_again, segments, window_id
from sonic_lib.schemas import FINGERPRINTS, SONGS
from sonic_lib.spark.caching import cached
from sonic_lib.storage import tables
from sonic_lib.storage.missing import no_songs

CLIPS_PER_TASK = 40  # the queries of an uncertain clip of 10 s take 5 MB
WINDOWS_PER_TASK = 240  # 20 minutes of a long recording; a task also decodes all that precedes them
PARTS_PER_CORE = 4  # parts of the hashes, so that all cores finish at about the same time
BYTES_PER_PART = 64_000_000  # of queries


@dataclass(frozen=True)
class Index:
    """The tables of an index, at one point in time.

    Attributes
    ----------
    fingerprints, songs : DataFrame
    files : IndexFiles
    """

    fingerprints: DataFrame
    songs: DataFrame
    files: IndexFiles


def open_index(spark: SparkSession, warehouse: str) -> Index:
    """Read the index.

    Raises
    ------
    TableError
        If it has no songs.
    """
    # Pinned versions, so that changes during the run have no effect; songs first, so that every
    # song has its fingerprints.
    songs = tables.read_pinned(spark, warehouse, SONGS)
    version = tables.version(spark, warehouse, FINGERPRINTS)
    index_s, n_fingerprints = songs.agg(F.sum("duration_s"), F.sum("n_fingerprints")).first()
    if not index_s:
        raise no_songs(warehouse)
    fingerprints = tables.read(spark, warehouse, FINGERPRINTS, version=version)
    files = IndexFiles(
        tables.partition_files(fingerprints, column="hash_prefix"),
        tables.prefix_bits(spark, warehouse, version=version),
        n_fingerprints,
        index_s * FRAMES_PER_S,
        _orphans(fingerprints, songs, n_expected=n_fingerprints),
    )
    return Index(fingerprints, songs, files)


def _orphans(fingerprints: DataFrame, songs: DataFrame, *, n_expected: int) -> NDArray[np.int64]:
    """Return the ids of songs that have fingerprints but are not in `songs`, ascending.

    They exist while another run adds or removes songs, or after it died: those of a batch per such
    run, until `sonic maintain`.  The number of rows comes from the table's log; rows are only
    scanned if it differs from the expected number.
    """
    if fingerprints.count() == n_expected:
        return np.zeros(0, np.int64)
    ids = fingerprints.select("song_id").distinct().join(songs, "song_id", "left_anti")
    return np.sort(ids.toPandas()["song_id"].to_numpy(np.int64))


def search(
    clips: DataFrame,
    index: Index,
    config: Config,
    *,
    n_listed: int,
    fingerprint: Callable[..., DataFrame] = fingerprint_clips,
) -> DataFrame:
    """Identify clips, in two passes.

    The first pass looks up every window unchanged.  The second looks up uncertain windows again,
    with denser landmarks and at other speeds, tempos and pitches.

    Parameters
    ----------
    clips : DataFrame with path, size_bytes
    n_listed : int
        Songs to list per segment.
    fingerprint : callable
        Returns extracts of clips; takes the options of `fingerprint_clips`.

    Returns
    -------
    DataFrame
        path, duration_s, error (if the clip could not be read), note (parts that could not be
        used), and the columns of `schemas.SEGMENTS`, null for a clip that shares no hash with
        the index.
    """
    extracts = extract_clips(
        clips, config, what="clips", probes=FIRST_PASS, fingerprint=fingerprint
    )
    summary = extracts.filter("window IS NULL").select(
        "path", "duration_s", F.coalesce("error", "stage").alias("error"), "note"
    )
    readable = summary.filter("error IS NULL").select("path", "duration_s")
    windows = (
        extracts.filter("window IS NOT NULL")
        .select("path", "window", "start_s", "end_s", window_id())
        .join(readable, "path")
    )
    max_hits = config.identify.max_hits_per_window
    lines = cached(match(extracts, index, max_hits=first_pass_hits(max_hits), n_listed=n_listed))

    is_sure = F.col("score") >= second_pass_threshold(config.identify.false_accept_rate)
    unsure = cached(
        windows.transform(searched_again).join(lines.filter(is_sure), "window_id", "left_anti")
    )
    if not unsure.isEmpty():
        second_extracts = extract_clips(
            _in_parts(unsure).join(clips, "path"),
            config,
            what="uncertain clips, second pass",
            probes=SECOND_PASS,
            fingerprint=fingerprint,
        )
        second = match(second_extracts, index, max_hits=max_hits, n_listed=n_listed)
        failed = second_extracts.transform(_failed_clips)
        if not failed.isEmpty():  # they keep what the first pass found
            note = F.nullif(F.concat_ws("; ", "note", "why"), F.lit(""))
            summary = summary.join(failed, "path", "left").withColumn("note", note).drop("why")
            unsure = unsure.join(failed, "path", "left_anti")
            second = second.join(unsure, "window_id", "left_semi")
        lines = lines.join(unsure, "window_id", "left_anti").unionByName(second)

    found = lines.transform(
        segments,
        windows=windows,
        false_accept_rate=config.identify.false_accept_rate,
        n_listed=n_listed,
    )
    return summary.join(found, "path", "left")


def _in_parts(windows: DataFrame) -> DataFrame:
    """Group the windows of each clip by the task that reads them: path, part, windows."""
    part = F.floor(F.col("window") / WINDOWS_PER_TASK).alias("part")
    return windows.groupBy("path", part).agg(F.collect_list("window").alias("windows"))


def _failed_clips(second_extracts: DataFrame) -> DataFrame:
    """Find the clips whose second pass failed: path, why.

    Windows without sound or structure are no failure: they have no hashes to look up.
    """
    failed = second_extracts.filter(
        "window IS NULL AND coalesce(error, stage) IS NOT NULL AND NOT stage <=> 'content'"
    )
    reason = F.concat(F.lit(f"{FIRST_PASS_ONLY}: "), F.coalesce("error", "stage"))
    return failed.groupBy("path").agg(F.min(reason).alias("why"))


def match(extracts: DataFrame, index: Index, *, max_hits: int, n_listed: int) -> DataFrame:
    """Look up the hashes of clips, in enough tasks to keep all cores busy.

    Parameters
    ----------
    extracts : DataFrame [schemas.CLIP_EXTRACTS]
    max_hits : int
        Hits to keep per window; the heaviest are kept.

    Returns
    -------
    DataFrame [schemas.LINES]
    """
    n_bytes = extracts.agg(F.coalesce(F.sum(F.length("queries")), F.lit(0))).first()[0]
    n_cores = extracts.sparkSession.sparkContext.defaultParallelism
    n_parts = max(PARTS_PER_CORE * n_cores, n_bytes / BYTES_PER_PART)
    return match_windows(
        extracts,
        index=index.files,
        parts_bits=min(math.ceil(math.log2(n_parts)), index.files.slice_bits),
        max_hits=max_hits,
        n_listed=n_listed,
    )


def extract_clips(
    clips: DataFrame,
    config: Config,
    *,
    what: str,
    probes: Sequence[Probe],
    fingerprint: Callable[..., DataFrame] = fingerprint_clips,
) -> DataFrame:
    """Fingerprint clips, with a progress bar.

    Parameters
    ----------
    clips : DataFrame with path, size_bytes and optionally windows
    what : str
        Label of the progress bar.
    probes
        As in `fingerprint.spark.fingerprint_clips`.
    fingerprint
        As in `search`.

    Returns
    -------
    DataFrame [schemas.CLIP_EXTRACTS]
        Persisted on disk, since it is read twice and is gigabytes for long recordings.
    """
    context = clips.sparkSession.sparkContext
    n_clips, n_bytes = clips.agg(F.count("*"), F.coalesce(F.sum("size_bytes"), F.lit(0))).first()
    n_tasks = max(
        4 * context.defaultParallelism,
        int(n_bytes / (config.index.task_mb * 1e6)),
        n_clips // CLIPS_PER_TASK,
    )
    n_done = context.accumulator(0)
    extracts = clips.repartition(
        n_tasks, *[c for c in ("path", "part") if c in clips.columns]
    ).transform(
        fingerprint,
        params=config.fingerprint.params(),
        probes=probes,
        limits=config.index.limits(),
        n_done=n_done,
    )
    extracts = cached(extracts, level=StorageLevel.DISK_ONLY)
    with progress(what, total=n_clips, done=lambda: n_done.value):
        extracts.count()
    return extracts
