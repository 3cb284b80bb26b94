"""`sonic maintain`: check, tidy, repartition, restore and purge the tables of an index."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from pyspark.sql import Row, SparkSession

from sonic_lib.audio.local_files import absolute, is_local
from sonic_lib.config import Config
from sonic_lib.console import say, show
from sonic_lib.errors import UsageError
from sonic_lib.schemas import FINGERPRINTS, TABLES
from sonic_lib.storage import runs, tables
from sonic_lib.storage.table_files import Damage, find_damage
from sonic_lib.workflows import maintenance

HELP = "check and tidy the index; restore or purge earlier states"
_SAFE_HOURS = 168.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="change nothing; exit with 1 if broken")
    what.add_argument(
        "--restore-to", metavar="TIME", help="go back to a time (UTC), as 2026-01-31 18:00:00"
    )
    what.add_argument(
        "--prefix-bits", type=int, metavar="N", help="rewrite the fingerprints for 2^N partitions"
    )
    parser.add_argument(
        "--purge", action="store_true", help="delete files of earlier states for good"
    )
    parser.add_argument(
        "--retention-hours",
        type=float,
        metavar="H",
        default=_SAFE_HOURS,
        help="with --purge: keep states that are younger (default: 168)",
    )
    parser.add_argument(
        "--grace-hours",
        type=float,
        metavar="H",
        default=24.0,
        help="a run that wrote nothing for so long is taken for dead (default: 24)",
    )


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before Spark starts."""
    if args.prefix_bits is not None and not 0 <= args.prefix_bits <= 12:
        raise UsageError(f"--prefix-bits {args.prefix_bits}: expected 0 to 12.")
    for name in ("retention_hours", "grace_hours"):
        if not 0 <= getattr(args, name) < float("inf"):
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} {getattr(args, name)}: expected hours, 0 or more.")
    if args.check and args.purge:
        raise UsageError("--check changes nothing and --purge deletes files: give one of them.")


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Do what was asked for and say what was found."""
    warehouse = config.warehouse
    mended = {}
    # Of other places the storage sees to it that files are whole.
    if is_local(warehouse) and (damaged := _damage(warehouse, args)):
        if args.check or not all(damage.can_be_mended for damage in damaged):
            return _report_damage(damaged, warehouse)
        n_dropped = maintenance.mend(spark, warehouse, damaged)
        mended = {"mended": len(damaged), "dropped": n_dropped}
        show("\n".join(f"mended     {damage}" for damage in damaged))
        if n_dropped:
            show(f"           {n_dropped} songs are incomplete and were dropped: index them again")
    tables.prefix_bits(spark, warehouse)  # refuses what is no index
    tables.check_layout(spark, warehouse)
    grace = {"grace_hours": args.grace_hours}
    if args.check:
        return _report(maintenance.findings(spark, warehouse, **grace), warehouse)
    with runs.recorded(spark, warehouse, job="maintain", config=config) as this_run:
        counts = this_run.counts
        counts.update(mended)
        if args.restore_to is not None:
            maintenance.restore(spark, warehouse, timestamp=args.restore_to)
            say(
                f"Songs, files and fingerprints are those of {args.restore_to} UTC again.",
                restored_to=args.restore_to,
            )
        counts.update(maintenance.sweep(spark, warehouse, **grace))
        show(
            f"swept      {counts['stages']} stages of dead runs, "
            f"{counts['orphan_fingerprints']} fingerprints of {counts['orphan_songs']} songs "
            f"that never came, {counts['lost_files']} records of files whose song is gone"
        )
        if args.prefix_bits is not None:
            done = maintenance.repartition(spark, warehouse, prefix_bits=args.prefix_bits)
            show(f"prefix     {args.prefix_bits} bits{'' if done else ', as before'}")
        found = maintenance.findings(spark, warehouse, **grace)
        if any(row.n_broken for row in found if row.invariant == "no fingerprint stands twice"):
            maintenance.deduplicate(spark, warehouse)
        counts.update(maintenance.compact(spark, warehouse))
        show(
            f"compacted  {counts['partitions']} partitions: {counts['files_before']} files of "
            f"fingerprints are {counts['files_after']}"
        )
        if any(row.n_broken for row in found):
            found = maintenance.findings(spark, warehouse, **grace)
        counts["broken"] = sum(row.n_broken for row in found)
        if args.purge:
            _purge(spark, warehouse, args)
    return _report(found, warehouse, **counts)


def _purge(spark: SparkSession, warehouse: str, args: argparse.Namespace) -> None:
    hours = args.retention_hours
    show(
        f"purging    files of states that ended more than {hours:g} hours ago; after this nobody "
        "can go back to them"
    )
    if hours < _SAFE_HOURS:
        show(
            f"           {hours:g} hours is less than the usual {_SAFE_HOURS:g}: a job that "
            "began to read longer ago than that may fail, and has to be run again"
        )
    before = tables.live_bytes(spark, warehouse, FINGERPRINTS)
    maintenance.purge(spark, warehouse, retention_hours=hours, grace_hours=args.grace_hours)
    show(f"           the fingerprints of today are {before / 1e6:.1f} MB")


def _damage(warehouse: str, args: argparse.Namespace) -> list[Damage]:
    found = find_damage(absolute(warehouse), [table.name for table in TABLES])
    # To go back is a way out of lost data.
    return [damage for damage in found if not (damage.is_data and args.restore_to)]


def _report_damage(damaged: list[Damage], warehouse: str) -> int:
    told = "\n".join(f"  {damage}" for damage in damaged)
    say(
        f"Check of {warehouse}: {len(damaged)} files of its tables are damaged\n{told}",
        damaged=[asdict(damage) for damage in damaged],
    )
    return 1


def _report(found: list[Row], warehouse: str, **counts: float) -> int:
    say(f"Check of {warehouse}", findings=[row.asDict() for row in found], **counts)
    for row in found:
        said = f"{row.n_broken} broken, such as: {row.example}" if row.n_broken else "holds"
        show(f"  {row.invariant:<38}{said}")
    broken = any(row.n_broken for row in found)
    if broken:
        show(
            "What `sonic maintain` did not mend: take the songs out with `sonic remove` and "
            "index their folder again, or go back with `sonic maintain --restore-to TIME`."
        )
    return int(broken)
