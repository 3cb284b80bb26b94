"""What is told of rounds of chance at the end: how many of each kind, seeds, how they went."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import pytest

_NAME = "round of faults"


def tell(
    record_property: Callable[[str, object], None],
    kind: str,
    seed: int,
    *,
    was_at_work: bool | None = None,
) -> None:
    """Keep what a round is; it goes with the report of its test, also from other processes.

    Parameters
    ----------
    record_property : callable
        pytest's fixture.
    was_at_work : bool, optional
        Whether the fault met the job before its end.
    """
    record_property(_NAME, [kind, seed, was_at_work])


def summary(reports: Iterable[pytest.TestReport]) -> list[str]:
    """A line a kind: rounds, seeds, faults that met a job at work, and rounds that failed.

    A round that did not fail has lost nothing, has nothing twice, and left no dead job.
    """
    kinds: dict[str, list[tuple[int, bool | None, bool]]] = {}
    for report in reports:
        for name, value in report.user_properties:
            if name == _NAME:
                kind, seed, was_at_work = value
                kinds.setdefault(kind, []).append((seed, was_at_work, report.failed))
    return [_line(kind, sorted(told, key=lambda x: x[0])) for kind, told in sorted(kinds.items())]


def _line(kind: str, told: Sequence[tuple[int, bool | None, bool]]) -> str:
    seeds = [seed for seed, _, _ in told]
    met = [was_at_work for _, was_at_work, _ in told if was_at_work is not None]
    failed = [seed for seed, _, has_failed in told if has_failed]
    at_work = f", {sum(met)} met it at work" if met else ""
    fate = f"failed: seeds {', '.join(map(str, failed))}" if failed else "0 failed"
    return f"{kind}: {len(told)} rounds, seeds {_spans(seeds)}{at_work}; {fate}"


def _spans(seeds: Sequence[int]) -> str:
    """Write 0, 1, 2, 5 as 0-2, 5, and what goes in fives as 0, 5 ... 95."""
    steps = {b - a for a, b in itertools.pairwise(seeds)}
    if len(seeds) > 3 and len(steps) == 1:
        step = steps.pop()
        return f"{seeds[0]}-{seeds[-1]}" if step == 1 else f"{seeds[0]}, {seeds[1]} ... {seeds[-1]}"
    return ", ".join(map(str, seeds))
