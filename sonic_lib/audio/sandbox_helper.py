"""The helper process of `sandbox`: receive work, run it, send rows."""

from __future__ import annotations

import gc
import os
import pickle
import resource
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

_ORPHAN_GRACE_S = 60.0


def serve(connection: Connection) -> None:
    """Run work for the process at the other end of the connection until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    loaded: dict[bytes, Callable[..., Iterable[dict]]] = {}
    while True:
        try:
            message = connection.recv()
            if isinstance(message, bytes):
                # Lift the limit of the previous file: a half-imported module would stay broken.
                _limit_memory(None)
                with suppress(Exception):  # the next message repeats and reports it
                    pickle.loads(message)()
                gc.freeze()  # exclude the modules, which stay, from garbage collection
                continue
            work, argument, options, memory_mb, timeout_s = message
            if work not in loaded:
                _limit_memory(None)
                try:
                    loaded = {work: pickle.loads(work)}
                except Exception as error:
                    connection.send(("unloadable", f"{type(error).__name__}: {error}"))
                    continue
            _limit_memory(memory_mb)
            connection.send(("started", None))
            _answer(connection, partial(loaded[work], argument, **options), timeout_s)
        except (EOFError, ConnectionError):
            gc.freeze()  # as above, for the collection when Python exits
            return


def _answer(connection: Connection, call: Callable[[], Iterable[dict]], timeout_s: float) -> None:
    # The parent enforces the time limit.  If it dies, the alarm ends the helper even inside a C
    # library, as the signal has no handler.  The alarm is off while a row waits to be received.
    alarm_s = int(timeout_s + _ORPHAN_GRACE_S)
    signal.alarm(alarm_s)
    try:
        for row in call():
            signal.alarm(0)
            connection.send(("row", row))
            signal.alarm(alarm_s)
    except ConnectionError:
        raise
    except MemoryError as error:
        from sonic_lib.audio.info import error_reason  # not needed otherwise

        connection.send(("failed", error_reason(error)))
    except Exception as error:  # a bug
        connection.send(("failed", f"{type(error).__name__}: {error}"))
    else:
        connection.send(("end", None))
    finally:
        signal.alarm(0)


def _limit_memory(memory_mb: int | None) -> None:
    """Limit the memory that this process may map in addition to now; None lifts the limit."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # not Linux
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    soft = hard
    if memory_mb is not None:
        soft = pages * os.sysconf("SC_PAGE_SIZE") + memory_mb * 2**20
        soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
