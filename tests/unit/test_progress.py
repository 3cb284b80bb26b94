"""The progress bar of a long job, shown only on terminals, with the remaining time."""

from __future__ import annotations

import io
import os
import re
from types import SimpleNamespace

import pytest

from sonic_lib import console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def shown(monkeypatch):
    """Count up to 4 in front of a screen; return its final content."""
    monkeypatch.setattr(console, "_REFRESH_S", 0.01)

    def watch(screen: io.StringIO) -> str:
        monkeypatch.setattr("sys.stderr", screen)
        asked = iter([1, 2, 3])
        with console.progress("songs", total=4, done=lambda: next(asked, 4)):
            for _ in range(500):
                if "3/4" in screen.getvalue() or not screen.isatty():
                    break
                console.time.sleep(0.01)
        return screen.getvalue()

    return watch


def test_terminal_shows_progress_and_remaining_time(shown):
    steps = shown(Terminal()).split("\r")
    assert re.fullmatch(r"songs \[=+ +\] 1/4 \d+ s left +", steps[1])
    assert re.fullmatch(r"songs \[={30}\] 4/4 +\n", steps[-1])


def test_files_and_quiet_runs_show_nothing(shown):
    assert shown(io.StringIO()) == ""
    with console.capture_output(as_json=False):
        assert shown(Terminal()) == ""


@pytest.mark.parametrize("columns", [80, 64, 40, 20, 8])
def test_bar_fits_the_terminal(columns):
    lines = [
        console._progress_line("windows", n, 1200, "3600 s left", columns=columns)
        for n in (1, 600, 1200)
    ]
    assert all(len(line) < columns for line in lines)
    assert ("[" in lines[1]) == (columns >= 40)
    assert ("600/1200" in lines[1]) == (columns >= 20)


def test_width_is_that_of_the_terminal_behind_stderr(monkeypatch):
    widths = iter([40, 0])
    monkeypatch.setattr("sys.stderr", SimpleNamespace(fileno=lambda: 99))
    monkeypatch.setattr("os.get_terminal_size", lambda fd: os.terminal_size((next(widths), fd)))
    assert [console._columns(), console._columns()] == [40, 80]
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert console._columns() == 80
