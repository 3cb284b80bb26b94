"""Commands whose standard streams are closed, broken or of another encoding, and SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sonic_lib.cli import main as cli

START = "import sys; from sonic_lib.cli.main import main; "


def run(program: str, folder: Path, **options) -> subprocess.CompletedProcess:
    (folder / "delta-spark_4.2_2.13-4.4.0.jar").touch()
    environment = {**os.environ, "SONIC_JARS": str(folder), **options.pop("env", {})}
    return subprocess.run([sys.executable, "-c", START + program], env=environment, **options)


@pytest.mark.parametrize("words", [["jars"], ["jars", "--json"]])
def test_closed_streams_stop_nothing(tmp_path, words):
    """Nor does a file get the number of a closed stream, to which libraries may write."""
    report = tmp_path / "report"
    program = f"code = main({words}); file = open({str(report)!r}, 'w'); "
    program += "file.write(f'{code} {file.fileno() > 2} {sys.stderr.isatty()}')"
    run(program, tmp_path, preexec_fn=lambda: os.closerange(0, 3))
    assert report.read_text() == "0 True False"


@pytest.mark.parametrize("words", [["jars"], ["jars", "--json"]])
def test_pipe_that_nobody_reads_is_no_error(tmp_path, words):
    reader, writer = os.pipe()
    os.close(reader)
    done = run(f"sys.exit(main({words}))", tmp_path, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_letters_that_the_encoding_lacks_are_escaped(tmp_path):
    folder = tmp_path / "夜"
    folder.mkdir()
    program = "sys.exit(main(['jars']))"
    done = run(program, folder, env={"PYTHONIOENCODING": "latin-1"}, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"/\u591c/delta-spark" in done.stdout


def test_sigterm_ends_a_command_like_ctrl_c(monkeypatch):
    done = []

    def wait(*_: object) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            done.append("cleaned up")

    monkeypatch.setattr("sonic_lib.cli.commands.jars.run", wait)
    assert cli.main(["jars"]) == 130
    assert done == ["cleaned up"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
