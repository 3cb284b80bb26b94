"""Clips against the index: the two passes that identify, evaluate and explain share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib import tables
from sonic_lib.config import Config
from sonic_lib.errors import TableError
from sonic_lib.fingerprint.frame import fingerprint_clips
from sonic_lib.fingerprint.params import FRAMES_PER_S
from sonic_lib.fingerprint.variants import FIRST_LOOKS, SECOND_LOOKS, Look
from sonic_lib.matching.candidates import (
    choose_plan,
    find_hits,
    hits_by_frequency,
    rare_fingerprints,
)
from sonic_lib.matching.decide import sure_score
from sonic_lib.matching.frame import (
    clip_hashes,
    match_windows,
    segments,
    thin_windows,
    window_id,
)
from sonic_lib.matching.limits import (
    HITS_PER_PAIR,
    MAX_ROWS_PER_HASH,
    MIN_CLIP_S,
    MIN_HITS,
    SECOND_PASS_HITS,
    affordable_frequency,
)
from sonic_lib.progress import progress
from sonic_lib.schemas import FINGERPRINTS, SONGS

CLIPS_PER_TASK = 40  # what is looked up for an unsure clip of 10 s takes 5 MB
WINDOWS_PER_TASK = 240  # of a long recording, 20 minutes: a task decodes what comes before, too


@dataclass(frozen=True)
class Index:
    """The tables that clips are looked up in, and what must be known of them."""

    fingerprints: DataFrame
    songs: DataFrame
    prefix_bits: int
    n_frames: float
    n_fingerprints: int


def open_index(spark: SparkSession, warehouse: str) -> Index:
    """Read the index.

    Raises
    ------
    TableError
        If it holds no song.
    """
    # One version of each for the whole run, the songs first: what is indexed, removed or moved
    # meanwhile changes nothing, and no song is there without its fingerprints.
    songs = tables.read_pinned(spark, warehouse, SONGS)
    version = tables.version(spark, warehouse, FINGERPRINTS)
    index_s, n_fingerprints = songs.agg(F.sum("duration_s"), F.sum("n_fingerprints")).first()
    if not index_s:
        raise TableError(
            f"The index in {warehouse} holds no song; fill it with `sonic index FOLDER` first."
        )
    return Index(
        tables.read(spark, warehouse, FINGERPRINTS, version=version),
        songs,
        tables.prefix_bits(spark, warehouse, version=version),
        index_s * FRAMES_PER_S,
        n_fingerprints,
    )


def search(
    clips: DataFrame,
    index: Index,
    config: Config,
    *,
    n_listed: int,
    fingerprint: Callable[..., DataFrame] = fingerprint_clips,
) -> DataFrame:
    """Identify clips, in two passes.

    The first looks every window up as it is; the second looks those that are not sure up with
    denser landmarks, and at other speeds, tempos and pitches.

    Parameters
    ----------
    clips : DataFrame with path, size_bytes
    n_listed : int
        Songs to list for each segment.
    fingerprint : callable
        Makes extracts of clips; with the options of `fingerprint_clips`.

    Returns
    -------
    DataFrame
        path, duration_s, error (if the clip could not be read), note (what of it could not be
        used), and the columns of
        `schemas.SEGMENTS`, which are null for a clip that shares nothing with the index.
    """
    extracts = extract_clips(
        clips,
        config,
        what="clips",
        looks=FIRST_LOOKS,
        fingerprint=fingerprint,
    )
    closing = extracts.filter("window IS NULL").select(
        "path", "duration_s", F.coalesce("error", "stage").alias("error"), "note"
    )
    windows = extracts.filter("window IS NOT NULL").select(
        "path", "window", "start_s", "end_s", window_id()
    )
    lines = match(
        extracts,
        index,
        max_hits_per_window=config.identify.max_hits_per_window,
        n_listed=n_listed,
    ).persist()

    is_sure = F.col("score") >= sure_score(config.identify.false_accept_rate)
    unsure = (
        windows.transform(thin_windows)
        .join(lines.filter(is_sure), "window_id", "left_anti")
        .persist()
    )
    if not unsure.isEmpty():
        again = unsure.groupBy(
            "path", F.floor(F.col("window") / WINDOWS_PER_TASK).alias("part")
        ).agg(F.collect_list("window").alias("windows"))
        second_extracts = extract_clips(
            again.join(clips, "path"),
            config,
            what="unsure clips, closely and at other speeds",
            looks=SECOND_LOOKS,
            fingerprint=fingerprint,
        )
        second = match(
            second_extracts,
            index,
            max_hits_per_window=SECOND_PASS_HITS * config.identify.max_hits_per_window,
            n_listed=n_listed,
        )
        lines = lines.join(unsure, "window_id", "left_anti").unionByName(second)

    found = lines.transform(
        segments,
        windows=windows.join(closing.filter("error IS NULL").drop("error", "note"), "path"),
        false_accept_rate=config.identify.false_accept_rate,
        n_listed=n_listed,
    )
    return closing.join(found, "path", "left")


def match(
    extracts: DataFrame, index: Index, *, max_hits_per_window: int, n_listed: int
) -> DataFrame:
    """Look up what clips hold; the plan follows from counts.

    Parameters
    ----------
    extracts : DataFrame [schemas.CLIP_EXTRACTS]
    max_hits_per_window : int
        What the join may give for a window, all variants together, on the average.

    Returns
    -------
    DataFrame [schemas.LINES]
    """
    n_hashes, n_windows = extracts.agg(
        F.coalesce(F.sum(F.size("hashes")), F.lit(0)), F.count_distinct("path", "window")
    ).first()
    hashes = extracts.transform(clip_hashes, prefix_bits=index.prefix_bits)
    return match_windows(
        hashes,
        fingerprints=index.fingerprints,
        songs=index.songs,
        n_index_frames=index.n_frames,
        max_rows_per_hash=_max_rows_per_hash(
            hashes,
            index,
            n_hashes=n_hashes,
            max_hits=max(MIN_HITS, n_windows * max_hits_per_window),
        ),
        broadcast=choose_plan(n_clip_hashes=n_hashes, n_fingerprints=index.n_fingerprints),
        n_listed=n_listed,
    )


def hits_of(hashes: DataFrame, index: Index) -> DataFrame:
    """All hits of a few clips, to look at."""
    return index.fingerprints.transform(
        rare_fingerprints,
        clip_hashes=hashes,
        songs=index.songs,
        max_rows_per_hash=MAX_ROWS_PER_HASH,
        broadcast="clips",
    ).transform(find_hits, clip_hashes=hashes, n_index_frames=index.n_frames, broadcast="clips")


def _max_rows_per_hash(hashes: DataFrame, index: Index, *, n_hashes: int, max_hits: int) -> int:
    if HITS_PER_PAIR * n_hashes * index.n_fingerprints <= max_hits:
        return MAX_ROWS_PER_HASH
    sample = index.fingerprints.filter("hash_prefix = 0").transform(
        hits_by_frequency, clip_hashes=hashes.filter("hash_prefix = 0"), songs=index.songs
    )
    n_hits = {row.max_rows: row.n_hits * 2**index.prefix_bits for row in sample.collect()}
    return affordable_frequency(n_hits, max_hits=max_hits)


def extract_clips(
    clips: DataFrame,
    config: Config,
    *,
    what: str,
    looks: Sequence[Look],
    fingerprint: Callable[..., DataFrame] = fingerprint_clips,
) -> DataFrame:
    """Fingerprint clips, with a progress bar.

    Parameters
    ----------
    clips : DataFrame with path, size_bytes and perhaps windows
    what : str
        What the progress bar counts.
    looks
        As in `fingerprint.frame.fingerprint_clips`.
    fingerprint
        As in `search`.

    Returns
    -------
    DataFrame [schemas.CLIP_EXTRACTS]
        Persisted, since what follows reads it twice.
    """
    context = clips.sparkSession.sparkContext
    n_clips, n_bytes = clips.agg(F.count("*"), F.coalesce(F.sum("size_bytes"), F.lit(0))).first()
    n_tasks = max(
        4 * context.defaultParallelism,
        int(n_bytes / (config.index.task_mb * 1e6)),
        n_clips // CLIPS_PER_TASK,
    )
    n_done = context.accumulator(0)
    extracts = (
        clips.repartition(n_tasks, *[c for c in ("path", "part") if c in clips.columns])
        .transform(
            fingerprint,
            params=config.fingerprint.params(),
            min_duration_s=MIN_CLIP_S,
            looks=looks,
            limits=config.index.limits(),
            n_done=n_done,
        )
        .persist()
    )
    with progress(what, total=n_clips, done=lambda: n_done.value):
        extracts.count()
    return extracts
