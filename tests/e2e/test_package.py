"""The wheel, installed without the checkout, and the zip for --py-files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import ROOT

CODE = (".py", ".sql", ".html", ".css", ".js", ".typed")


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """The files that `make package` builds, from a copy: builds write next to their sources."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "Makefile"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(
        ROOT / "sonic_lib", copy / "sonic_lib", ignore=shutil.ignore_patterns("__pycache__")
    )
    # an existing environment
    (copy / ".venv" / "bin").mkdir(parents=True)
    python = copy / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (copy / ".venv" / ".installed").touch()
    subprocess.run(["make", "package"], cwd=copy, check=True, capture_output=True)
    return copy / "dist"


def files_of_the_library() -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "sonic_lib").rglob("*")
        if path.suffix in CODE
    }


def test_wheel_and_zip_contain_the_whole_library(dist):
    (wheel,) = dist.glob("*.whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("sonic_lib/")}
    assert inside == files_of_the_library()
    typed = {"sonic_lib/py.typed"}  # not used by executors
    assert set(zipfile.ZipFile(dist / "sonic_lib.zip").namelist()) | typed == inside


def test_wheel_runs_in_a_separate_environment(dist, tmp_path):
    (wheel,) = dist.glob("*.whl")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", wheel]
    subprocess.run(install, check=True)
    # Its dependencies come from this environment, but not the checkout: an editable install is a
    # .pth file, and those are only read in an environment's own folder.
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(yaml.__file__).parents[1])}

    def run(*command: object) -> subprocess.CompletedProcess:
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    where = run(python, "-c", "import sonic_lib; print(sonic_lib.__file__)")
    assert where.stdout.startswith(str(tmp_path / "env")), where.stderr
    sonic = tmp_path / "env" / "bin" / "sonic"
    assert run(sonic, "--version").returncode == 0
    result = json.loads(run(sonic, "doctor", "--json").stdout)
    assert result["command"] == "doctor"
    found = {finding["what"]: finding["state"] for finding in result["findings"]}
    assert found["packages"] == found["decoders"] == "ok"
    # Its data files are read from the installed package.
    count = "from sonic_lib.sql import views; print(len(list(views.statements('views'))))"
    shown = run(python, "-c", count)
    assert int(shown.stdout) > 5, shown.stderr
