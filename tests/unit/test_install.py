"""Installation: hints at packages to install, and how make finds Python."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from sonic_lib import errors

ROOT = Path(__file__).parents[2]
SETUP = (ROOT / "setup.py").read_text(encoding="utf-8")


# ---- hints ----


def test_hint_names_packages_that_every_index_has(monkeypatch):
    monkeypatch.setattr(sys, "prefix", "/home/me/music/.venv")
    monkeypatch.setattr(sys, "executable", "/home/me/music/.venv/bin/python")
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["av<20,>=12", "librosa>=0.10"])
    monkeypatch.chdir("/")
    said = errors.install_command("av", "librosa", "unheard-of")
    assert said == "home/me/music/.venv/bin/python -m pip install 'av<20,>=12' 'librosa>=0.10' " + (
        "unheard-of"
    )


def test_hint_knows_how_the_program_was_installed(monkeypatch):
    monkeypatch.setattr("importlib.metadata.requires", lambda _: None)
    monkeypatch.setattr(sys, "prefix", "/home/me/.local/share/pipx/venvs/sonic-signature")
    assert errors.install_command("mlflow") == "pipx inject sonic-signature mlflow"
    monkeypatch.setattr(sys, "prefix", "/home/me/.local/share/uv/tools/sonic-signature")
    said = errors.install_command("mlflow", "librosa")
    assert said == "uv tool install --upgrade sonic-signature --with mlflow --with librosa"


def test_hints_are_written_in_one_place_only():
    for path in (ROOT / "sonic_lib").rglob("*.py"):
        assert path.name == "errors.py" or "pip install '" not in path.read_text(encoding="utf-8")


def test_packages_of_hints_match_setup():
    for name in (*errors.MODELS, "mlflow", "av", "deltalake", "jinja2"):
        assert re.search(rf'"{name}[><=]', SETUP), name


# ---- make ----


@pytest.fixture
def make(tmp_path):
    """`make env` with only some Pythons on PATH, given by name and behaviour."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "setup.py", tmp_path)
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name in ("make", "sh", "bash", "awk", "tail", "touch", "test", "printf"):
        if found := shutil.which(name):
            (bin_folder / name).symlink_to(found)

    def run(**pythons: str) -> subprocess.CompletedProcess:
        for name, script in pythons.items():
            path = bin_folder / name.replace("_", ".")
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
        return subprocess.run(
            ["make", "env"],
            cwd=tmp_path,
            env={"PATH": str(bin_folder)},
            capture_output=True,
            text=True,
        )

    return run


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_reports_the_pythons_it_found_and_the_ones_it_needs(make):
    done = make(
        python3_11="echo 'pyenv: python3.11: command not found' >&2; exit 127",
        python3='echo "is 3.9.18" >&2; exit 1',
    )
    assert done.returncode != 0
    assert "wanted Python 3.10 to 3.14" in done.stderr
    assert "python3.11: pyenv: python3.11: command not found; python3: is 3.9.18" in done.stderr


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize("version", ["3_10", "3_11", "3_12", "3_13", "3_14"])
def test_make_accepts_every_supported_python(make, version):
    # It goes on to look for Java, using the Python that it chose.
    script = f'case "$2" in *check_java*) echo took {version} >&2; exit 1;; esac'
    done = make(**{f"python{version}": script})
    assert f"took {version}" in done.stderr


def test_probe_reports_the_version_it_rejects():
    probe = re.search(r"^PROBE := ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    code = re.sub(r"\\\n\s*", "", probe[1])
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    old = code.replace("<= (3, 14)", "<= (3, 9)")
    said = subprocess.run([sys.executable, "-c", old], capture_output=True, text=True)
    assert said.returncode == 1
    assert said.stderr.strip() == "is " + sys.version.split()[0]


def test_supported_pythons_are_the_same_everywhere():
    declared = re.findall(r"Programming Language :: Python :: (3\.\d+)", SETUP)
    assert declared == ["3.10", "3.11", "3.12", "3.13", "3.14"]
    assert 'python_requires=">=3.10,<3.15"' in SETUP
    makefile = (ROOT / "Makefile").read_text()
    assert "(3, 10) <= sys.version_info[:2] <= (3, 14)" in makefile
    assert set(re.findall(r"python(3\.\d+)", makefile)) == set(declared)
    assert "Python 3.10-3.14" in (ROOT / "README.md").read_text(encoding="utf-8")


# ---- constraints ----


def test_constraints_hold_for_the_first_release_of_a_python():
    """Debian 12 has Python 3.11.2; a pin that needs 3.11.5 would break `make demo` there."""
    minor = "{}.{}".format(*sys.version_info)
    path = ROOT / "tests" / "constraints" / f"newest-{minor}.txt"
    if not path.exists():
        pytest.skip(f"no versions are pinned for Python {minor}")
    first = {**default_environment(), "python_version": minor, "python_full_version": f"{minor}.0"}
    pins = [Requirement(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    for pin in pins:
        if pin.marker and not pin.marker.evaluate(first):
            continue
        with contextlib.suppress(PackageNotFoundError):
            needed = metadata(pin.name).get("Requires-Python")
            assert f"{minor}.0" in SpecifierSet(needed or ""), f"{pin} needs Python {needed}"
