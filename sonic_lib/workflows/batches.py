"""Ingest new songs in batches, each of which is one commit."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import TypeAlias

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sonic_lib.config import Config
from sonic_lib.console import progress
from sonic_lib.index import plan

Extract: TypeAlias = Callable[[DataFrame], DataFrame]


def ingest_in_batches(
    new: DataFrame,
    config: Config,
    *,
    extract: Callable[..., DataFrame],
    ingest: Callable[[DataFrame, Extract], DataFrame],
) -> DataFrame:
    """Decode and commit songs batch by batch, with a progress bar.

    Parameters
    ----------
    new : DataFrame with song_id, path, size_bytes
        Every batch reads it, so it should be cached or quick to compute.
    extract : callable
        Decodes files; takes min_duration_s, limits and n_done as `fingerprint_files`.
    ingest : callable
        Commits one batch: from its songs, and `extract` with its options in the right number of
        tasks, to the outcome for each song.

    Returns
    -------
    DataFrame
        The outcomes for all songs.
    """
    context = new.sparkSession.sparkContext
    n_new, n_bytes = new.agg(F.count("*"), plan.work_bytes()).first()
    n_batches, n_tasks = plan.batch_sizes(
        n_new,
        n_bytes,
        n_slots=context.defaultParallelism,
        task_mb=config.index.task_mb,
        batch_gb=config.index.batch_gb,
    )
    n_done = context.accumulator(0)

    def extracted(songs: DataFrame) -> DataFrame:
        return songs.repartition(n_tasks, "song_id").transform(
            extract,
            min_duration_s=config.index.min_duration_s,
            limits=config.index.limits(),
            n_done=n_done,
        )

    outcomes = []
    with progress("songs", total=n_new, done=lambda: n_done.value):
        for batch in range(n_batches):
            chosen = new.filter(F.pmod("song_id", F.lit(n_batches)) == batch)
            outcomes.append(ingest(chosen, extracted))
    return reduce(DataFrame.unionByName, outcomes)
