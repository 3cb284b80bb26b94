"""Process audio files in a helper process, which a broken file may hang or crash.

Decoders are C libraries that read untrusted bytes: some file will make one of them loop forever,
exhaust memory, or crash. In Spark's Python worker that would fail the task and, after some retries,
the job. So each worker keeps a helper process (one per busy thread), sends it a file and receives
rows. If the helper dies or takes too long, the file gets a row that reports it, and the next file
gets a new helper.

The helper is a fresh interpreter, not a fork: threads and connections of the worker (Arrow's, an
S3 client's, the socket to Spark) do not survive a fork in a usable state. It starts once per
worker, and only the helper loads the decoders, so the start costs no extra time.

This contains hangs, crashes and exhausted memory. It is not a security sandbox: a file that takes
over a decoder runs as the same user. Still, the helper only gets the environment variables that it
needs, and the worker only accepts rows from it (`sandbox_process`).
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from sonic_lib.audio.sandbox_process import (
    FileFailed,
    HelperProcess,
    NotRows,
    NotStarted,
    keys_for,
)

TIMEOUT_S_PER_MB = 10.0  # allows an audio book of 16 kbit/s, read at 50 times its speed
Rows = Iterable[dict]


@dataclass(frozen=True)
class Limits:
    """Time and memory that one file may take.

    Attributes
    ----------
    timeout_s : float
        Time for a small file; `TIMEOUT_S_PER_MB` is added for its size.
    memory_mb : int
        Memory in addition to that of the idle helper (Linux only; elsewhere it is not limited).
    """

    timeout_s: float = 300.0
    memory_mb: int = 1024

    def seconds_for(self, size_bytes: int) -> float:
        """Return the time limit of a file of this size."""
        return self.timeout_s + TIMEOUT_S_PER_MB * size_bytes / 1e6


def packed(function: Callable[..., Rows | None], **options) -> bytes:
    """Pickle a function with options for `isolated`; only the helper imports its module.

    Parameters
    ----------
    function : callable
        A module-level function from one argument and options to rows.
    """
    return pickle.dumps(partial(function, **options))


def prepare(work: bytes) -> None:
    """Start a helper and call a function, for example to import modules, without waiting for it.

    Nothing happens if an earlier helper is idle: it has loaded what it needed.

    A failure is not reported here: `isolated` tries again.

    Parameters
    ----------
    work : bytes
        A function without arguments, from `packed`; its result is ignored.
    """
    if _idle:
        return
    with suppress(OSError):
        helper = HelperProcess()
        _idle.append(helper)
        helper.prepare(work)


def dismiss() -> None:
    """End idle helpers."""
    while _idle:
        _idle.pop().kill()


def isolated(
    work: bytes, argument: object, *, path: str, size_bytes: int, limits: Limits, **options
) -> Iterator[dict]:
    """Call a function in the helper process.

    Parameters
    ----------
    work : bytes
        The function, as from `packed`.
    argument : object
        Its argument, in addition to the options.
    path, size_bytes
        The file that it will read.
    limits : Limits
        Limits for the file. Time that the caller spends between rows does not count.

    Yields
    ------
    dict
        The rows of the function. If it did not finish, the last row has path, stage
        (``"decode"``) and error instead.

    Raises
    ------
    RuntimeError
        If the helper cannot start or load the function, which is not the file's fault.
    """
    n_given = 0
    for is_last_try in (False, True):
        # A file may corrupt the helper's heap and crash the next; blame a file only if a fresh
        # helper fails on it.
        helper, is_fresh = _take_helper(keys=keys_for(path), fresh=is_last_try)
        is_done = False
        try:
            timeout_s = limits.seconds_for(_on_disk_bytes(path, size_bytes))
            rows = helper.rows(work, argument, options, limits.memory_mb, timeout_s)
            for i, row in enumerate(rows):
                if i >= n_given:  # the first try already yielded the others
                    n_given += 1
                    yield row
            is_done = True
            return
        except FileFailed as failure:
            is_done = True
            yield {"path": path, "stage": "decode", "error": str(failure)}
            return
        except TimeoutError as timeout:
            yield {"path": path, "stage": "decode", "error": str(timeout)}
            return
        except (EOFError, NotRows) as broken:
            if is_fresh:
                yield {"path": path, "stage": "decode", "error": _breakdown(helper, broken)}
                return
        except NotStarted:
            if is_fresh:
                raise
        finally:
            if is_done:
                _idle.append(helper)
            else:  # also if the caller stops early
                helper.kill()


def _on_disk_bytes(path: str, size_bytes: int) -> int:
    """Return the bytes that a file takes on disk; a sparse file may claim any size."""
    try:
        return min(size_bytes, os.stat(path).st_blocks * 512)
    except (OSError, ValueError):  # not a local file, or deleted
        return size_bytes


def _breakdown(helper: HelperProcess, error: Exception) -> str:
    if isinstance(error, NotRows):
        return f"its decoder returned something other than rows: {error}"
    return f"its decoder crashed: {helper.ending()}"


_idle: list[HelperProcess] = []


def _take_helper(*, keys: tuple[str, ...], fresh: bool) -> tuple[HelperProcess, bool]:
    """Return a helper with exactly these credentials, and whether it is new."""
    while _idle and not fresh:
        try:
            helper = _idle.pop()
        except IndexError:  # another thread was faster
            break
        if helper.keys == keys:
            return helper, False
        helper.kill()
    return HelperProcess(keys=keys), True
