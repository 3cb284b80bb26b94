"""Output of commands is plain text: nothing in it controls the terminal."""

from __future__ import annotations

import json

import pytest

from sonic_lib.console import capture_output, report_error, say, show


@pytest.mark.parametrize("speak", [show, say, report_error])
def test_control_characters_are_escaped(capsys, speak):
    speak("a\tname\nwith \x1b]0;title\x07 \x1b[2J \x9b31m \r and \u202egnp.exe, 夜明け é")
    told = "".join(capsys.readouterr())
    assert not set(told) & set("\x1b\x07\x9b\r\u202e")
    assert "a\tname\nwith \\x1b]0;title\\x07 \\x1b[2J \\x9b31m \\r" in told
    assert told.endswith("夜明け é\n")


def test_json_has_neither_passwords_nor_control_characters(capsys):
    with capture_output(as_json=True):
        say(
            "", tracking={"at": ["https://me:sesame@host/x"]}, name="\x9b31m\x7f\u202egnp \udcff 夜"
        )
        report_error("https://me:sesame@host failed")
    told = capsys.readouterr().out
    assert told.isascii()
    assert told.strip().isprintable()
    facts = json.loads(told)
    assert facts["tracking"] == {"at": ["https://***@host/x"]}
    assert facts["name"] == "\x9b31m\x7f\u202egnp \udcff 夜"
    assert facts["error"] == "https://***@host failed"
