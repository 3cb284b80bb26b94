"""Decoders of every bad kind, in a module that the helper process can import."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np

_seen: list[str] = []
_kept: list[np.ndarray] = []


def loads() -> None:
    """Does what can be done before there is a file."""


def good(path: str, *, n_rows: int = 1) -> Iterator[dict]:
    """Rows that tell which process made them."""
    for i in range(n_rows):
        yield {"path": path, "row": i, "pid": os.getpid()}


def hangs(path: str) -> Iterator[dict]:
    """Gives one row and then nothing for ever."""
    yield {"path": path, "row": 0}
    while True:
        pass


def aborts(path: str, *, n_rows: int = 0) -> Iterator[dict]:
    """Ends the process as a C library does that finds its heap broken."""
    yield from good(path, n_rows=n_rows)
    os.abort()


def exits(path: str) -> Iterator[dict]:
    """Ends the process as a library does that calls exit."""
    os._exit(3)
    yield {}


def spoils(path: str) -> Iterator[dict]:
    """Gives its rows, but the next file dies after its first row in the same process."""
    for i in range(3):
        if _seen and i == 1:
            os.abort()
        yield {"path": path, "row": i}
    _seen.append(path)


def hoards(path: str, *, megabytes: int) -> Iterator[dict]:
    """Wants memory."""
    yield {"path": path, "bytes": np.ones(megabytes << 20, np.uint8).nbytes}


def keeps(*, megabytes: int) -> None:
    """Loads something large, as modules are."""
    _kept.append(np.ones(megabytes << 20, np.uint8))


def kept(path: str) -> Iterator[dict]:
    """Tells how much has been loaded."""
    yield {"path": path, "bytes": sum(array.nbytes for array in _kept)}


def raises(path: str) -> Iterator[dict]:
    """Fails as nobody foresaw."""
    yield {"path": path}
    raise KeyError("odd")


def slow(path: str, *, n_rows: int, pause_s: float) -> Iterator[dict]:
    """Takes its time for each row."""
    for row in good(path, n_rows=n_rows):
        time.sleep(pause_s)
        yield row


class _Runs:
    """Calls what a file chose, where it is unpickled."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self):
        return open, (self.mark, "w")


def takes_over(path: str, *, mark: str) -> Iterator[dict]:
    """Answers as a decoder does that a file has taken over."""
    yield {"path": path, "row": _Runs(mark)}


def tells_variables(path: str) -> Iterator[dict]:
    """Gives the names of the variables that a file could read, with an array and a time."""
    yield {"path": path, "names": sorted(os.environ), "array": np.arange(3)}
