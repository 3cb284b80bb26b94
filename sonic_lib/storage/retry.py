"""What to do when another job's commit comes between reading a table and committing to it."""

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

# In Python they have no common parent.
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
    """Commit, and again from the start when another job's commit came between.

    Parameters
    ----------
    commit : callable
        Reads the table as it is and commits a change that follows from that.
    what : str
        The table, for the message.

    Raises
    ------
    TableError
        If others came between every time.
    """
    for attempt in range(_N_TRIES):
        try:
            return commit()
        except _CONFLICTS:
            # Random, so that two jobs do not meet again.
            time.sleep(random.uniform(0.0, min(0.1 * 2**attempt, _MAX_PAUSE_S)))
    raise TableError(
        f"Other jobs changed the table {what} {_N_TRIES} times while this one tried to commit. "
        "Nothing is lost: run the same command again when fewer jobs are at work."
    )
