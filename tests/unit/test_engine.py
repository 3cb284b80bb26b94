"""The engine that `sonic identify` chooses; the local one loads no Spark."""

from __future__ import annotations

import gc
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from sonic_lib.audio import sandbox
from sonic_lib.cli.commands import identify
from sonic_lib.config import Config
from sonic_lib.errors import SetupError, TableError, UsageError
from sonic_lib.workflows import local_identification


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "clips").mkdir()
    for i in range(3):
        (tmp_path / "clips" / f"{i}.wav").write_bytes(bytes(100))
    return tmp_path


@pytest.fixture(autouse=True)
def _no_session(monkeypatch):
    """Pretend that no other test of this process has started Spark."""
    monkeypatch.setattr(identify, "is_running", lambda: False)


def run(*words: str) -> int | None:
    parser = ArgumentParser()
    parser.add_argument("--warehouse")
    identify.add_arguments(parser)
    args = parser.parse_args(list(words))
    return identify.run_without_spark(Config(warehouse=args.warehouse), args)


@pytest.mark.parametrize(
    "words",
    [
        ["--engine", "spark", "--warehouse", "lake"],
        ["--warehouse", "s3a://bucket/lake"],
    ],
)
def test_spark_is_used_where_requested_or_required(folder, words):
    assert run(str(folder / "clips"), *words) is None


def test_spark_is_used_if_it_is_running(folder, monkeypatch):
    monkeypatch.setattr(identify, "is_running", lambda: True)
    assert run(str(folder / "clips"), "--warehouse", str(folder)) is None


def test_many_clips_use_spark(folder, monkeypatch):
    monkeypatch.setattr(local_identification, "MAX_S", 2.5 * local_identification.S_PER_CLIP)
    assert run(str(folder / "clips"), "--warehouse", str(folder)) is None


def test_long_clips_use_spark(folder, monkeypatch):
    monkeypatch.setattr(local_identification, "SHORT_BYTES", 0)
    monkeypatch.setattr(local_identification, "S_PER_BYTE", local_identification.MAX_S / 250)
    assert run(str(folder / "clips"), "--warehouse", str(folder)) is None


def test_tables_that_delta_rs_cannot_read_use_spark(folder, monkeypatch):
    def refuse(*_, **__):
        raise SetupError("too new")

    monkeypatch.setattr(local_identification, "open_table", refuse)
    assert run(str(folder / "clips"), "--warehouse", str(folder)) is None
    with pytest.raises(SetupError, match="too new"):
        run(str(folder / "clips"), "--warehouse", str(folder), "--engine", "local")


def test_large_index_uses_spark_and_leaves_no_process(folder, monkeypatch):
    n_fingerprints = round(local_identification.MAX_S / local_identification.S_PER_ROW)
    large = SimpleNamespace(files=SimpleNamespace(n_fingerprints=n_fingerprints))
    monkeypatch.setattr(local_identification, "open_table", lambda *_: None)
    monkeypatch.setattr(local_identification, "open_index", lambda *_, **__: large)
    assert run(str(folder / "clips"), "--warehouse", str(folder)) is None
    assert sandbox._idle == []
    assert gc.isenabled()


def test_missing_index_is_an_error_at_once(folder):
    with pytest.raises(TableError, match="sonic index"):
        run(str(folder / "clips"), "--warehouse", str(folder / "lake"))
    assert not (folder / "lake").exists()


def test_local_engine_reads_no_object_store(folder):
    with pytest.raises(UsageError, match=r"--engine local.* local files only"):
        run("s3a://bucket/clips", "--warehouse", str(folder), "--engine", "local")


def test_local_engine_loads_no_spark():
    code = (
        "import sys, sonic_lib.cli.main, sonic_lib.cli.commands.identify; "
        "import sonic_lib.workflows.local_identification, sonic_lib.workflows.local_engine as r; "
        "r._load(); sys.exit('pyspark' in sys.modules or 'scipy.spatial' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0


@pytest.mark.parametrize("verb", ["index", "sql", "maintain", "remove", "songs", "identify"])
def test_commands_with_nothing_to_do_load_no_kernels(verb):
    heavy = {"numba", "scipy", "pandas", "librosa", "matplotlib", "sklearn"}
    code = f"import sys, sonic_lib.cli.commands.{verb}; sys.exit(str({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"
