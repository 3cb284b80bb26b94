"""Java: its checks, its start, its end, and the archive of its classes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pyspark
import pytest
from pyspark import SparkContext
from pyspark.sql import SparkSession

from sonic_lib.errors import SetupError, SonicError
from sonic_lib.spark import java

VERSION = 'openjdk version "17.0.15" 2025-04-15'


@pytest.fixture
def archive(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SONIC_CACHE", str(tmp_path / "cache"))
    options = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
    for name in (*options, "SPARK_CONF_DIR", "HADOOP_CONF_DIR", "YARN_CONF_DIR"):
        monkeypatch.delenv(name, raising=False)
    return java.class_archive(java=VERSION, class_path=["a.jar"])


def test_each_java_and_class_path_has_its_archive(archive):
    assert archive == java.class_archive(
        java=f"Picked up JAVA_TOOL_OPTIONS: -Xmx1g\n{VERSION}", class_path=["a.jar"]
    )
    others = {
        java.class_archive(java=VERSION, class_path=["b.jar"]),
        java.class_archive(java=VERSION.replace("17", "21"), class_path=["a.jar"]),
    }
    assert len(others | {archive}) == 3


def test_an_archive_is_read_if_there_is_one_and_else_written_if_asked(archive):
    assert java.archive_options(archive, stores=False) == ""
    written = java.archive_options(archive, stores=True)
    assert written.startswith(f"-XX:ArchiveClassesAtExit={archive}.part-{os.getpid()} ")
    archive.touch()
    for stores in (True, False):
        read = java.archive_options(archive, stores=stores)
        assert read.startswith(f"-XX:SharedArchiveFile={archive} ")


def test_another_spark_than_pysparks_is_named(tmp_path, monkeypatch):
    java.check_spark()
    monkeypatch.setenv("SPARK_HOME", str(tmp_path))
    with pytest.raises(SetupError, match=f"There is no Spark 4.* in {tmp_path}"):
        java.check_spark()
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars" / "spark-core_2.12-3.5.1.jar").touch()
    with pytest.raises(SetupError):
        java.check_spark()
    (tmp_path / "jars" / f"spark-core_2.13-{pyspark.__version__}-vendor-1.jar").touch()
    java.check_spark()


def test_java_with_options_of_the_user_writes_no_archive(archive, monkeypatch):
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:-BytecodeVerificationRemote")
    assert java.archive_options(archive, stores=True) == ""


@pytest.mark.parametrize("name", ["SPARK_CONF_DIR", "HADOOP_CONF_DIR", "YARN_CONF_DIR"])
def test_no_archive_is_written_with_a_folder_in_the_class_path(
    archive, tmp_path, monkeypatch, name
):
    monkeypatch.setenv(name, str(tmp_path / "conf"))
    (tmp_path / "conf").mkdir()
    assert java.archive_options(archive, stores=True) != ""
    (tmp_path / "conf" / "core-site.xml").touch()
    assert java.archive_options(archive, stores=True) == ""


def test_unreadable_conf_folder_stops_nothing(archive, tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError

    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    monkeypatch.setattr(java.os, "listdir", refuse)
    assert java.archive_options(archive, stores=True) == ""


def test_without_room_no_archive_is_written(archive, monkeypatch):
    usage = type("usage", (), {"free": 10_000})
    monkeypatch.setattr(java.shutil, "disk_usage", lambda _: usage)
    assert java.archive_options(archive, stores=True) == ""


@pytest.mark.parametrize("folder", ["my cache", "o'brien", 'the "cache"', "a\\b", "a:b"])
def test_no_archive_is_used_below_a_folder_that_options_cannot_name(archive, tmp_path, folder):
    archive = tmp_path / folder / archive.name
    assert java.archive_options(archive, stores=True) == ""
    archive.parent.mkdir()
    archive.touch()
    assert java.archive_options(archive, stores=True) == ""


def test_remains_of_killed_processes_are_removed(archive):
    archive.parent.mkdir(parents=True)
    old, new = (Path(f"{archive}.part-{process}") for process in (1, 2))
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    java.archive_options(archive, stores=True)
    assert not old.exists()
    assert new.exists()


@pytest.fixture
def no_session(monkeypatch) -> None:
    """Forget the Spark of other tests for a while: what is tested here forgets its own."""
    for name in ("_gateway", "_jvm", "_active_spark_context"):
        monkeypatch.setattr(SparkContext, name, None)
    monkeypatch.setattr(SparkSession, "_instantiatedSession", None)


@pytest.mark.parametrize("writes", [True, False])
def test_ending_java_completes_the_archive(archive, writes, no_session):
    archive.parent.mkdir(parents=True)
    options = java.archive_options(archive, stores=True)
    part = options.split()[0].partition("=")[2]
    # Like Spark's Java, it ends when its input does, and only then writes.
    program = "import sys; sys.stdin.read()"
    if writes:
        program += f"; open({part!r}, 'w').write('classes')"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    gateway = type("Gateway", (), {"proc": process, "shutdown": lambda _: None})()
    java.end(gateway, options=options)
    assert archive.exists() == writes
    assert process.poll() is not None
    assert list(archive.parent.glob("*.part-*")) == []


@pytest.mark.parametrize("is_interrupted", [True, False])
def test_archive_of_a_java_that_did_not_end_well_is_removed(
    archive, monkeypatch, no_session, is_interrupted
):
    archive.parent.mkdir(parents=True)
    options = java.archive_options(archive, stores=True)
    part = options.split()[0].partition("=")[2]
    program = f"import sys; sys.stdin.read(); open({part!r}, 'w'); sys.exit(1)"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    gateway = type("Gateway", (), {"proc": process, "shutdown": lambda _: None})()
    if is_interrupted:

        def interrupt(_: float) -> None:
            Path(part).touch()
            raise KeyboardInterrupt

        monkeypatch.setattr(process, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            java.end(gateway, options=options)
        monkeypatch.undo()
        process.wait()
    else:
        java.end(gateway, options=options)
    assert list(archive.parent.iterdir()) == []


def test_java_that_writes_no_archive_goes_on(archive):
    java.end(None, options="-Dlog4j2.configurationFile=x")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was killed, as happens when"),
        ("raise SystemExit(3)", r"ended \(3\)"),
    ],
)
def test_call_to_a_java_that_ended_says_so(program, said, no_session):
    process = subprocess.Popen([sys.executable, "-c", program])
    gateway = type("Gateway", (), {"proc": process})()
    with pytest.raises(SetupError, match=said), java.reporting_exit(gateway):
        raise ConnectionRefusedError


@pytest.mark.parametrize("has_process", [True, False])
def test_errors_of_a_running_java_are_left_alone(has_process):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    gateway = type("Gateway", (), {"proc": process} if has_process else {})()
    with pytest.raises(ValueError, match="ours"), java.reporting_exit(gateway):
        raise ValueError("ours")
    process.communicate(b"\n")


def test_failed_clean_up_does_not_hide_an_interrupt():
    def work():
        try:
            raise KeyboardInterrupt
        finally:
            raise ConnectionError("Answer from Java side is empty")

    def explain():
        try:
            work()
        except ConnectionError as error:
            raise SonicError("explained") from error

    for interrupted in (work, explain):
        with pytest.raises(KeyboardInterrupt), java.reporting_exit(None):
            interrupted()


def test_user_without_a_name_is_told_so(monkeypatch):
    java.check_user()
    monkeypatch.setattr(os, "geteuid", lambda: 987_654_321)
    with pytest.raises(SetupError, match="user id 987654321, which has no entry"):
        java.check_user()


@pytest.mark.parametrize(("given", "used"), [("C", "C.UTF-8"), ("de_DE.UTF-8", "de_DE.UTF-8")])
def test_java_reads_paths_as_python_does(monkeypatch, given, used):
    seen = []
    monkeypatch.setenv("LC_ALL", given)
    monkeypatch.setattr(
        "pyspark.java_gateway.launch_gateway", lambda *_, **__: seen.append(os.environ["LC_ALL"])
    )
    java.launch(None)
    assert seen == [used]


@pytest.fixture
def interruptible():
    """Have Python's handler for SIGINT, which a process in the background lacks."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_java_that_starts_during_an_interrupt_is_ended(monkeypatch, interruptible):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    def launch(conf, popen_kwargs):
        for _ in range(2):  # impatiently
            os.kill(os.getpid(), signal.SIGINT)
        return SimpleNamespace(proc=process)

    monkeypatch.setattr("pyspark.java_gateway.launch_gateway", launch)
    with pytest.raises(KeyboardInterrupt):
        java.launch(None)
    assert process.wait(10) == -signal.SIGKILL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_second_interrupt_ends_a_start_that_hangs(monkeypatch, interruptible):
    def launch(conf, popen_kwargs):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("not interrupted")

    monkeypatch.setattr("pyspark.java_gateway.launch_gateway", launch)
    monkeypatch.setattr(java, "_STARTS_WITHIN_S", 0)
    with pytest.raises(KeyboardInterrupt):
        java.launch(None)


def test_messages_of_java_are_made_safe_to_show(monkeypatch, capfd):
    def launch(conf, popen_kwargs):
        lines = b"WARNING: noise\nat s3a://AK:sesame@b \xc2\x9b31m \x1b[2J \xff \xe5\xa4\x9c\n"
        os.write(popen_kwargs["stderr"], lines)

    monkeypatch.setattr("pyspark.java_gateway.launch_gateway", launch)
    others = {*threading.enumerate()}  # perhaps of a session's Java, which goes on
    java.launch(None)
    for thread in {*threading.enumerate()} - others:
        thread.join()
    assert capfd.readouterr().err == "at s3a://***@b \\x9b31m \\x1b[2J \ufffd 夜\n"
