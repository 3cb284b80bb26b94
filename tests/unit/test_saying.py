"""Output of commands is plain text: nothing in it controls the terminal."""

from __future__ import annotations

import pytest

from sonic_lib.console import report_error, say, show


@pytest.mark.parametrize("speak", [show, say, report_error])
def test_control_characters_are_escaped(capsys, speak):
    speak("a\tname\nwith \x1b]0;title\x07 \x1b[2J \x9b31m \r and \u202egnp.exe, 夜明け é")
    told = "".join(capsys.readouterr())
    assert not set(told) & set("\x1b\x07\x9b\r\u202e")
    assert "a\tname\nwith \\x1b]0;title\\x07 \\x1b[2J \\x9b31m \\r" in told
    assert told.endswith("夜明け é\n")
