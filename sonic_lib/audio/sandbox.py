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
needs, and the worker only accepts rows from it.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Pipe
from typing import Any

from sonic_lib.audio.local_files import is_local

TIMEOUT_S_PER_MB = 10.0  # allows an audio book of 16 kbit/s, read at 50 times its speed
_START_TIMEOUT_S = 300.0  # allows imports from a slow network disk
_BOOTSTRAP = (
    "import sys; from multiprocessing.connection import Connection; "
    "connection = Connection(int(sys.argv[1])); sys.path[:] = connection.recv(); "
    "from sonic_lib.audio.sandbox_helper import serve; serve(connection)"
)

# Prefixes of variables: those that Python, its libraries and the decoders need; credentials.
_VARIABLES = (
    *("PATH", "HOME", "LANG", "LC_", "TZ", "TMPDIR", "LD_", "DYLD_", "PYTHON", "VIRTUAL_ENV"),
    *("SONIC_", "OMP_", "OPENBLAS_", "MKL_", "NUMBA_", "NUMEXPR_", "XDG_", "COVERAGE"),
)
_KEYS = (
    *("AWS_", "GOOGLE_", "AZURE_", "HADOOP_", "ARROW_", "JAVA_", "CLASSPATH", "KRB5"),
    *("http_", "https_", "no_", "HTTP_", "HTTPS_", "NO_", "SSL_", "REQUESTS_", "CURL_"),
)
_TIMES = ("date", "datetime", "timedelta", "timezone")
_ARRAYS = ("_reconstruct", "_frombuffer", "ndarray", "dtype", "scalar")

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
        helper = _Helper(with_keys=False)
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
        helper, is_fresh = _take_helper(with_keys=not is_local(path), fresh=is_last_try)
        is_done = False
        try:
            timeout_s = limits.seconds_for(_on_disk_bytes(path, size_bytes))
            rows = helper.rows(work, argument, options, limits, timeout_s)
            for i, row in enumerate(rows):
                if i >= n_given:  # the first try already yielded the others
                    n_given += 1
                    yield row
            is_done = True
            return
        except _FileFailed as failure:
            is_done = True
            yield {"path": path, "stage": "decode", "error": str(failure)}
            return
        except TimeoutError as timeout:
            yield {"path": path, "stage": "decode", "error": str(timeout)}
            return
        except pickle.UnpicklingError as refused:
            error = f"its decoder returned something other than rows: {refused}"
            yield {"path": path, "stage": "decode", "error": error}
            return
        except EOFError:
            if is_fresh:
                error = f"its decoder crashed: {helper.ending()}"
                yield {"path": path, "stage": "decode", "error": error}
                return
        except _NotStarted:
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


class _FileFailed(Exception):
    """The function raised an exception."""


class _NotStarted(RuntimeError):
    """The helper failed before it reached the file."""


class _Rows(pickle.Unpickler):
    """Unpickles rows only: a malicious file may have taken over the sender's decoder."""

    def find_class(self, module: str, name: str) -> Any:
        # Plain names only: a dotted name could reach anything from any module.
        known = {"numpy": _ARRAYS, "datetime": _TIMES}.get(module.partition(".")[0], ())
        if name in known:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")


def _environment(*, with_keys: bool) -> dict[str, str]:
    """Return the environment variables that the helper needs; others may hold secrets."""
    allowed = (*_VARIABLES, *(_KEYS if with_keys else ()))
    return {name: value for name, value in os.environ.items() if name.startswith(allowed)}


class _Helper:
    """A helper process, and the connection to it."""

    def __init__(self, *, with_keys: bool) -> None:
        self.has_keys = with_keys
        self._connection, theirs = Pipe()
        command = [sys.executable, "-c", _BOOTSTRAP, str(theirs.fileno())]
        self._process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=2,
            env=_environment(with_keys=with_keys),
        )
        theirs.close()
        # If the helper is already dead, `rows` will report it.
        with suppress(OSError):
            self._connection.send(sys.path)

    def prepare(self, work: bytes) -> None:
        self._connection.send(work)

    def rows(
        self, work: bytes, argument: object, options: dict, limits: Limits, timeout_s: float
    ) -> Iterator[dict]:
        try:
            self._connection.send((work, argument, options, limits.memory_mb, timeout_s))
            kind, value = self._receive(_START_TIMEOUT_S)[0]
        except (EOFError, OSError) as error:  # TimeoutError is an OSError
            raise _NotStarted(
                f"The helper that decodes audio could not start: {self.ending()}. See the "
                "executor's stderr for its messages, and check that sonic_lib and its dependencies "
                "are installed where the executors run."
            ) from error
        if kind == "unloadable":
            raise _NotStarted(f"The helper that decodes audio could not load its work: {value}")
        left_s = timeout_s
        while True:
            try:
                (kind, value), waited_s = self._receive(left_s)
            except TimeoutError:
                raise TimeoutError(
                    f"not done after {timeout_s:.0f} s, the limit for its size "
                    "(index.file_timeout_s)"
                ) from None
            except ConnectionError as error:
                raise EOFError from error
            left_s -= waited_s
            if kind == "row":
                yield value
            elif kind == "failed":
                raise _FileFailed(value)
            else:
                return

    def _receive(self, timeout_s: float) -> tuple[tuple[str, Any], float]:
        """Return a message and the time spent waiting for it (s)."""
        started_s = time.monotonic()
        if not self._connection.poll(max(0.0, timeout_s)):
            raise TimeoutError
        message = _Rows(io.BytesIO(self._connection.recv_bytes())).load()
        return message, time.monotonic() - started_s

    def ending(self) -> str:
        """Describe how the process ended; waits a few seconds for its end."""
        try:
            status = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "it does not answer"
        if status >= 0:
            return f"exit status {status}"
        hint = ", perhaps out of memory" if -status == signal.SIGKILL else ""
        return f"signal {-status} ({signal.strsignal(-status)}){hint}"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._connection.close()


_idle: list[_Helper] = []


def _take_helper(*, with_keys: bool, fresh: bool) -> tuple[_Helper, bool]:
    """Return a helper, with storage credentials if needed, and whether it is new."""
    while _idle and not fresh:
        try:
            helper = _idle.pop()
        except IndexError:  # another thread was faster
            break
        if helper.has_keys or not with_keys:
            return helper, False
        helper.kill()
    return _Helper(with_keys=with_keys), True
