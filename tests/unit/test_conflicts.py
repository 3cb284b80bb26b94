"""Commits that conflict with other jobs are retried a limited number of times."""

from __future__ import annotations

import pytest
from delta.exceptions import ConcurrentAppendException, MetadataChangedException

from sonic_lib.errors import TableError
from sonic_lib.storage import retry


class Commit:
    """Fails a number of times, then succeeds."""

    def __init__(self, n_failures: int, error: Exception) -> None:
        self.n_failures, self.error, self.n_calls = n_failures, error, 0

    def __call__(self) -> None:
        self.n_calls += 1
        if self.n_calls <= self.n_failures:
            raise self.error


@pytest.fixture
def pauses_s(monkeypatch) -> list[float]:
    slept = []
    monkeypatch.setattr(retry.time, "sleep", slept.append)
    return slept


@pytest.mark.parametrize("error", [ConcurrentAppendException("x"), MetadataChangedException("x")])
def test_commit_is_retried_until_it_succeeds(pauses_s, error):
    commit = Commit(3, error)
    retry.retrying(commit, what="songs")
    assert commit.n_calls == 4
    assert len(pauses_s) == 3
    assert all(0 <= pause_s <= 10 for pause_s in pauses_s)


def test_commit_that_never_succeeds_fails_with_advice(pauses_s):
    commit = Commit(1000, ConcurrentAppendException("x"))
    with pytest.raises(TableError, match=r"table songs 12 times.*run the same command again"):
        retry.retrying(commit, what="songs")
    assert commit.n_calls == 12
    assert len(pauses_s) == 11  # none after the last


def test_other_errors_are_raised_at_once(pauses_s):
    commit = Commit(1, ValueError("x"))
    with pytest.raises(ValueError, match="x"):
        retry.retrying(commit, what="songs")
    assert pauses_s == []
