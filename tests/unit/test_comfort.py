"""`sonic --help`, `doctor`, `completion`, --json and --quiet, all without Spark."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sonic_lib import console
from sonic_lib.cli import main as cli
from sonic_lib.cli import parser
from sonic_lib.cli.commands import doctor
from sonic_lib.errors import SetupError


def test_help_lists_every_verb_once_below_a_heading(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    said = capsys.readouterr().out
    listed = re.findall(r"^  (\w+)  +\S", said, re.MULTILINE)
    assert tuple(verb for verb in listed if verb in parser.VERBS) == parser.VERBS
    assert set(parser._SECTIONS) <= set(parser.VERBS)
    assert all(len(line) <= 100 for line in said.splitlines())


# ---- --json and --quiet ----


def run_json(command: list[str], capfd) -> tuple[int, dict]:
    code = cli.main([*command, "--json"])
    out = capfd.readouterr().out
    assert out.count("\n") == 1
    return code, json.loads(out)


def test_json_prints_one_object(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "numba" else "1.0")
    code, told = run_json(["doctor", "--warehouse", str(tmp_path)], capfd)
    assert (told["command"], told["exit_code"], code) == ("doctor", 1, 1)
    packages = next(finding for finding in told["findings"] if finding["what"] == "packages")
    assert (packages["what"], packages["state"]) == ("packages", "bad")
    assert re.search(r"-m pip install '?numba", packages["message"])


def test_json_reports_errors_and_nothing_from_earlier_commands(tmp_path, capfd):
    assert cli.main(["doctor", "--warehouse", str(tmp_path)]) in (0, 1)
    command = ["identify", str(tmp_path / "absent"), "--engine", "local", "--watch", "once"]
    capfd.readouterr()
    code, told = run_json(command, capfd)
    assert set(told) == {"command", "exit_code", "error"}
    assert code == told["exit_code"] == 2
    assert "--engine local" in told["error"]


def test_json_contains_the_completion_script(capfd, script):
    code, told = run_json(["completion", "bash"], capfd)
    assert (code, told["script"]) == (0, script)


def test_quiet_keeps_errors_and_the_exit_code(tmp_path, capfd, monkeypatch):
    command = ["doctor", "--warehouse", str(tmp_path), "--quiet"]
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "numba" else "1.0")
    assert cli.main(command) == 1
    assert capfd.readouterr() == ("", "")
    assert cli.main([*command, "--set", "nonsense=1"]) == 2
    said = capfd.readouterr()
    assert said.out == ""
    assert "nonsense" in said.err
    assert not console.is_silent()


def test_output_of_libraries_is_not_part_of_the_json(capfd):
    with console.capture_output(as_json=True):
        console.say("seen by people", n=np.int64(3), share=float("nan"), by_name={1: (0.5, None)})
        os.write(1, b"from C++\n")
    out, err = capfd.readouterr()
    assert json.loads(out) == {"n": 3, "share": None, "by_name": {"1": [0.5, None]}}
    assert err == "from C++\n"


# ---- doctor ----


def examined(warehouse) -> dict[str, doctor.Finding]:
    return {finding.what: finding for finding in doctor.examine(str(warehouse))}


def test_doctor_names_the_tables_of_a_warehouse(tmp_path):
    for name in ("songs", "runs"):
        (tmp_path / name / "_delta_log").mkdir(parents=True)
    (tmp_path / "_models").mkdir()
    assert examined(tmp_path)["warehouse"] == ("warehouse", "ok", f"{tmp_path}: runs, songs")
    absent = examined(tmp_path / "absent" / "lake")
    assert absent["warehouse"].state == "note"
    assert "sonic index" in absent["warehouse"].message
    assert absent["disk"].message.endswith(f"free in {tmp_path}")
    assert examined("s3a://bucket/lake")["warehouse"].state == "note"


def test_doctor_says_that_a_warehouse_may_not_be_looked_at(tmp_path, monkeypatch):
    def refusing(look):
        def refuse(path, *args, **kwargs):
            if isinstance(path, (str, Path)) and Path(path).is_relative_to(tmp_path / "private"):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return look(path, *args, **kwargs)

        return refuse

    for name in ("stat", "listdir"):  # root may look everywhere
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    place = tmp_path / "private" / "lake"
    found = examined(place)
    assert found["disk"].message.endswith(f"free in {tmp_path}")
    message = f"{place} cannot be read: Permission denied; give another --warehouse"
    assert found["warehouse"] == ("warehouse", "bad", message)


def test_missing_requirements_are_bad_and_set_the_exit_code(tmp_path, monkeypatch, capsys):
    def no_java():
        raise SetupError("Java 3 is too old: install another")

    command = ["doctor", "--warehouse", str(tmp_path)]
    monkeypatch.setattr("sonic_lib.spark.java.check_java", no_java)
    assert cli.main(command) == 1
    assert "bad   java       Java 3 is too old: install another\n" in capsys.readouterr().out
    monkeypatch.setattr("sonic_lib.spark.java.check_java", lambda: None)
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "librosa" else "1.0")
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert re.search(r"note  models     without librosa; .* -m pip install .*librosa", said)
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "numba" else "1.0")
    assert cli.main(command) == 1
    assert re.search(r"bad   packages   .*-m pip install '?numba", capsys.readouterr().out)


def test_doctor_decodes_a_sample_of_every_format(tmp_path, monkeypatch):
    found = examined(tmp_path)["decoders"]
    assert found.state == "ok"
    for name in ("WAV", "FLAC", "AIFF", "Ogg Vorbis", "Opus", "MP3", "M4A", "AAC", "WMA"):
        assert name in found.message

    def refuse(*_, **__):
        raise TypeError("open() got an unexpected keyword argument")

    monkeypatch.setattr("sonic_lib.audio.ffmpeg._open", refuse)
    found = examined(tmp_path)["decoders"]
    assert found.state == "note"
    assert "M4A: TypeError: open() got" in found.message
    assert "WAV, FLAC, AIFF, Ogg Vorbis, Opus, MP3 decoded" in found.message


def test_doctor_fetches_no_jars(tmp_path, monkeypatch):
    monkeypatch.delenv("SONIC_JARS", raising=False)
    monkeypatch.setenv("SONIC_CACHE", str(tmp_path))
    assert examined(tmp_path)["jars"].state == "note"
    assert list(tmp_path.iterdir()) == []


# ---- completion ----


@pytest.fixture(scope="module")
def script() -> str:
    from sonic_lib.cli.commands.completion import script

    return script(parser.make_parser(parser.VERBS)[1])


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["id"], ["identify"]),
        (["identify", "--eng"], ["--engine"]),
        (["identify", "--engine", ""], ["auto", "local", "spark"]),
        (["train", "pop"], ["popularity"]),
        (["identify", "--engine", "local", "--out"], ["--output"]),
        (["identify", "clip.w"], []),
    ],
)
def test_bash_completes_verbs_options_and_choices(script, words, completed):
    quoted = " ".join(f"'{word}'" for word in ["sonic", *words])
    asked = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words)}; _sonic; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{script}\n{asked}"], capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.stdout.split() == completed


def test_zsh_uses_the_same_script(script, capsys):
    assert cli.main(["completion", "zsh"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("autoload")
    assert said.endswith(script)
