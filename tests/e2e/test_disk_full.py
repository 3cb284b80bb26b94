"""A disk that fills up during a job: a message, complete songs, and the next run resumes.

The warehouse is on a file system in memory with room for part of what the job writes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from sonic_lib.cli.main import main
from tests.e2e.conftest import assert_songs_are_whole, contents, readers

IS_LONG = os.environ.get("SONIC_LONG_TESTS", "") not in ("", "0")
LARGE = 1 << 30
# The need of one run is measured; another run may need slightly less.
SURELY_TOO_SMALL = 0.8


class Disk(NamedTuple):
    """A file system whose size can be changed."""

    folder: Path

    def used(self) -> int:
        of = os.statvfs(self.folder)
        return (of.f_blocks - of.f_bfree) * of.f_frsize

    def resize(self, n_bytes: int) -> None:
        command = ["mount", "-o", f"remount,size={n_bytes}", str(self.folder)]
        subprocess.run(command, check=True)

    @contextmanager
    def peak(self) -> Iterator[list[int]]:
        """Record the peak usage within the block."""
        most, is_over = [self.used()], threading.Event()

        def probe() -> None:
            while not is_over.wait(0.002):
                most[0] = max(most[0], self.used())

        thread = threading.Thread(target=probe)
        thread.start()
        try:
            yield most
        finally:
            is_over.set()
            thread.join()


@pytest.fixture(scope="module")
def disk(tmp_path_factory) -> Iterator[Disk]:
    folder = tmp_path_factory.mktemp("disk")
    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    command = ["mount", "-t", "tmpfs", "-o", f"size={LARGE}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def cases(collection, indexed, new_tables) -> dict[str, tuple[list[str], str]]:
    """Jobs, each with the warehouse that it starts from."""
    songs = str(collection.folder)
    first, second, *_ = (Path(name).stem for name in collection.samples)
    return {
        "index": (["index", songs], new_tables),
        "maintain": (["maintain", "--prefix-bits", "2", "--grace-hours", "0"], indexed[0]),
        "remove": (["remove", "--where", f"title IN ('{first}', '{second}')"], indexed[0]),
        "watch": (["index", songs, "--watch", "once"], new_tables),
    }


@pytest.fixture(scope="module")
def undisturbed(cases, disk, _spark_session):
    """Run each job once with enough space; return its result and the bytes it needed."""
    known: dict[str, tuple[dict, int]] = {}

    def of(name: str) -> tuple[dict, int]:
        if name not in known:
            words, start = cases[name]
            lake = shutil.copytree(start, disk.folder / f"{name}-undisturbed").as_posix()
            before = disk.used()
            with disk.peak() as most:
                assert main([*words, "--warehouse", lake]) == 0
            known[name] = contents(_spark_session, lake), most[0] - before
        return known[name]

    return of


SHARES = [0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
ROUNDS = (
    [(name, share) for name in ("index", "maintain", "remove", "watch") for share in SHARES]
    if IS_LONG
    else [("index", 0.6), ("maintain", 0.4)]
)


@pytest.mark.parametrize(("name", "share"), ROUNDS)
def test_full_disk_stops_a_job_and_corrupts_nothing(
    name, share, cases, disk, undisturbed, spark, capfd
):
    words, start = cases[name]
    expected, n_bytes = undisturbed(name)
    lake = shutil.copytree(start, disk.folder / f"{name}-{share}").as_posix()
    try:
        capfd.readouterr()
        disk.resize(disk.used() + int(share * n_bytes))
        with readers(spark, lake):
            code = main([*words, "--warehouse", lake])
        said = capfd.readouterr().err
        assert_songs_are_whole(spark, lake)
        if share <= SURELY_TOO_SMALL:
            assert code == 1
        if code:
            assert "A disk is full" in said
            assert "run the same command again" in said
            assert "Traceback" not in said
            assert "\tat " not in said
        disk.resize(LARGE)
        assert main([*words, "--warehouse", lake]) == 0
        assert contents(spark, lake) == expected
    finally:
        disk.resize(LARGE)
        shutil.rmtree(lake)
