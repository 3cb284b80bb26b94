"""A progress bar for one Spark action, on terminals only."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sonic_lib.console import is_silent

_REFRESH_S = 0.5
_WIDTH = 30


@contextmanager
def progress(label: str, *, total: int, done: Callable[[], int]) -> Iterator[None]:
    """Show how far the work inside the `with` block has come; quiet when not on a terminal.

    Parameters
    ----------
    label : str
        What is counted.
    total : int
        How many there are.
    done : callable
        How many are finished, asked twice a second.
    """
    if is_silent() or not sys.stderr.isatty() or total == 0:
        yield
        return
    finished = threading.Event()
    started_s = time.monotonic()

    def draw(n: int) -> None:
        n = min(n, total)
        elapsed_s = time.monotonic() - started_s
        left = f"{elapsed_s / n * (total - n):.0f} s left" if 0 < n < total else ""
        bar = ("=" * (_WIDTH * n // total)).ljust(_WIDTH)
        sys.stderr.write(f"\r{label} [{bar}] {n}/{total} {left:<12}")
        sys.stderr.flush()

    def watch() -> None:
        while not finished.wait(_REFRESH_S):
            draw(done())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
        draw(done())
        sys.stderr.write("\n")
