"""Kernels compile even if nothing can be written next to the program or in the home folder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import sonic_lib
from sonic_lib.fingerprint.kernels import kernel

KERNEL = """
import numba

@numba.njit(cache=True)
def next_of(n):
    return n + 1
"""


def test_kernel_in_a_zip_compiles_without_a_home_folder(tmp_path):
    """As on YARN, where the home folder of a container does not exist."""
    packed = tmp_path / "sonic_lib.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(sonic_lib.__file__, "sonic_lib/__init__.py")
        archive.writestr("sonic_lib/kernel.py", KERNEL)
    environment = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    environment |= {"HOME": "/proc/none", "PYTHONPATH": str(packed), "TMPDIR": str(tmp_path)}
    program = "from sonic_lib.kernel import next_of; print(next_of(1))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("2\n", "")
    [folder] = tmp_path.glob("sonic-numba-*")
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def read_only(tmp_path, monkeypatch) -> Path:
    """Where compiled code goes if nothing but the temporary folder can be written to."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/proc/none")
    return tmp_path / f"sonic-numba-{os.getuid()}"


@pytest.mark.parametrize("is_new", [True, False])
def test_read_only_program_compiles_into_the_temporary_folder(read_only, is_new):
    if not is_new:
        read_only.mkdir(mode=0o700)
    sonic_lib._find_room_for_numba()
    assert os.environ["NUMBA_CACHE_DIR"] == str(read_only)


def test_nothing_is_made_in_the_current_folder_without_a_home_folder(read_only, monkeypatch):
    monkeypatch.chdir(read_only.parent)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    sonic_lib._find_room_for_numba()
    assert list(read_only.parent.iterdir()) == [read_only]


def test_folder_that_others_could_have_made_is_not_used(read_only):
    read_only.symlink_to(read_only.parent)
    sonic_lib._find_room_for_numba()
    read_only.unlink()
    read_only.mkdir()
    read_only.chmod(0o770)
    sonic_lib._find_room_for_numba()
    assert os.environ["NUMBA_CACHE_DIR"] == "/proc/none"


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    return tmp_path


def compiled():
    """A kernel as after a start: not compiled yet."""

    @kernel(nogil=True)
    def next_of(n):
        return n + 1

    return next_of


def test_kernel_is_compiled_once(cache):
    assert compiled()(1) == 2
    again = compiled()
    assert again(1) == 2
    assert sum(again.stats.cache_hits.values()) == 1


@pytest.mark.parametrize("place", ["folder", "file"])
def test_kernel_compiles_if_its_code_cannot_be_saved(cache, monkeypatch, place):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if place == "folder":
        monkeypatch.setattr("tempfile.TemporaryFile", full)  # with which numba looks for a folder
    else:
        monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", full)
    assert compiled()(1) == 2
    assert not list(cache.rglob("*.nb?"))


def test_kernel_compiles_if_saved_code_cannot_be_read(cache):
    compiled()(1)
    [index] = cache.rglob("*.nbi")
    index.unlink()
    index.mkdir()
    assert compiled()(1) == 2
