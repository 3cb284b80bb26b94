"""Summary of randomised fault rounds, printed after the tests: counts, seeds, results."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import pytest

_NAME = "round of faults"


def record_round(
    record_property: Callable[[str, object], None],
    kind: str,
    seed: int,
    *,
    was_at_work: bool | None = None,
) -> None:
    """Attach a round to the report of its test, so that it survives pytest-xdist.

    Parameters
    ----------
    record_property : callable
        pytest's fixture.
    was_at_work : bool, optional
        Whether the job was still running when the fault occurred.
    """
    record_property(_NAME, [kind, seed, was_at_work])


def summary(reports: Iterable[pytest.TestReport]) -> list[str]:
    """One line per kind: rounds, seeds, faults that hit a running job, and failed rounds.

    A round passes if nothing was lost or duplicated and every job succeeded in the end.
    """
    kinds: dict[str, list[tuple[int, bool | None, bool]]] = {}
    for report in reports:
        for name, value in report.user_properties:
            if name == _NAME:
                kind, seed, was_at_work = value
                kinds.setdefault(kind, []).append((seed, was_at_work, report.failed))
    return [_line(kind, sorted(rows, key=lambda x: x[0])) for kind, rows in sorted(kinds.items())]


def _line(kind: str, results: Sequence[tuple[int, bool | None, bool]]) -> str:
    seeds = [seed for seed, _, _ in results]
    met = [was_at_work for _, was_at_work, _ in results if was_at_work is not None]
    failed = [seed for seed, _, has_failed in results if has_failed]
    at_work = f", {sum(met)} met it at work" if met else ""
    fate = f"failed: seeds {', '.join(map(str, failed))}" if failed else "0 failed"
    return f"{kind}: {len(results)} rounds, seeds {_spans(seeds)}{at_work}; {fate}"


def _spans(seeds: Sequence[int]) -> str:
    """Write 0, 1, 2, 5 as 0-2, 5, and a constant step of five as 0, 5 ... 95."""
    steps = {b - a for a, b in itertools.pairwise(seeds)}
    if len(seeds) > 3 and len(steps) == 1:
        step = steps.pop()
        return f"{seeds[0]}-{seeds[-1]}" if step == 1 else f"{seeds[0]}, {seeds[1]} ... {seeds[-1]}"
    return ", ".join(map(str, seeds))
