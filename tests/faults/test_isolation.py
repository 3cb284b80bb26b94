"""A file may hang or crash the process that decodes it, but nothing else."""

from __future__ import annotations

import io
import os
import pickle
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from sonic_lib.audio import sandbox
from sonic_lib.audio.sandbox import (
    TIMEOUT_S_PER_MB,
    Limits,
    dismiss,
    isolated,
    packed,
    prepare,
)
from sonic_lib.audio.sandbox_process import RowsUnpickler, keys_for
from sonic_lib.audio.spark import row_by_row
from sonic_lib.schemas import EXTRACTS
from tests.faults import decoders

LIMITS = Limits(timeout_s=30.0, memory_mb=256)
IMPATIENT = Limits(timeout_s=1.0, memory_mb=256)


def rows_of(function, *, limits: Limits = LIMITS, size_bytes: int = 0, **options) -> list[dict]:
    path = "/music/a song.mp3"
    rows = isolated(
        packed(function, **options), path, path=path, size_bytes=size_bytes, limits=limits
    )
    return list(rows)


def pid_of_helper() -> int:
    return rows_of(decoders.good)[0]["pid"]


def assert_rejected(row: dict, *words: str) -> None:
    assert set(row) == {"path", "stage", "error"}
    assert (row["path"], row["stage"]) == ("/music/a song.mp3", "decode")
    for word in words:
        assert word in row["error"]


def test_rows_are_returned_unchanged_from_one_helper():
    rows = rows_of(decoders.good, n_rows=3)
    assert [row["row"] for row in rows] == [0, 1, 2]
    assert {row["pid"] for row in rows} == {pid_of_helper()}
    assert os.getpid() != pid_of_helper()


def test_options_are_passed_per_file():
    work = packed(decoders.good)
    rows = list(isolated(work, "x", path="x", size_bytes=0, limits=LIMITS, n_rows=2))
    assert len(rows) == 2


def test_hanging_decoder_is_stopped_and_next_file_is_read():
    before = pid_of_helper()
    first, closing = rows_of(decoders.hangs, limits=IMPATIENT)
    assert first["row"] == 0
    assert_rejected(closing, "after 1 s", "index.file_timeout_s")
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    assert pid_of_helper() != before


@pytest.mark.parametrize(
    ("function", "words"), [(decoders.aborts, "signal 6"), (decoders.exits, "exit status 3")]
)
def test_crashing_decoder_costs_one_file(function, words):
    before = pid_of_helper()
    (closing,) = rows_of(function)
    assert_rejected(closing, "its decoder crashed", words)
    assert pid_of_helper() != before


def test_rows_before_a_crash_are_returned_once():
    pid_of_helper()  # Use a helper that has read a file before, which could have caused the crash.
    *rows, closing = rows_of(decoders.aborts, n_rows=3)
    assert [row["row"] for row in rows] == [0, 1, 2]
    assert_rejected(closing, "crashed")


def test_file_is_not_blamed_for_damage_by_the_previous_one():
    assert len(rows_of(decoders.spoils)) == 3
    rows = rows_of(decoders.spoils)
    assert [row.get("row") for row in rows] == [0, 1, 2]


def test_modules_in_the_current_folder_are_not_taken_for_pythons(tmp_path, monkeypatch):
    (tmp_path / "tempfile.py").write_text("raise SystemExit('not me')")
    monkeypatch.chdir(tmp_path)
    dismiss()  # an idle helper has loaded its modules
    assert len(rows_of(decoders.good, n_rows=3)) == 3


def test_helper_killed_while_idle_is_replaced():
    os.kill(pid_of_helper(), signal.SIGKILL)
    time.sleep(0.1)
    assert len(rows_of(decoders.good, n_rows=2)) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory")
def test_memory_limit_applies_to_each_file_separately():
    before = pid_of_helper()
    for _ in range(3):
        assert rows_of(decoders.hoards, megabytes=200)[0]["bytes"] == 200 << 20
        (closing,) = rows_of(decoders.hoards, megabytes=400)
        assert_rejected(closing, "needs more memory than index.file_memory_mb")
    assert pid_of_helper() == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory")
def test_preparation_is_not_limited_by_the_previous_file():
    assert len(rows_of(decoders.good)) == 1
    dismiss()  # an idle helper would not be prepared again
    prepare(packed(decoders.keeps, megabytes=400))
    assert rows_of(decoders.kept)[0]["bytes"] == 400 << 20
    dismiss()


def test_unexpected_error_rejects_the_file():
    before = pid_of_helper()
    row, closing = rows_of(decoders.raises)
    assert "error" not in row
    assert_rejected(closing, "KeyError", "odd")
    assert pid_of_helper() == before


def test_time_spent_by_the_receiver_does_not_count():
    work = packed(decoders.slow, n_rows=4, pause_s=0.1)
    rows = isolated(work, "x", path="x", size_bytes=0, limits=IMPATIENT)
    seen = []
    for row in rows:
        time.sleep(0.4)
        seen.append(row["row"])
    assert seen == [0, 1, 2, 3]


def test_time_between_rows_adds_up():
    *rows, closing = rows_of(decoders.slow, limits=IMPATIENT, n_rows=100, pause_s=0.1)
    assert len(rows) < 12
    assert_rejected(closing, "not done after 1 s")


def test_large_files_have_more_time():
    assert Limits(timeout_s=60).seconds_for(30_000_000) == 60 + 30 * TIMEOUT_S_PER_MB


def test_unread_rows_do_not_reach_the_next_file():
    rows = isolated(packed(decoders.good, n_rows=9), "x", path="x", size_bytes=0, limits=LIMITS)
    next(rows)
    rows.close()
    assert [row["row"] for row in rows_of(decoders.good, n_rows=2)] == [0, 1]


def test_helper_works_after_preparation_whatever_its_result():
    for work in (packed(decoders.loads), b"cno_such\nmodule\n.", packed(os._exit, status=3)):
        dismiss()
        prepare(work)
        assert rows_of(decoders.good)
    before = pid_of_helper()
    dismiss()
    dismiss()
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)


def test_helpers_do_not_pile_up():
    dismiss()
    for _ in range(3):
        prepare(packed(decoders.loads))
    assert len(sandbox._idle) == 1
    before = pid_of_helper()
    prepare(packed(decoders.loads))
    assert pid_of_helper() == before


def test_broken_installation_is_not_blamed_on_the_file(monkeypatch):
    with pytest.raises(RuntimeError, match=r"could not load its work.*no_such"):
        list(isolated(b"cno_such\nmodule\n.", "x", path="x", size_bytes=0, limits=LIMITS))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="could not start: exit status 1"):
        rows_of(decoders.good)
    monkeypatch.undo()
    assert rows_of(decoders.good)


def test_helper_ends_with_its_parent():
    code = (
        "import os; from tests.faults.test_isolation import pid_of_helper; "
        "print(pid_of_helper(), flush=True); os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    helper = int(done.stdout)
    for _ in range(100):
        if not is_alive(helper):
            return
        time.sleep(0.1)
    pytest.fail("the helper lives on")


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        os.kill(pid, 0)
        # In a container orphans may never be reaped.
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_compromised_decoder_runs_nothing_in_the_worker(tmp_path):
    mark = tmp_path / "ran"
    (closing,) = rows_of(decoders.takes_over, mark=str(mark))
    assert_rejected(closing, "other than rows", "open")
    assert not mark.exists()
    assert len(rows_of(decoders.good, n_rows=2)) == 2


def called(module: str, name: str, *arguments: object) -> bytes:
    """A pickle that calls a name in a module, which may be dotted."""
    texts = (b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name))
    return b"\x80\x04" + b"".join(texts) + b"\x93" + pickle.dumps(arguments, 4)[2:-1] + b"R."


@pytest.mark.parametrize("module", ["datetime", "numpy", "numpy.core.multiarray", "builtins", "os"])
@pytest.mark.parametrize(
    "name", ["__loader__.set_data", "datetime.__class__", "sys.modules.get", "dtype.type", "open"]
)
def test_rows_are_unpickled_from_allowed_names_only(tmp_path, module, name):
    mark = tmp_path / "ran"
    with pytest.raises(pickle.UnpicklingError):
        RowsUnpickler(io.BytesIO(called(module, name, str(mark), b"x"))).load()
    assert not mark.exists()


def framed(content: bytes) -> bytes:
    """A message as `multiprocessing.connection` sends it."""
    return struct.pack("!i", len(content)) + content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        *map(pickle.dumps, (5, ["row", {}], ("row", {}, 1), ("row", [1]), ("row", {1: 2}))),
        *map(pickle.dumps, (("dance", None), ("end", 1), ("failed", None), ([], {}))),
        pickle.dumps(("started", None)),
        pickle.dumps(("unloadable", "the fault of the machine")),
        called("numpy", "dtype", "no such type"),
        called("numpy", "ndarray", (1 << 60,)),
        called("numpy", "scalar"),
    ],
)
def test_messages_of_a_compromised_decoder_cost_one_file(content):
    (closing,) = rows_of(decoders.sends, raw=framed(content))
    assert_rejected(closing, "other than rows")
    assert len(rows_of(decoders.good, n_rows=2)) == 2


def test_long_message_is_not_read():
    (closing,) = rows_of(decoders.sends, raw=struct.pack("!iQ", -1, 1 << 40) + b"x" * 100)
    assert_rejected(closing, "other than rows", "more than 256 MB")


@pytest.mark.parametrize("forks", [False, True])
def test_half_a_message_is_not_waited_for(forks):
    started_s = time.monotonic()
    raw = framed(b"x" * 100)[:50]
    (closing,) = rows_of(decoders.sends, limits=IMPATIENT, raw=raw, forks=forks)
    assert_rejected(closing, "not done after 1 s")
    assert time.monotonic() - started_s < 10


def test_helper_gets_credentials_only_to_read_a_storage(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sesame")
    monkeypatch.setenv("MY_TOKEN", "sesame")
    dismiss()
    (row,) = rows_of(decoders.tells_variables)
    assert not {"AWS_SECRET_ACCESS_KEY", "MY_TOKEN"} & set(row["names"])
    assert row["array"].tolist() == [0, 1, 2]
    work = packed(decoders.tells_variables)
    (row,) = isolated(work, "x", path="s3a://b/x", size_bytes=0, limits=LIMITS)
    assert "AWS_SECRET_ACCESS_KEY" in row["names"]
    assert "MY_TOKEN" not in row["names"]
    (row,) = rows_of(decoders.tells_variables)  # not in the helper that has the key
    assert "AWS_SECRET_ACCESS_KEY" not in row["names"]
    dismiss()


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/music/x", None),
        ("file:///music/x", None),
        ("s3a://b/x", "AWS_"),
        ("gs://b/x", "GOOGLE_"),
        ("abfss://c@a/x", "AZURE_"),
        ("hdfs://h/x", "KRB5"),
    ],
)
def test_each_storage_needs_its_own_credentials_only(path, own):
    secret = {"AWS_", "GOOGLE_", "AZURE_", "KRB5"}
    assert secret & set(keys_for(path)) == ({own} if own else set())


def test_rows_of_other_types_cost_their_own_file_only():
    def rows(file):
        yield {"path": file["path"], "n_fingerprints": 1}
        if file["path"] == "bad":
            yield {"path": "bad", "hashes": [object()]}
            yield {"path": "bad", "n_fingerprints": 2}

    files = pa.RecordBatch.from_pylist(
        [{"path": "bad", "song_id": 7}, {"path": "good", "song_id": 8}]
    )
    found = [row for batch in row_by_row(rows, EXTRACTS)([files]) for row in batch.to_pylist()]
    assert [(row["path"], row["n_fingerprints"], row["stage"]) for row in found] == [
        *[("bad", 1, None), ("bad", None, "decode"), ("good", 1, None)],
    ]
    assert found[1]["song_id"] == 7
    assert found[1]["error"].startswith("its decoder returned values of other types: ")
