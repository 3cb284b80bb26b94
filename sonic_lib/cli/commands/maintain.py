"""`sonic maintain`: repair, compact, check, repartition, restore and purge an index."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict

from pyspark.sql import Row, SparkSession

from sonic_lib.config import Config
from sonic_lib.console import paragraph, say, show
from sonic_lib.errors import DamageError, UsageError
from sonic_lib.formats import counted
from sonic_lib.schemas import INDEX_TABLES
from sonic_lib.spark.messages import one_line
from sonic_lib.storage.damage import Damage
from sonic_lib.workflows import upkeep

HELP = "repair, compact and check the index; restore or purge earlier states"
READS = INDEX_TABLES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="change nothing; exit with 1 if broken")
    what.add_argument(
        "--restore-to",
        metavar="TIME",
        help="restore songs, files and fingerprints as of this time (UTC), "
        "e.g. 2026-01-31 18:00:00",
    )
    what.add_argument(
        "--prefix-bits",
        type=int,
        metavar="N",
        help="repartition the fingerprints into 2^N partitions",
    )
    parser.add_argument(
        "--purge", action="store_true", help="delete the files of earlier states for good"
    )
    parser.add_argument(
        "--retention-hours",
        type=float,
        metavar="H",
        default=upkeep.SAFE_HOURS,
        help="with --purge: keep states of the last H hours (default: 168)",
    )
    parser.add_argument(
        "--grace-hours",
        type=float,
        metavar="H",
        default=upkeep.GRACE_HOURS,
        help="a run that has written nothing for H hours is dead (default: 24)",
    )


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    upkeep.check_wanted(
        prefix_bits=args.prefix_bits,
        retention_hours=args.retention_hours,
        grace_hours=args.grace_hours,
        restore_to=args.restore_to,
    )
    if args.check and args.purge:
        raise UsageError("--check changes nothing and --purge deletes files: give one of them.")


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Maintain or check the index and print the results."""
    try:
        if args.check:
            found = upkeep.check(spark, config, grace_hours=args.grace_hours)
            return _report(found, config.warehouse, advice=_MAINTAIN)
        return _maintain(spark, config, args)
    except DamageError as error:
        return _report_damage(list(error.damaged), config.warehouse)


def _maintain(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    done = upkeep.steps(
        spark,
        config,
        restore_to=args.restore_to,
        prefix_bits=args.prefix_bits,
        purge=args.purge,
        retention_hours=args.retention_hours,
        grace_hours=args.grace_hours,
    )
    # Printed one by one, as a step can take hours on large tables.
    with closing(done):
        for name, result in done:
            if name == "restored":
                say(
                    f"restored   songs, files and fingerprints as of {result['restored_to']} UTC",
                    **result,
                )
            elif name in _LINES:
                show(paragraph(_LINES[name](result)))
    # The last step is the check.
    return _report(result["findings"], config.warehouse, advice=_REMOVE, **result["counts"])


def _repaired(result: dict) -> Iterator[str]:
    yield from (f"repaired   {damage}" for damage in result["damaged"])
    if result["dropped"]:
        songs = counted(result["dropped"], "song was", "songs were")
        yield f"           {songs} incomplete and dropped: index the folder again"


def _swept(result: dict) -> Iterator[str]:
    yield (
        f"swept      {counted(result['stages'], 'stage')} of dead runs, "
        f"{counted(result['orphan_fingerprints'], 'fingerprint')} of "
        f"{counted(result['orphan_songs'], 'song')} never committed, "
        f"{counted(result['lost_files'], 'record')} of files whose song is gone"
    )


def _repartitioned(result: dict) -> Iterator[str]:
    bits = counted(result["prefix_bits"], "bit")
    yield f"prefix     {bits}{'' if result['is_new'] else ', as before'}"


def _compacted(result: dict) -> Iterator[str]:
    yield (
        f"compacted  {counted(result['partitions'], 'partition')}: "
        f"{counted(result['files_before'], 'fingerprint file')} became {result['files_after']}"
    )


def _purging(result: dict) -> Iterator[str]:
    hours = result["retention_hours"]
    yield (
        f"purging    files of states replaced more than {hours:g} hours ago; these states can "
        "no longer be restored"
    )
    if hours < upkeep.SAFE_HOURS:
        yield (
            f"           {hours:g} hours is less than the default {upkeep.SAFE_HOURS:g}: a job "
            "that started reading earlier may fail, and must be run again"
        )


def _purged(result: dict) -> Iterator[str]:
    yield f"           the current fingerprints take {result['live_bytes'] / 1e6:.1f} MB"


_LINES = {
    "repaired": _repaired,
    "swept": _swept,
    "repartitioned": _repartitioned,
    "compacted": _compacted,
    "purging": _purging,
    "purged": _purged,
}


_MAINTAIN = (
    "`sonic maintain` repairs most of this: it sorts files, and removes duplicates and what dead "
    "runs left."
)
_REMOVE = (
    "`sonic maintain` could not repair these problems: remove the songs with `sonic remove` and "
    "index their folder again, or restore an earlier state with `sonic maintain --restore-to TIME`."
)


def _report_damage(damaged: list[Damage], warehouse: str) -> int:
    are = counted(len(damaged), "file of its tables is", "files of its tables are")
    head = f"Check of {warehouse}: {are} damaged"
    say(
        paragraph([head, *(f"  {damage}" for damage in damaged)]),
        damaged=[asdict(damage) for damage in damaged],
    )
    return 1


def _report(found: list[Row], warehouse: str, *, advice: str, **counts: float) -> int:
    say(f"Check of {warehouse}", findings=[row.asDict() for row in found], **counts)
    for row in found:
        status = (
            f"{row.n_broken} broken, such as: {one_line(row.example)}" if row.n_broken else "holds"
        )
        show(f"  {row.invariant:<38}{status}")
    broken = any(row.n_broken for row in found)
    if broken:
        show(advice)
    return int(broken)
