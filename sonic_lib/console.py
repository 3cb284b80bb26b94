"""Output of commands: text for people, one JSON object for programs (`--json`), progress."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO

from sonic_lib.spark.messages import one_line, printable, without_secrets

_REFRESH_S = 0.5
_WIDTH = 30
_MIN_WIDTH = 5  # a shorter bar shows nothing
_TIME_WIDTH = 12
_DEFAULT_COLUMNS = 80

_facts: dict[str, object] = {}
_silent = False


def show(text: str = "", *, file: TextIO | None = None) -> None:
    """Print a text for people; commands print through this function only.

    Line ends and tabs are printed: those of untrusted values are escaped by `one_line`, or by
    `paragraph` in a list of lines.
    """
    # Flushed, so that a log shows how far a long command is.
    print(printable(without_secrets(text)), file=file or sys.stdout, flush=True)


def paragraph(lines: Iterable[str]) -> str:
    """Join lines; line ends inside of one came from a value and are escaped."""
    return "\n".join(map(one_line, lines))


def say(text: str, **facts: object) -> None:
    """Print a text, and record its facts for `--json`.

    Parameters
    ----------
    text : str
    **facts
        The same facts by name: numbers, strings, and lists and dicts of them.
    """
    show(text)
    _facts.update(facts)


def report_error(text: str) -> None:
    """Print an error, which is one line, to stderr, and record it for `--json`."""
    show(f"sonic: {one_line(text)}", file=sys.stderr)
    _facts["error"] = text


def remark(text: str) -> None:
    """Print a notice, which is one line, to stderr while the command is running."""
    if not is_silent():
        show(f"sonic: {one_line(text)}", file=sys.stderr)


def is_silent() -> bool:
    """Whether notices and progress are suppressed."""
    return _silent


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress notices and progress inside the `with` block."""
    global _silent
    before, _silent = _silent, True
    try:
        yield
    finally:
        _silent = before


@contextmanager
def capture_output(*, as_json: bool) -> Iterator[dict[str, object]]:
    """Suppress all text inside the `with` block, then print the facts as JSON, or nothing.

    Yields
    ------
    dict
        The facts that will be printed; more can be added.
    """
    global _silent
    _facts.clear()
    _silent = True
    out = os.dup(1)
    sys.stdout.flush()
    # C++ and Java libraries write to the file descriptor directly.
    os.dup2(2, 1)
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
            yield _facts
    finally:
        _silent = False
        os.dup2(out, 1)
        os.close(out)
        if as_json:
            # In ASCII, in which nothing controls a terminal.
            print(json.dumps(_masked(plain(_facts))), flush=True)


@contextmanager
def progress(label: str, *, total: int, done: Callable[[], int]) -> Iterator[None]:
    """Draw a progress bar for the work inside the `with` block, if on a terminal.

    Parameters
    ----------
    label : str
        What is counted.
    total : int
        Total number.
    done : callable
        Returns the number finished so far; called twice a second.
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
        sys.stderr.write("\r" + _progress_line(label, n, total, left, columns=_columns()))
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


def _progress_line(label: str, n: int, total: int, left: str, *, columns: int) -> str:
    """Return a line of a progress bar, which the terminal would repeat below if it wrapped."""
    room = columns - 1 - len(f"{label} [] {total}/{total} ") - _TIME_WIDTH
    width = min(room, _WIDTH)
    bar = f"[{('=' * (width * n // total)).ljust(width)}] " if width >= _MIN_WIDTH else ""
    return f"{label} {bar}{n}/{total} {left:<{_TIME_WIDTH}}"[: columns - 1]


def _columns() -> int:
    """Return the width of the terminal behind stderr; it may change."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _DEFAULT_COLUMNS
    except OSError:
        return _DEFAULT_COLUMNS


def _masked(value: object) -> object:
    """Mask secrets in the texts of a value for JSON."""
    if isinstance(value, dict):
        return {without_secrets(name): _masked(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_masked(part) for part in value]
    return without_secrets(value) if isinstance(value, str) else value


def plain(value: object) -> object:
    """Convert a value for JSON: NaN and infinity to null, numpy scalars to Python's."""
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
