"""`sonic index`: songs that are new or changed go into the index, nothing twice."""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.audio.listing import endings_counter, canonical_path, list_audio
from sonic_lib.config import Config
from sonic_lib.console import say, show
from sonic_lib.errors import TableError, UsageError
from sonic_lib.fingerprint.spark import digest_files, fingerprint_files
from sonic_lib.index import commit, plan
from sonic_lib.progress import progress
from sonic_lib.schemas import FINGERPRINTS, SONG_FILES, SONGS
from sonic_lib.storage import runs, tables
from sonic_lib.workflows.streaming import add_no_links, add_watch, check_watch, watch

HELP = "fingerprint the songs of folders into the index"
IS_PYTHON_WORK = True
_MAX_TRIES = 5  # of a batch that other runs, which met the same songs, took for a dead run's


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="folder or audio file")
    parser.add_argument("--prune", action="store_true", help="drop songs whose files are gone")
    parser.add_argument(
        "--retry-rejected", action="store_true", help="read rejected files again, too"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a file is rejected")
    add_no_links(parser)
    add_watch(parser)


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before Spark starts."""
    check_watch(args)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Bring the index up to date with the folders, once or whenever something new is there."""
    if not args.watch:
        return _update(spark, config, args)

    def take(session: SparkSession, files: DataFrame, batch: str) -> None:
        _update(session, config, args)  # of all files: what is there already costs nothing

    n = watch(
        spark, args.paths, warehouse=config.warehouse, verb="index", when=args.watch, take=take
    )
    say(f"{n} batches of new songs in {', '.join(args.paths)}", batches=n)
    return 0


def _update(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    started_s = time.monotonic()
    warehouse = config.warehouse
    passed_over = endings_counter(spark)
    files = list_audio(spark, args.paths, follow_links=not args.no_links, passed_over=passed_over)
    tables.create(
        spark,
        warehouse,
        params=config.fingerprint.params(),
        prefix_bits=config.fingerprint.prefix_bits,
    )
    with runs.recorded(spark, warehouse, job="index", config=config) as this_run:
        counts, remarks = _index(spark, config, args, files.persist(), this_run.run_id)
        counts["passed_over"] = passed_over.value.total()
        counts["seconds"] = time.monotonic() - started_s
        this_run.counts.update(counts)
    _report(counts, remarks, tables.live_bytes(spark, warehouse, FINGERPRINTS), warehouse)
    if passed_over.value:
        say(passed_over_text(passed_over.value), endings_passed_over=dict(passed_over.value))
    return 1 if args.strict and counts["rejected"] else 0


def passed_over_text(endings: Counter[str]) -> str:
    """Say how many files were passed over by their ending, and which endings they have.

    Examples
    --------
    >>> passed_over_text(Counter({".jpg": 8, "": 1}))
    '  beside  9 files passed over by their ending: 8 .jpg, 1 without one'
    """
    most = endings.most_common(_N_ENDINGS)
    named = [f"{n} {ending or 'without one'}" for ending, n in most]
    if n_more := endings.total() - sum(n for _, n in most):
        named.append(f"{n_more} others")
    return f"  beside  {endings.total()} files passed over by their ending: {', '.join(named)}"


def _index(
    spark: SparkSession, config: Config, args: argparse.Namespace, files: DataFrame, run_id: str
) -> tuple[dict[str, float], list[str]]:
    """Do what there is to do; gives counts, and remarks on the first files that went wrong."""
    warehouse = config.warehouse
    # As it was: what is cached of it is computed anew after each commit to the table.
    known = tables.read_pinned(spark, warehouse, SONG_FILES)
    songs = tables.read(spark, warehouse, SONGS)
    changed = plan.changed_files(files, known=known, retry_rejected=args.retry_rejected).persist()
    n_files = files.count()
    n_changed, n_new, n_bytes = changed.agg(
        F.count("*"), F.count_if("is_new"), plan.work_bytes()
    ).first()
    counts = {"files": n_files, "unchanged": n_files - n_changed}
    gone = None
    roots = [canonical_path(path) for path in args.paths]
    if args.prune:
        _check_present(known, files, roots)
        gone = plan.pruned_files(known, files=files, roots=roots).persist()
        counts["pruned"] = gone.count()
    if not n_changed and not counts.get("pruned"):
        return counts | dict.fromkeys(_COUNTED, 0), []

    n_slots = spark.sparkContext.defaultParallelism
    n_tasks = plan.n_tasks(n_changed, n_bytes, n_slots=n_slots, task_mb=config.index.task_mb)
    read = changed.repartition(n_tasks, "path").transform(digest_files).persist()
    digests = read.transform(plan.told_apart, songs=songs).persist()
    new = plan.new_songs(digests, songs=songs).persist()
    closings = _fingerprint_batches(spark, config, new, run_id)

    stored = tables.read(spark, warehouse, SONGS)
    missing = plan.pruned_files(known, files=files, roots=roots)
    moved = plan.moved_files(missing, digests=digests).persist()
    still_known = known.join(moved, "path", "left_anti")
    judged = plan.song_files(digests, songs=stored, known=still_known, read=closings).persist()
    touched = changed.filter("not is_new").select("path")
    lost = touched if gone is None else touched.unionByName(gone.select("path"))
    abandoned = plan.abandoned_songs(known, gone=lost, digests=digests).persist()
    counts["replaced"] = abandoned.count()
    by_status = {row.status: row["count"] for row in judged.groupBy("status").count().collect()}
    done = closings.filter("error IS NULL").agg(
        F.count("*").alias("songs"),
        F.coalesce(F.sum("duration_s"), F.lit(0.0)).alias("audio_s"),
        F.coalesce(F.sum("n_fingerprints"), F.lit(0)).alias("hashes"),
    )
    if counts["replaced"]:
        commit.delete_songs(abandoned, warehouse)
    counts |= done.first().asDict() | {
        "new": n_new,
        "changed": n_changed - n_new,
        "duplicate": by_status.get("duplicate", 0),
        "rejected": by_status.get("rejected", 0),
        "partial": judged.filter("status <> 'rejected' AND note IS NOT NULL").count(),
    }
    remarks = _remarks(judged)
    # Delta plans whatever is cached of a table anew after each commit to it.
    for cached in (changed, read, digests, new, abandoned):
        cached.unpersist()
    if not moved.isEmpty():
        renamed = plan.renamed_songs(stored, moved=moved, judged=judged)
        tables.upsert(renamed, warehouse, SONGS, key="song_id")
        paths = moved.select("path")
        gone = paths if gone is None else gone.select("path").unionByName(paths)
    commit.record_files(judged, gone, warehouse, run_id=run_id)
    commit.remove_folder(spark, commit.run_folder(warehouse, run_id))
    return counts, remarks


def _remarks(judged: DataFrame) -> list[str]:
    """Say what is wrong with the first files that were rejected, or used in part."""
    told = F.coalesce("error", "note").alias("told")
    is_rejected = (F.col("status") == "rejected").alias("is_rejected")
    rows = (
        judged.select("path", is_rejected, told)
        .filter("told IS NOT NULL")
        .orderBy(F.desc("is_rejected"), "path")
        .take(_N_REMARKS)
    )
    return [
        f"{'rejected' if row.is_rejected else 'in part '}  {row.path}: {row.told}" for row in rows
    ]


def _check_present(known: DataFrame, files: DataFrame, roots: list[str]) -> None:
    """Refuse to prune a folder that has lost all its songs: a disk that is not mounted looks so."""
    present = files.agg(*(F.max(plan.is_below([root])) for root in roots)).first()
    empty = [root for root, is_present in zip(roots, present, strict=True) if not is_present]
    if empty and not plan.pruned_files(known, files=files, roots=empty).isEmpty():
        raise UsageError(
            f"--prune would drop every song of {', '.join(map(repr, empty))}: no audio file is "
            "there now. Mount the disk or correct the path; where the songs are gone for good, "
            "name the folder above, or take them out by `sonic remove`."
        )


_COUNTED = (
    *("new", "changed", "duplicate", "rejected", "partial", "replaced"),
    *("songs", "audio_s", "hashes"),
)
_N_ENDINGS = 6  # of those passed over
_N_REMARKS = 5  # on the terminal; song_files has all


def _fingerprint_batches(
    spark: SparkSession, config: Config, new: DataFrame, run_id: str
) -> DataFrame:
    """Decode, stage and commit all new songs; return the closing rows of their files."""
    warehouse = config.warehouse
    commit.sweep(new, warehouse, run_id=run_id)
    n_new, n_bytes = new.agg(F.count("*"), plan.work_bytes()).first()
    n_batches = plan.n_batches(n_new, n_bytes, batch_gb=config.index.batch_gb)
    n_tasks = plan.n_tasks(
        n_new // n_batches + 1,
        n_bytes / n_batches,
        n_slots=spark.sparkContext.defaultParallelism,
        task_mb=config.index.task_mb,
    )
    n_done = spark.sparkContext.accumulator(0)
    folders = (commit.stage_folder(warehouse, run_id, number) for number in itertools.count())
    closings = None
    with progress("songs", total=n_new, done=lambda: n_done.value):
        for batch in range(n_batches):
            chosen = new.filter(F.pmod("song_id", F.lit(n_batches)) == batch)
            for _ in range(_MAX_TRIES):
                folder = next(folders)
                extracts = chosen.repartition(n_tasks, "song_id").transform(
                    fingerprint_files,
                    params=config.fingerprint.params(),
                    min_duration_s=config.index.min_duration_s,
                    limits=config.index.limits(),
                    n_done=n_done,
                )
                staged = commit.stage(extracts, folder)
                if commit.commit_batch(staged, warehouse, run_id=run_id, folder=folder):
                    break
                songs = tables.read(spark, warehouse, SONGS)
                chosen = chosen.join(songs.select("song_id"), "song_id", "left_anti")
            else:
                raise TableError(
                    f"Other runs took this one for dead {_MAX_TRIES} times, since they met the "
                    "same songs. Nothing is lost: run it again when they are done."
                )
            rows = commit.closing_rows(staged)
            closings = rows if closings is None else closings.unionByName(rows)
    return closings


def _report(counts: dict[str, float], remarks: list[str], table_bytes: int, warehouse: str) -> None:
    facts = {**counts, "remarks": remarks, "table_bytes": table_bytes}
    if not (counts["new"] or counts["changed"] or counts.get("pruned")):
        say(
            f"Nothing new: {counts['files']:.0f} files are as {warehouse} has them "
            f"({counts['seconds']:.1f} s)",
            **facts,
        )
        return
    speed = counts["audio_s"] / counts["seconds"]
    pruned = f", {counts['pruned']:.0f} pruned" if "pruned" in counts else ""
    partial = f", {counts['partial']:.0f} used in part" if counts["partial"] else ""
    say(
        f"Index {warehouse}\n"
        f"  files   {counts['new']:.0f} new, {counts['changed']:.0f} changed, "
        f"{counts['unchanged']:.0f} unchanged{pruned}; "
        f"of those read {counts['duplicate']:.0f} duplicate, {counts['rejected']:.0f} rejected"
        f"{partial}\n"
        f"  added   {counts['songs']:.0f} songs, {counts['audio_s'] / 3600:.2f} h, "
        f"{counts['hashes']:.0f} hashes; {counts['replaced']:.0f} songs dropped\n"
        f"  table   {table_bytes / 1e6:.1f} MB of fingerprints\n"
        f"  time    {counts['seconds']:.1f} s, {speed:.0f} s of audio a second",
        **facts,
    )
    for remark in remarks:
        show(f"  {remark}")
    if counts["rejected"] + counts["partial"] > len(remarks):
        show(
            '  All of them: sonic sql "SELECT path, stage, error, note FROM sonic.song_files '
            'WHERE coalesce(error, note) IS NOT NULL"'
        )
