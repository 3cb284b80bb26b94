"""A table of a local warehouse has one writer at a time, and a dead writer holds no lock."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sonic_lib.errors import SonicError
from sonic_lib.features import librosa_import
from sonic_lib.storage import locks
from sonic_lib.storage.locks import writing

HOLDER = """
import sys, time
from sonic_lib.storage.locks import writing
with writing(sys.argv[1], "songs"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that writes to a table."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def is_free(warehouse: Path, table: str) -> bool:
    """Whether a lock can be acquired within a second."""
    taken = threading.Event()

    def take() -> None:
        with writing(str(warehouse), table):
            taken.set()

    threading.Thread(target=take, daemon=True).start()
    return taken.wait(1.0)


def test_writer_waits_for_another_process_but_readers_and_other_tables_do_not(
    tmp_path, holder, monkeypatch, capsys
):
    monkeypatch.setattr(locks, "_NOTIFY_AFTER_S", 0.1)
    assert is_free(tmp_path, "runs")
    assert not is_free(tmp_path, "songs")
    assert "waiting for another job that is writing to the table songs" in capsys.readouterr().err


def test_killed_writer_holds_no_lock(tmp_path, holder):
    holder.send_signal(signal.SIGSTOP)  # paused, but still running
    assert not is_free(tmp_path, "songs")
    holder.kill()
    assert is_free(tmp_path, "songs")


def test_threads_take_turns(tmp_path):
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with writing(str(tmp_path), "songs"):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_anyone_who_can_write_the_warehouse_can_lock(tmp_path):
    tmp_path.chmod(0o770)
    with writing(str(tmp_path), "songs"):
        file = tmp_path / locks.FOLDER / "songs.lock"
        assert oct(file.stat().st_mode & 0o777) == oct(0o660)
        assert oct(file.parent.stat().st_mode & 0o777) == oct(0o770)


def test_read_only_warehouse_is_reported(tmp_path):
    (tmp_path / locks.FOLDER).write_text("in the way")
    with (
        pytest.raises(SonicError, match="cannot be written to"),
        writing(str(tmp_path), "songs"),
    ):
        pass


def test_disk_without_locks_is_reported_once_and_used(tmp_path, monkeypatch, capsys):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "lockf", refuse)
    for _ in range(2):
        with writing(str(tmp_path), "songs"):
            pass
    assert capsys.readouterr().err.count("No locks available") == 1


# ---- the lock of librosa's compiled functions ----


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SONIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(librosa_import, "_MAX_WAIT_S", 0.3)
    return tmp_path / "cache"


def test_lock_is_in_a_folder_of_this_user(cache):
    with librosa_import._alone():
        [lock] = cache.iterdir()
        assert (cache.stat().st_mode & 0o777, lock.stat().st_mode & 0o777) == (0o700, 0o600)
        with open(lock) as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with open(lock) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_lock_that_is_held_for_long_is_not_waited_for(cache):
    with librosa_import._alone():
        started_s = time.monotonic()
        with librosa_import._alone():
            assert 0.3 <= time.monotonic() - started_s < 5


@pytest.mark.parametrize("replace", [lambda lock: lock.symlink_to("new"), os.mkfifo, os.mkdir])
def test_lock_that_others_replaced_is_not_used(cache, replace):
    with librosa_import._alone():
        [lock] = cache.iterdir()
    lock.unlink()
    replace(lock)
    with librosa_import._alone():
        assert list(cache.iterdir()) == [lock]
    assert librosa_import._open_any_lock() is None


def test_lock_of_another_user_is_not_used(cache, monkeypatch):
    descriptor = librosa_import._open_lock(cache)
    os.close(descriptor)
    [lock] = cache.iterdir()
    monkeypatch.setattr(os, "getuid", lambda: lock.stat().st_uid + 1)
    lock.rename(cache / f"librosa-{os.getuid()}.lock")
    assert librosa_import._open_any_lock() is None


def test_no_lock_is_needed_without_a_home_folder(cache, monkeypatch):
    def refuse() -> None:
        raise RuntimeError("Could not determine home directory.")

    for name in ("SONIC_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", refuse)
    with librosa_import._alone():
        pass


def test_lock_is_with_numbas_files_if_the_cache_is_read_only(cache, tmp_path, monkeypatch):
    cache.touch()  # a file, in which root cannot write either
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    os.close(librosa_import._open_any_lock())
    assert len(list((tmp_path / "numba").iterdir())) == 1
