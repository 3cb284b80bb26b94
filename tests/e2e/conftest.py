"""A small, messy music collection, and two ways to run a job: in-process or by spark-submit."""

from __future__ import annotations

import io
import os
import runpy
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyspark
import pytest
import soundfile
from pyspark.sql import SparkSession

from sonic_lib.config import FingerprintConfig
from sonic_lib.index import invariants
from sonic_lib.schemas import FINGERPRINTS, SONG_FILES, SONGS, Table
from sonic_lib.spark.jars import delta_jars
from sonic_lib.storage import creation, tables
from sonic_lib.synth.collection import demo_songs, write_song

ROOT = Path(__file__).parents[2]
SPARK_HOME = Path(pyspark.__file__).parent
STRANGE_FOLDERS = ("50% off #1", "L'été [live]", 'she said "hi"', "two\nlines", "夜明け")
RATE_HZ = 22_050


@dataclass(frozen=True)
class Collection:
    """Folders of songs, with the samples of the good ones by path below `folder`."""

    folder: Path
    samples: dict[str, np.ndarray]
    rejected: dict[str, str]  # path -> stage
    copy: str
    unheard: np.ndarray


@pytest.fixture(scope="session")
def collection(tmp_path_factory) -> Collection:
    folder = tmp_path_factory.mktemp("my music")
    *songs, unheard = (replace(song, duration_s=15.0) for song in demo_songs(7, seed=5))
    samples = {}
    for i, song in enumerate(songs):
        place = STRANGE_FOLDERS[i % len(STRANGE_FOLDERS)]
        samples[f"{place}/{song.path}"] = write_song(song, folder / place)
    first = next(iter(samples))
    copy = "copies/the same again" + Path(first).suffix
    (folder / "copies").mkdir()
    shutil.copy(folder / first, folder / copy)
    rejected = _write_bad_files(folder / "bad", folder / first)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    return Collection(
        folder,
        samples,
        {f"bad/{name}": stage for name, stage in rejected.items()},
        copy,
        write_song(unheard, elsewhere),
    )


def _write_bad_files(folder: Path, good: Path) -> dict[str, str]:
    folder.mkdir()
    noise = np.random.default_rng(1).normal(0, 0.1, 8 * RATE_HZ).astype(np.float32)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.mp3").write_text("This is a letter, not a song. " * 200)
    (folder / "broken.flac").write_bytes(good.read_bytes()[:100] + bytes(3000))
    (folder / "gone.ogg").symlink_to(folder / "nowhere.ogg")
    soundfile.write(folder / "silent.wav", 0 * noise, RATE_HZ)
    soundfile.write(folder / "short.wav", noise[: 2 * RATE_HZ], RATE_HZ)
    soundfile.write(folder / "whole.wav", noise[: 5 * RATE_HZ], RATE_HZ)
    whole = (folder / "whole.wav").read_bytes()
    (folder / "truncated.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "whole.wav").unlink()
    os.mkfifo(folder / "pipe.mp3")
    (folder / "cover.jpg").write_bytes(b"not audio, not rejected, passed over")
    return {
        "empty.wav": "decode",
        "text.mp3": "decode",
        "broken.flac": "decode",
        "gone.ogg": "open",
        "silent.wav": "content",
        "short.wav": "content",
        "truncated.wav": "content",
        "pipe.mp3": "open",
    }


@pytest.fixture(scope="session")
def library_zip(tmp_path_factory) -> Path:
    """The archive that `make zip` builds."""
    root = tmp_path_factory.mktemp("zip")
    shutil.copytree(
        ROOT / "sonic_lib", root / "sonic_lib", ignore=shutil.ignore_patterns("__pycache__")
    )
    return Path(shutil.make_archive(str(root / "library"), "zip", root, "sonic_lib"))


class Submit:
    """The real spark-submit, run from a folder without sonic_lib, with code generation on.

    Attributes
    ----------
    command : list of str
        The words before the job, without a master.
    environment : dict
    """

    def __init__(self, library: Path) -> None:
        self.command = [
            *[str(SPARK_HOME / "bin" / "spark-submit"), "--py-files", str(library)],
            *["--jars", ",".join(delta_jars())],
            *["--conf", "spark.sql.shuffle.partitions=4", "--conf", "spark.ui.enabled=false"],
            *["--conf", "spark.databricks.delta.snapshotPartitions=2"],
        ]
        self.environment = submit_environment() | {"JAVA_TOOL_OPTIONS": QUICK_JAVA}
        self.environment.pop("PYTHONPATH", None)
        self._folder = library.parent

    def __call__(
        self, job: str, *arguments: object, master: str = "local[2]", options: Sequence[str] = ()
    ) -> subprocess.CompletedProcess:
        """Run a job to its end."""
        before = [*self.command, "--master", master, *options]
        return subprocess.run(
            [*before, ROOT / "jobs" / job, *map(str, arguments)],
            env=self.environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="session")
def submit(library_zip) -> Submit:
    return Submit(library_zip)


class InProcess:
    """Runs a job's own script in this process, on the shared Spark session."""

    def __call__(self, job: str, *arguments: object) -> subprocess.CompletedProcess:
        """Run a job to its end; the result is like that of `Submit`."""
        words = [str(ROOT / "jobs" / job), *map(str, arguments)]
        output, errors = io.StringIO(), io.StringIO()
        code = None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", words)
            try:
                with redirect_stdout(output), redirect_stderr(errors):
                    runpy.run_path(words[0], run_name="__main__")
            except SystemExit as ended:
                code = ended.code
        return subprocess.CompletedProcess(words, code, output.getvalue(), errors.getvalue())


@pytest.fixture(scope="session")
def run_job(_spark_session) -> InProcess:
    return InProcess()


# Short runs do not earn back what Java and Spark compile, and jars with verified checksums need no
# bytecode verification. With C1 only, the code cache would be 48 MB, which Spark fills within two
# minutes; after that nothing more would be compiled.
QUICK_JAVA = (
    "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC "
    # Java warns on stdout, as of a young generation larger than the machine's default heap.
    "-XX:MetaspaceSize=300m -Xmn400m -Xlog:disable -Xlog:all=warning:stderr "
    "-XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
)
INTERPRETED = (
    "-Dspark.sql.codegen.wholeStage=false -Dspark.sql.codegen.factoryMode=NO_CODEGEN "
    "-Dspark.sql.adaptive.enabled=false -Dspark.databricks.delta.snapshotPartitions=1"
)


def submit_environment() -> dict[str, str]:
    """Environment variables from README.md, and settings that make short runs fast."""
    return {
        **os.environ,
        "SPARK_CONF_DIR": str(ROOT / "conf"),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "JAVA_TOOL_OPTIONS": f"{QUICK_JAVA} {INTERPRETED}",
    }


@pytest.fixture(scope="session")
def new_tables(tmp_path_factory, _spark_session) -> str:
    """A warehouse of empty tables; copying it is faster than creating one."""
    warehouse = str(tmp_path_factory.mktemp("new"))
    params = FingerprintConfig().params()
    creation.create(_spark_session, warehouse, params=params, prefix_bits=4)
    return warehouse


@pytest.fixture(scope="session")
def indexed(collection, run_job, new_tables, tmp_path_factory) -> tuple[str, str]:
    """A warehouse that holds the collection, and the output of the job."""
    place = tmp_path_factory.mktemp("lake") / "ware house"
    warehouse = shutil.copytree(new_tables, place).as_posix()
    done = run_job("index_songs.py", collection.folder, "--warehouse", warehouse)
    assert done.returncode == 0, done.stderr
    return warehouse, done.stdout


def assert_songs_are_whole(spark: SparkSession, warehouse: str) -> None:
    """Assert that no reader sees part of a song; all rows of a removed song disappear at once.

    A song may be stored twice for a moment while two jobs add it.
    """
    counts = invariants.song_counts(
        tables.read(spark, warehouse, FINGERPRINTS), songs=tables.read(spark, warehouse, SONGS)
    )
    parts = counts.filter("n_found % nullif(n_expected, 0) != 0").collect()
    assert parts == []


@contextmanager
def readers(spark: SparkSession, lake: str) -> Iterator[None]:
    """Read the index continuously; raise what a reader met at the end."""
    met: list[BaseException] = []
    is_over = threading.Event()

    def read() -> None:
        while not (is_over.wait(0.2) or met):
            try:
                assert_songs_are_whole(spark, lake)
            except BaseException as error:
                met.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    for error in met:
        raise error


def contents(spark: SparkSession, warehouse: str) -> dict[str, list[tuple]]:
    """Every row of the index, without values that differ between runs."""

    def rows(table: Table, *dropped: str) -> list[tuple]:
        frame = tables.read(spark, warehouse, table).drop(*dropped)
        return sorted(map(tuple, frame.collect()), key=repr)

    return {
        "songs": rows(SONGS, "run_id", "indexed_at"),
        "song_files": rows(SONG_FILES, "run_id", "seen_at"),
        "fingerprints": rows(FINGERPRINTS),
    }


def versions(warehouse: str) -> dict[str, int]:
    """The number of commits of each table of the index."""
    return {
        table.name: len(list(Path(warehouse, table.name, "_delta_log").glob("*.json")))
        for table in (SONGS, SONG_FILES, FINGERPRINTS)
    }
