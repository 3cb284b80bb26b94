"""Run the steps of `maintenance` in order: repair, restore, sweep, repartition, compact, purge."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import NamedTuple

from pyspark.sql import Row, SparkSession

from sonic_lib.config import Config
from sonic_lib.errors import DamageError, UsageError
from sonic_lib.schemas import FINGERPRINTS, TABLES
from sonic_lib.spark.uris import absolute, is_local
from sonic_lib.storage import runs, tables
from sonic_lib.storage.damage import Damage
from sonic_lib.storage.properties import MAX_PREFIX_BITS
from sonic_lib.storage.table_files import find_damage
from sonic_lib.workflows import maintenance

SAFE_HOURS = 168.0
GRACE_HOURS = 24.0
# Times that Delta can parse; without a time zone they are in UTC.
_TIME = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)? ?(Z|UTC|[+-]\d{2}:?\d{2})?"
)
_ONCE = "fingerprints are unique"


class Step(NamedTuple):
    """A completed step.

    Attributes
    ----------
    name : str
        repaired, restored, swept, repartitioned, compacted, purging (about to), purged or checked.
    result : dict
        Its results by name.
    """

    name: str
    result: dict


class Upkeep(NamedTuple):
    """Result of `maintain`.

    Attributes
    ----------
    counts : dict of str to float
        As in the table `runs`: stages, orphan_songs, orphan_fingerprints, lost_files, partitions,
        files_before, files_after, broken, and repaired and dropped if files were damaged.
    findings : list of Row
        From `maintenance.violations` at the end: invariant, n_broken, example.
    """

    counts: dict[str, float]
    findings: list[Row]


def check_wanted(
    *,
    prefix_bits: int | None,
    retention_hours: float,
    grace_hours: float,
    restore_to: str | None = None,
) -> None:
    """Check the numbers and the time.

    Raises
    ------
    UsageError
        If one is out of range.
    """
    if prefix_bits is not None and not 0 <= prefix_bits <= MAX_PREFIX_BITS:
        raise UsageError(
            f"prefix_bits {prefix_bits} (--prefix-bits): expected 0 to {MAX_PREFIX_BITS}."
        )
    for name, value in (("retention", retention_hours), ("grace", grace_hours)):
        if not 0 <= value < float("inf"):
            raise UsageError(f"{name}_hours {value} (--{name}-hours): expected 0 or more.")
    if restore_to is not None and not _TIME.fullmatch(restore_to):
        raise UsageError(
            f"restore_to {restore_to!r} (--restore-to): expected a date, or a date and time (UTC), "
            "such as '2026-01-31 18:00:00'."
        )


def check(spark: SparkSession, config: Config, *, grace_hours: float = GRACE_HOURS) -> list[Row]:
    """Check the files and the invariants of an index; nothing is changed.

    Parameters, result and errors are those of `Warehouse.check`.
    """
    check_wanted(prefix_bits=None, retention_hours=0, grace_hours=grace_hours)
    if damaged := _damage(config.warehouse):
        raise DamageError(config.warehouse, damaged)
    _check_index(spark, config.warehouse)
    return maintenance.violations(spark, config.warehouse, grace_hours=grace_hours)


def maintain(
    spark: SparkSession,
    config: Config,
    *,
    restore_to: str | None = None,
    prefix_bits: int | None = None,
    purge: bool = False,
    retention_hours: float = SAFE_HOURS,
    grace_hours: float = GRACE_HOURS,
) -> Upkeep:
    """Run all steps; parameters and errors are those of `Warehouse.maintain`."""
    done = steps(
        spark,
        config,
        restore_to=restore_to,
        prefix_bits=prefix_bits,
        purge=purge,
        retention_hours=retention_hours,
        grace_hours=grace_hours,
    )
    [last] = [step.result for step in done if step.name == "checked"]
    return Upkeep(last["counts"], last["findings"])


def steps(
    spark: SparkSession,
    config: Config,
    *,
    restore_to: str | None,
    prefix_bits: int | None,
    purge: bool,
    retention_hours: float,
    grace_hours: float,
) -> Generator[Step, None, None]:
    """Repair, compact and check an index; yields each step when it is done.

    Parameters and errors are those of `Warehouse.maintain`.
    """
    check_wanted(
        prefix_bits=prefix_bits,
        retention_hours=retention_hours,
        grace_hours=grace_hours,
        restore_to=restore_to,
    )
    warehouse, grace = config.warehouse, {"grace_hours": grace_hours}
    repaired: dict[str, int] = {}
    # Lost data does not prevent restoring an earlier state.
    if damaged := _damage(warehouse, with_data=restore_to is None):
        if not all(damage.can_be_repaired for damage in damaged):
            raise DamageError(warehouse, damaged)
        n_dropped = maintenance.repair(spark, warehouse, damaged)
        repaired = {"repaired": len(damaged), "dropped": n_dropped}
        yield Step("repaired", {"damaged": damaged, **repaired})
    _check_index(spark, warehouse)
    with runs.recorded(spark, warehouse, job="maintain", config=config) as this_run:
        counts = this_run.counts
        counts.update(repaired)
        if restore_to is not None:
            maintenance.restore(spark, warehouse, timestamp=restore_to)
            yield Step("restored", {"restored_to": restore_to})
        counts.update(maintenance.sweep(spark, warehouse, **grace))
        yield Step("swept", counts)
        if prefix_bits is not None:
            done = maintenance.repartition(spark, warehouse, prefix_bits=prefix_bits)
            yield Step("repartitioned", {"prefix_bits": prefix_bits, "is_new": done})
        found = maintenance.violations(spark, warehouse, **grace)
        if any(row.n_broken for row in found if row.invariant == _ONCE):
            maintenance.deduplicate(spark, warehouse)
        counts.update(maintenance.compact(spark, warehouse))
        yield Step("compacted", counts)
        if any(row.n_broken for row in found):
            found = maintenance.violations(spark, warehouse, **grace)
        counts["broken"] = sum(row.n_broken for row in found)
        if purge:
            yield Step("purging", {"retention_hours": retention_hours})
            live_bytes = tables.live_bytes(spark, warehouse, FINGERPRINTS)
            maintenance.purge(spark, warehouse, retention_hours=retention_hours, **grace)
            yield Step("purged", {"live_bytes": live_bytes})
    yield Step("checked", {"findings": found, "counts": counts})


def _damage(warehouse: str, *, with_data: bool = True) -> list[Damage]:
    """Find damaged files of the tables; only local files can be checked."""
    if not is_local(warehouse):
        return []
    found = find_damage(absolute(warehouse), [table.name for table in TABLES])
    return [damage for damage in found if with_data or not damage.is_data]


def _check_index(spark: SparkSession, warehouse: str) -> None:
    tables.prefix_bits(spark, warehouse)  # raises if there is no index
    tables.check_layout(spark, warehouse)
