"""Update an index from folders: add new and changed songs."""

from __future__ import annotations

import itertools
import time
from functools import partial

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.audio.listing import canonical_path, endings_counter, list_audio
from sonic_lib.config import Config
from sonic_lib.errors import TableError, UsageError
from sonic_lib.fingerprint.spark import digest_files, fingerprint_files
from sonic_lib.index import commit, plan
from sonic_lib.schemas import FINGERPRINTS, SONG_FILES, SONGS
from sonic_lib.spark.caching import cache_scope, cached
from sonic_lib.storage import creation, runs, tables, writes
from sonic_lib.workflows.batches import Extract, ingest_in_batches
from sonic_lib.workflows.idle_indexing import COUNTED, IndexRun

_MAX_TRIES = 5  # for a batch that other runs with the same songs took for that of a dead run
_N_REMARKS = 5  # the table song_files has all of them


def index_songs(
    spark: SparkSession,
    config: Config,
    paths: list[str],
    *,
    prune: bool = False,
    retry_rejected: bool = False,
    follow_links: bool = True,
) -> IndexRun:
    """Add the songs of folders to the index if they are new or have changed.

    Parameters and errors are those of `Warehouse.index`.
    """
    started_s = time.monotonic()
    warehouse = config.warehouse
    passed_over = endings_counter(spark)
    files = list_audio(spark, paths, follow_links=follow_links, passed_over=passed_over)
    creation.create(
        spark,
        warehouse,
        params=config.fingerprint.params(),
        prefix_bits=config.fingerprint.prefix_bits,
    )
    with (
        cache_scope(),
        runs.recorded(spark, warehouse, job="index", config=config) as this_run,
    ):
        counts, remarks = _index(
            spark,
            config,
            cached(files),
            roots=[canonical_path(spark, path) for path in paths],
            prune=prune,
            retry_rejected=retry_rejected,
            run_id=this_run.run_id,
        )
        counts["passed_over"] = passed_over.value.total()
        counts["seconds"] = time.monotonic() - started_s
        this_run.counts.update(counts)
    table_bytes = tables.live_bytes(spark, warehouse, FINGERPRINTS)
    return IndexRun(counts, remarks, table_bytes, passed_over.value)


def _index(
    spark: SparkSession,
    config: Config,
    files: DataFrame,
    *,
    roots: list[str],
    prune: bool,
    retry_rejected: bool,
    run_id: str,
) -> tuple[dict[str, float], list[str]]:
    """Update the tables; return counts, and remarks on the first files with problems."""
    warehouse = config.warehouse
    # Pinned versions: a cached frame of a live table is recomputed after each commit to it.
    known = tables.read_pinned(spark, warehouse, SONG_FILES)
    songs = tables.read_pinned(spark, warehouse, SONGS)
    changed = cached(plan.changed_files(files, known=known, retry_rejected=retry_rejected))
    n_files = files.count()
    n_changed, n_new, n_bytes = changed.agg(
        F.count("*"), F.count_if("is_new"), plan.work_bytes()
    ).first()
    counts = {"files": n_files, "unchanged": n_files - n_changed}
    gone = None
    if prune:
        _check_present(known, files, roots)
        gone = cached(plan.pruned_files(known, files=files, roots=roots))
        counts["pruned"] = gone.count()
    if not n_changed and not counts.get("pruned"):
        return counts | dict.fromkeys(COUNTED, 0), []

    n_slots = spark.sparkContext.defaultParallelism
    n_tasks = plan.n_tasks(n_changed, n_bytes, n_slots=n_slots, task_mb=config.index.task_mb)
    read = cached(changed.repartition(n_tasks, "path").transform(digest_files))
    digests = cached(read.transform(plan.reject_collisions, songs=songs))
    new = cached(plan.new_songs(digests, songs=songs))
    summaries = _fingerprint_batches(spark, config, new, run_id)

    counts |= {"new": n_new, "changed": n_changed - n_new} | _count_songs(summaries)
    missing = plan.pruned_files(known, files=files, roots=roots)
    moved = cached(plan.moved_files(missing, digests=digests))
    stored = tables.read_pinned(spark, warehouse, SONGS)
    still_known = known.join(moved, "path", "left_anti")
    file_rows = plan.song_files(digests, songs=stored, known=still_known, read=summaries)
    file_rows = cached(file_rows.transform(runs.stamped, run_id=run_id, when="seen_at"))
    lost = _paths(changed.filter("not is_new"), gone)
    abandoned = cached(plan.abandoned_songs(known, gone=lost, digests=digests))
    counts |= _count_files(file_rows) | {"replaced": abandoned.count()}
    remarks = _remarks(file_rows)
    if counts["replaced"]:
        commit.delete_songs(abandoned, warehouse)
    if counts["changed"] or counts.get("pruned"):
        promoted = cached(plan.promoted_files(known, gone=lost, missing=missing, files=file_rows))
        file_rows = file_rows.unionByName(promoted)
    # Counted, not only asked for a first row: what is not cached by then would read files again.
    if moved.count():
        gone, lost = _paths(moved, gone), _paths(moved, lost)
    left = known.join(lost, "path", "left_semi")
    renamed = cached(plan.renamed_songs(stored, gone=left, files=file_rows))
    n_renamed = renamed.count()
    # Delta replans all cached frames of a table after each commit to it.
    for frame in (changed, read, digests, new, abandoned):
        frame.unpersist()
    if n_renamed:
        writes.update(renamed, warehouse, SONGS, key="song_id")
    commit.record_files(file_rows, gone, warehouse)
    commit.remove_folder(spark, commit.run_folder(warehouse, run_id))
    return counts, remarks


def _paths(files: DataFrame, more: DataFrame | None) -> DataFrame:
    paths = files.select("path")
    return paths if more is None else paths.unionByName(more.select("path"))


def _count_songs(summaries: DataFrame) -> dict[str, float]:
    counts = summaries.filter("error IS NULL").agg(
        F.count("*").alias("songs"),
        F.coalesce(F.sum("duration_s"), F.lit(0.0)).alias("audio_s"),
        F.coalesce(F.sum("n_fingerprints"), F.lit(0)).alias("hashes"),
    )
    return counts.first().asDict()


def _count_files(file_rows: DataFrame) -> dict[str, float]:
    is_rejected = F.col("status") == "rejected"
    counts = file_rows.agg(
        F.count_if(F.col("status") == "duplicate").alias("duplicate"),
        F.count_if(is_rejected).alias("rejected"),
        F.count_if(~is_rejected & F.col("note").isNotNull()).alias("partial"),
    )
    return counts.first().asDict()


def _remarks(file_rows: DataFrame) -> list[str]:
    """Describe the problems of the first files that were rejected or only used in part."""
    problem = F.coalesce("error", "note").alias("problem")
    is_rejected = (F.col("status") == "rejected").alias("is_rejected")
    rows = (
        file_rows.select("path", is_rejected, problem)
        .filter("problem IS NOT NULL")
        .orderBy(F.desc("is_rejected"), "path")
        .take(_N_REMARKS)
    )
    return [
        f"{'rejected' if row.is_rejected else 'in part '}  {row.path}: {row.problem}"
        for row in rows
    ]


def _check_present(known: DataFrame, files: DataFrame, roots: list[str]) -> None:
    """Refuse to prune a folder without any songs, as its disk may just not be mounted."""
    present = files.agg(*(F.max(plan.is_below([root])) for root in roots)).first()
    empty = [root for root, is_present in zip(roots, present, strict=True) if not is_present]
    if empty and not plan.pruned_files(known, files=files, roots=empty).isEmpty():
        raise UsageError(
            f"prune (--prune) would remove every song of {', '.join(map(repr, empty))}, which "
            "has no audio files now. Mount the disk or correct the path. If the songs are gone "
            "for good, give the parent folder, or remove them with `sonic remove`."
        )


def _fingerprint_batches(
    spark: SparkSession, config: Config, new: DataFrame, run_id: str
) -> DataFrame:
    """Decode, stage and commit all new songs; return the summary rows of their files."""
    warehouse = config.warehouse
    commit.sweep(new, warehouse, run_id=run_id)
    folders = (commit.stage_folder(warehouse, run_id, number) for number in itertools.count())

    def ingest(chosen: DataFrame, extract: Extract) -> DataFrame:
        for _ in range(_MAX_TRIES):
            folder = next(folders)
            staged = commit.stage(extract(chosen), folder)
            rows = cached(commit.summary_rows(staged))
            if commit.commit_batch(staged, warehouse, summaries=rows, run_id=run_id, folder=folder):
                return rows
            songs = tables.read(spark, warehouse, SONGS)
            chosen = chosen.join(songs.select("song_id"), "song_id", "left_anti")
        raise TableError(
            f"Other runs with the same songs considered this one dead {_MAX_TRIES} times. "
            "Nothing is lost: run it again when they are done."
        )

    extract = partial(fingerprint_files, params=config.fingerprint.params())
    return ingest_in_batches(new, config, extract=extract, ingest=ingest)
