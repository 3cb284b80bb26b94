"""Suppress what C libraries print to stderr."""

from __future__ import annotations

import os
import threading


class _QuietStderr:
    """Discards stderr of the C libraries; mpg123 reports each damaged frame there.

    The descriptor belongs to the whole process, so users in its threads are counted.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_users = 0
        self._saved = -1

    def __enter__(self) -> None:
        with self._lock:
            if self._n_users == 0:
                self._saved = os.dup(2)
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, 2)
                os.close(nowhere)
            self._n_users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_users -= 1
            if self._n_users == 0:
                os.dup2(self._saved, 2)
                os.close(self._saved)


quiet_stderr = _QuietStderr()
