"""Retry commits that conflict with another job's commit."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from delta.exceptions import (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentTransactionException,
    ConcurrentWriteException,
    DeltaConcurrentModificationException,
    MetadataChangedException,
    ProtocolChangedException,
)

from sonic_lib.errors import TableError

# These have no common base class in Python.
_CONFLICTS = (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentTransactionException,
    ConcurrentWriteException,
    DeltaConcurrentModificationException,
    MetadataChangedException,
    ProtocolChangedException,
)
_N_TRIES = 12
_MAX_PAUSE_S = 10.0


def retrying(commit: Callable[[], None], *, what: str) -> None:
    """Commit, and start over on a conflict with another job's commit.

    Parameters
    ----------
    commit : callable
        Reads the table as it is now and commits a change based on it.
    what : str
        The table, for the message.

    Raises
    ------
    TableError
        If every attempt conflicts.
    """
    for attempt in range(_N_TRIES):
        try:
            return commit()
        except _CONFLICTS:
            if attempt < _N_TRIES - 1:
                # Random, so that two jobs do not collide again.
                time.sleep(random.uniform(0.0, min(0.1 * 2**attempt, _MAX_PAUSE_S)))
    raise TableError(
        f"Other jobs changed the table {what} {_N_TRIES} times while this one tried to commit. "
        "Nothing is lost: run the same command again when fewer jobs are running."
    )
