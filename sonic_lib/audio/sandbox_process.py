"""The helper process of `sandbox` as its parent sees it: start it, ask it, trust nothing it sends.

A malicious file may have taken over the decoder, so a message may be anything: a pickle that runs
code, another type, endless bytes or half of them.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Pipe
from typing import Any

from sonic_lib.spark.uris import is_local

_START_TIMEOUT_S = 300.0  # allows imports from a slow network disk
_MIN_RECEIVE_S = 1.0  # for a message that begins to arrive just before the time limit
_MAX_MESSAGE_BYTES = 256 << 20  # far more than the hashes of a chunk
_MAX_ERROR = 1000  # characters
# With -c, Python looks in the current folder first: it would run a tempfile.py there.
_BOOTSTRAP = (
    "import sys; sys.path[:] = filter(None, sys.path); "
    "from multiprocessing.connection import Connection; "
    "connection = Connection(int(sys.argv[1])); sys.path[:] = connection.recv(); "
    "from sonic_lib.audio.sandbox_helper import serve; serve(connection)"
)

# Prefixes of variables: those that Python, its libraries and the decoders need; those that any
# remote storage needs; and the credentials of each.
_VARIABLES = (
    *("PATH", "HOME", "LANG", "LC_", "TZ", "TMPDIR", "LD_", "DYLD_", "PYTHON", "VIRTUAL_ENV"),
    *("SONIC_", "OMP_", "OPENBLAS_", "MKL_", "NUMBA_", "NUMEXPR_", "XDG_", "COVERAGE"),
)
_NETWORK = (
    *("http_", "https_", "no_", "HTTP_", "HTTPS_", "NO_", "SSL_", "REQUESTS_", "CURL_", "ARROW_"),
)
_KEYS = {
    **dict.fromkeys(("s3", "s3a", "s3n"), ("AWS_",)),
    **dict.fromkeys(("gs", "gcs"), ("GOOGLE_",)),
    **dict.fromkeys(("abfs", "abfss", "wasb", "wasbs"), ("AZURE_",)),
}
_OTHER_KEYS = ("HADOOP_", "JAVA_", "CLASSPATH", "KRB5")  # of HDFS, which has several schemes

_TIMES = ("date", "datetime", "timedelta", "timezone")
_ARRAYS = ("_reconstruct", "_frombuffer", "ndarray", "dtype", "scalar")
# The kinds of messages, and the type of what comes with each.
_KINDS = {"unloadable": str, "started": type(None), "row": dict, "failed": str, "end": type(None)}


class FileFailed(Exception):
    """The function raised an exception."""


class NotStarted(RuntimeError):
    """The helper failed before it reached the file."""


class NotRows(Exception):
    """The helper sent something that its program does not send."""


class RowsUnpickler(pickle.Unpickler):
    """Unpickles rows only: a malicious file may have taken over the sender's decoder."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle may call."""
        # Plain names only: a dotted name could reach anything from any module.
        known = {"numpy": _ARRAYS, "datetime": _TIMES}.get(module.partition(".")[0], ())
        if name in known:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")


def keys_for(path: str) -> tuple[str, ...]:
    """Return the prefixes of the variables that reading a file needs in addition to the usual."""
    if is_local(path):
        return ()
    scheme = path.partition(":")[0].lower()
    return (*_NETWORK, *_KEYS.get(scheme, _OTHER_KEYS))


class HelperProcess:
    """A helper process, and the connection to it.

    Parameters
    ----------
    keys : tuple of str
        From `keys_for`: which variables it gets; others may hold secrets.
    """

    def __init__(self, *, keys: tuple[str, ...] = ()) -> None:
        self.keys = keys
        self._is_late = False
        self._connection, theirs = Pipe()
        allowed = (*_VARIABLES, *keys)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOTSTRAP, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=2,
            env={name: value for name, value in os.environ.items() if name.startswith(allowed)},
        )
        theirs.close()
        # If the helper is already dead, `rows` will report it.
        with suppress(OSError):
            self._connection.send(sys.path)

    def prepare(self, work: bytes) -> None:
        """Have it call a function without arguments."""
        self._connection.send(work)

    def rows(
        self, work: bytes, argument: object, options: dict, memory_mb: int, timeout_s: float
    ) -> Iterator[dict]:
        """Have it call a function, as `sandbox.isolated`, and yield the rows.

        Raises
        ------
        NotStarted
            If it did not reach the function.
        FileFailed
            If the function raised an exception.
        TimeoutError, EOFError, NotRows
            If it took too long, died, or sent something else.
        """
        self._start((work, argument, options, memory_mb, timeout_s))
        left_s = timeout_s
        while True:
            try:
                (kind, value), waited_s = self._receive(left_s)
            except TimeoutError:
                raise TimeoutError(
                    f"not done after {timeout_s:.0f} s, the limit for its size "
                    "(index.file_timeout_s)"
                ) from None
            left_s -= waited_s
            if kind == "row":
                yield value
            elif kind == "failed":
                raise FileFailed(value[:_MAX_ERROR])
            elif kind == "end":
                return
            else:
                raise NotRows(f"the message {kind!r}")

    def _start(self, message: tuple) -> None:
        """Send a message, and wait until its function has been loaded."""
        try:
            with self._at_most(_START_TIMEOUT_S):
                self._connection.send(message)
            kind, value = self._receive(_START_TIMEOUT_S)[0]
        except (EOFError, OSError, NotRows) as error:  # TimeoutError is an OSError
            raise NotStarted(
                f"The helper that decodes audio could not start: {self.ending()}. See the "
                "executor's stderr for its messages, and check that sonic_lib and its dependencies "
                "are installed where the executors run."
            ) from error
        if kind != "started":
            raise NotStarted(f"The helper that decodes audio could not load its work: {value}")

    def _receive(self, timeout_s: float) -> tuple[tuple[str, Any], float]:
        """Return a message and the time spent waiting for it (s)."""
        started_s = time.monotonic()
        if not self._connection.poll(max(0.0, timeout_s)):
            raise TimeoutError
        left_s = timeout_s - (time.monotonic() - started_s)
        try:
            with self._at_most(max(_MIN_RECEIVE_S, left_s)):
                received = self._connection.recv_bytes(_MAX_MESSAGE_BYTES)
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            if not self._connection.readable:  # any more: the message is too long
                raise NotRows(f"more than {_MAX_MESSAGE_BYTES >> 20} MB at once") from error
            raise EOFError from error
        return _checked(received), time.monotonic() - started_s

    @contextmanager
    def _at_most(self, timeout_s: float) -> Iterator[None]:
        """Kill the helper if a block takes longer, as if it sends or takes half a message.

        Raises
        ------
        TimeoutError
            If so.
        """
        timer = threading.Timer(timeout_s, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (EOFError, OSError):
            if self._is_late:
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()

    def _give_up(self) -> None:
        self._is_late = True
        self._process.kill()
        # Another process may have been given its end of the connection.
        with suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as ours:
            ours.shutdown(socket.SHUT_RDWR)

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
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._connection.close()


def _checked(received: bytes) -> tuple[str, Any]:
    """Unpickle a message.

    Raises
    ------
    NotRows
        If it is not one that the helper's program sends.
    """
    try:
        message = RowsUnpickler(io.BytesIO(received)).load()
    except Exception as error:  # a pickle can raise anything, such as MemoryError
        raise NotRows(f"{type(error).__name__}: {error}"[:_MAX_ERROR]) from error
    is_pair = type(message) is tuple and len(message) == 2 and type(message[0]) is str
    if not is_pair or type(message[1]) is not _KINDS.get(message[0]):
        raise NotRows(f"a message of type {type(message).__name__}")
    kind, value = message
    if kind == "row" and not all(type(name) is str for name in value):
        raise NotRows("a row without names")
    return kind, value
