"""`sonic index`: add new and changed songs of folders to the index."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

from sonic_lib.audio.local_files import check_audio, named_endings
from sonic_lib.cli.options import add_no_links, add_watch, check_watch, run_watch
from sonic_lib.config import Config
from sonic_lib.console import say, show
from sonic_lib.formats import counted
from sonic_lib.spark.messages import one_line
from sonic_lib.spark.session import is_running
from sonic_lib.workflows.answers import works_without_spark
from sonic_lib.workflows.idle_indexing import IndexRun, index_if_unchanged

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

HELP = "add the songs of folders to the index"
IS_PYTHON_WORK = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="folder or audio file")
    parser.add_argument(
        "--prune",
        action="store_true",
        help="also remove songs whose files are gone from these folders",
    )
    parser.add_argument(
        "--retry-rejected", action="store_true", help="also read rejected files again"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a file is rejected")
    add_no_links(parser)
    add_watch(parser)


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    check_watch(args)
    if not (args.watch or args.prune):
        check_audio(args.paths, follow_links=not args.no_links)


def run_without_spark(config: Config, args: argparse.Namespace) -> int | None:
    """Record the run if nothing is new in local folders.

    Returns
    -------
    int, optional
        The exit code; None if Spark is needed.
    """
    if args.watch or args.prune or is_running():
        return None
    if not works_without_spark([config.warehouse, *args.paths]):
        return None
    done = index_if_unchanged(
        config,
        args.paths,
        retry_rejected=args.retry_rejected,
        follow_links=not args.no_links,
    )
    return None if done is None else _say(done, config.warehouse, args)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Update the index from folders, once or whenever there are new files."""
    if not args.watch:
        return _update(spark, config, args)

    def take(session: SparkSession, files: DataFrame, batch: str) -> int:
        return _update(session, config, args)  # lists all files, as known ones cost nothing

    return run_watch(spark, config, args, verb="index", what="songs", take=take)


def _update(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    from sonic_lib.workflows.indexing import index_songs

    done = index_songs(
        spark,
        config,
        args.paths,
        prune=args.prune,
        retry_rejected=args.retry_rejected,
        follow_links=not args.no_links,
    )
    return _say(done, config.warehouse, args)


def _say(done: IndexRun, warehouse: str, args: argparse.Namespace) -> int:
    _report(done, warehouse)
    if done.passed_over:
        say(
            one_line(passed_over_text(done.passed_over)), endings_passed_over=dict(done.passed_over)
        )
    return 1 if args.strict and done.counts["rejected"] else 0


def passed_over_text(endings: Counter[str]) -> str:
    """Describe how many files were skipped because of their extension.

    Examples
    --------
    >>> passed_over_text(Counter({".jpg": 8, "": 1}))
    '  skipped 9 files without an audio extension: 8 .jpg, 1 without one'
    """
    return (
        f"  skipped {counted(endings.total(), 'file')} without an audio extension: "
        f"{named_endings(endings)}"
    )


def _report(done: IndexRun, warehouse: str) -> None:
    counts, remarks, table_bytes, _ = done
    facts = {**counts, "remarks": remarks, "table_bytes": table_bytes}
    if not (counts["new"] or counts["changed"] or counts.get("pruned")):
        are = counted(counts["files"], "file is", "files are")
        say(
            f"Nothing new: {are} already in {warehouse} ({counts['seconds']:.1f} s)",
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
        f"  added   {counted(counts['songs'], 'song')}, {counts['audio_s'] / 3600:.2f} h, "
        f"{counted(counts['hashes'], 'hash', 'hashes')}; "
        f"{counted(counts['replaced'], 'song')} dropped\n"
        f"  table   {table_bytes / 1e6:.1f} MB of fingerprints\n"
        f"  time    {counts['seconds']:.1f} s, {speed:.0f} s of audio per second",
        **facts,
    )
    for remark in remarks:
        show(one_line(f"  {remark}"))
    if counts["rejected"] + counts["partial"] > len(remarks):
        show(
            '  All of them: sonic sql "SELECT path, stage, error, note FROM sonic.song_files '
            'WHERE coalesce(error, note) IS NOT NULL"'
        )
