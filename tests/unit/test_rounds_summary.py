from __future__ import annotations

from types import SimpleNamespace

from tests.rounds import record_round, summary


def report(kind: str, seed: int, *, failed: bool = False, was_at_work: bool | None = None):
    properties: list[tuple[str, object]] = [("another", 1)]
    record_round(lambda *values: properties.append(values), kind, seed, was_at_work=was_at_work)
    return SimpleNamespace(user_properties=properties, failed=failed)


def test_rounds_are_counted_by_kind_with_their_seeds():
    reports = [report("kill", seed, was_at_work=seed != 5) for seed in range(0, 25, 5)]
    reports += [report("loss", seed, failed=seed == 2) for seed in (3, 2, 1, 0)]
    assert summary(reports) == [
        "kill: 5 rounds, seeds 0, 5 ... 20, 4 met it at work; 0 failed",
        "loss: 4 rounds, seeds 0-3; failed: seeds 2",
    ]


def test_without_rounds_there_is_no_summary():
    assert summary([SimpleNamespace(user_properties=[], failed=True)]) == []
