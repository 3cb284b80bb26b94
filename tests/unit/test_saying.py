"""Output of commands is plain text: nothing in it controls the terminal."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import Counter

import pytest
from pyspark.sql import Row

from sonic_lib.cli.answers import say_summary
from sonic_lib.cli.commands import explain, maintain
from sonic_lib.cli.commands.index import passed_over_text
from sonic_lib.console import capture_output, paragraph, remark, report_error, say, show
from sonic_lib.storage.table_files import Damage
from sonic_lib.workflows.answers import Answers


@pytest.mark.parametrize("speak", [show, say, report_error])
def test_control_characters_are_escaped(capsys, speak):
    speak("a name with \x1b]0;title\x07 \x1b[2J \x9b31m \r and \u202egnp.exe, 夜明け é")
    told = "".join(capsys.readouterr())
    assert not set(told) & set("\x1b\x07\x9b\r\u202e")
    assert "a name with \\x1b]0;title\\x07 \\x1b[2J \\x9b31m \\r" in told
    assert told.endswith("夜明け é\n")


def test_line_ends_are_ours(capsys):
    forged = "a.mp3\nsonic: 10 songs added"
    for speak in (remark, report_error):
        speak(forged)
    show(f"first\n{paragraph([forged, forged])}")
    told = capsys.readouterr()
    shown = r"a.mp3\nsonic: 10 songs added"
    assert told.err == f"sonic: {shown}\n" * 2
    assert told.out == f"first\n{shown}\n{shown}\n"


def test_names_of_files_stay_in_their_line(capsys):
    name = "a\nsonic: 10 songs added"
    found = Namespace(error="not audio")
    explain._print_explanation(found, None, Namespace(clip=name))
    row = Row(invariant="songs have files", n_broken=1, example=name)
    maintain._report([row], "/lake", advice="Repair it.")
    told = capsys.readouterr().out.splitlines()
    assert told[0] == r"a\nsonic: 10 songs added: cannot be read: not audio"
    assert told[2].endswith(r"such as: a\nsonic: 10 songs added")
    assert len(told) == 4


def test_one_of_anything_is_not_a_plural(capsys):
    name = "/music/a.mp3"
    counts = {"clips": 1.0, "identified": 1.0, "rejected": 0.0, "seconds": 0.5}
    say_summary(Answers([], [], counts, None), warehouse="/lake", output=None)
    maintain._report_damage([Damage("songs", 1, name, "is cut", "Restore it.")], "/lake")
    show(paragraph(maintain._repaired({"damaged": [], "dropped": 1})))
    show(passed_over_text(Counter({".jpg": 1})))
    told = capsys.readouterr().out
    assert "1 clip: 1 identified" in told
    assert "1 file of its tables is damaged" in told
    assert "1 song was incomplete" in told
    assert "1 file without" in told


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
