"""The bar of a long job: on terminals only, and with the time that is left."""

from __future__ import annotations

import io
import re

import pytest

from sonic_lib import console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def shown(monkeypatch):
    """Count up to 4 in front of a screen; give what is on it in the end."""
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


def test_a_terminal_shows_how_far_it_is_and_how_long_it_takes(shown):
    steps = shown(Terminal()).split("\r")
    assert re.fullmatch(r"songs \[=+ +\] 1/4 \d+ s left +", steps[1])
    assert re.fullmatch(r"songs \[={30}\] 4/4 +\n", steps[-1])


def test_a_file_and_those_who_asked_for_quiet_see_nothing(shown):
    assert shown(io.StringIO()) == ""
    with console.capture_output(as_json=False):
        assert shown(Terminal()) == ""
