"""Misbehaving decoders, in a module that the helper process can import."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

import numpy as np

_seen: list[str] = []
_kept: list[np.ndarray] = []


def loads() -> None:
    """Prepare everything that needs no file."""


def good(path: str, *, n_rows: int = 1) -> Iterator[dict]:
    """Yield rows that name the process that made them."""
    for i in range(n_rows):
        yield {"path": path, "row": i, "pid": os.getpid()}


def hangs(path: str) -> Iterator[dict]:
    """Yield one row and hang."""
    yield {"path": path, "row": 0}
    while True:
        pass


def aborts(path: str, *, n_rows: int = 0) -> Iterator[dict]:
    """Abort, as a C library does that detects heap corruption."""
    yield from good(path, n_rows=n_rows)
    os.abort()


def exits(path: str) -> Iterator[dict]:
    """Exit, as a library does that calls exit()."""
    os._exit(3)
    yield {}


def spoils(path: str) -> Iterator[dict]:
    """Yield rows normally, but crash on the next file in the same process after its first row."""
    for i in range(3):
        if _seen and i == 1:
            os.abort()
        yield {"path": path, "row": i}
    _seen.append(path)


def hoards(path: str, *, megabytes: int) -> Iterator[dict]:
    """Allocate memory."""
    yield {"path": path, "bytes": np.ones(megabytes << 20, np.uint8).nbytes}


def keeps(*, megabytes: int) -> None:
    """Load something large and keep it, as imported modules are."""
    _kept.append(np.ones(megabytes << 20, np.uint8))


def kept(path: str) -> Iterator[dict]:
    """Yield the size of what has been loaded."""
    yield {"path": path, "bytes": sum(array.nbytes for array in _kept)}


def raises(path: str) -> Iterator[dict]:
    """Raise an unexpected error."""
    yield {"path": path}
    raise KeyError("odd")


def slow(path: str, *, n_rows: int, pause_s: float) -> Iterator[dict]:
    """Pause before each row."""
    for row in good(path, n_rows=n_rows):
        time.sleep(pause_s)
        yield row


class _Runs:
    """Call what a file chose, when unpickled."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self):
        return open, (self.mark, "w")


def takes_over(path: str, *, mark: str) -> Iterator[dict]:
    """Answer as a compromised decoder would."""
    yield {"path": path, "row": _Runs(mark)}


def tells_variables(path: str) -> Iterator[dict]:
    """Yield the names of the environment variables, with an array and a timestamp."""
    yield {"path": path, "names": sorted(os.environ), "array": np.arange(3)}


def sends(path: str, *, raw: bytes, forks: bool = False) -> Iterator[dict]:
    """Write bytes to the connection, as a compromised decoder can, and hang."""
    if forks:  # the child, which nobody kills, keeps the connection open
        os.fork()
    os.write(int(sys.argv[1]), raw)
    time.sleep(20)
    yield {}
