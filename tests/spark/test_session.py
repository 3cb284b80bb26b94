from __future__ import annotations

import os
import re
import socket
import struct
import sys
from pathlib import Path

import pyspark
import pytest

from sonic_lib.errors import SetupError
from sonic_lib.spark import caching, conf, session
from sonic_lib.spark.jars import delta_jars
from sonic_lib.spark.java import check_java

ROOT = Path(__file__).parents[2]
SPARK_HOME = Path(pyspark.__file__).parent


def settings(path):
    """Read a properties file, `key = value` or `key value`, without comments."""
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (re.split(r"\s*=\s*|\s+", line, maxsplit=1) for line in lines if line[:1] not in "#")
    return dict(pairs)


def test_conf_folder_matches_the_code(tmp_path):
    assert settings(ROOT / "conf" / "spark-defaults.conf") == conf.SHARED_CONF
    (tmp_path / "log4j2").write_text(conf.LOG4J2)
    assert settings(ROOT / "conf" / "log4j2.properties") == settings(tmp_path / "log4j2")


def test_running_session_is_reused_and_left_running(spark):
    with session.spark_job(app_name="another", master="local[1]") as borrowed:
        assert borrowed is spark
    assert spark.range(3).count() == 3
    assert spark.sparkContext.appName == "tests"


def test_delta_table_is_written_and_read(spark, warehouse):
    path = f"{warehouse}/numbers"
    spark.range(5).write.format("delta").save(path)
    spark.range(5, 8).write.format("delta").mode("append").save(path)
    spark.sql("CREATE DATABASE sonic")
    spark.sql(f"CREATE TABLE sonic.numbers USING delta LOCATION '{path}'")
    assert spark.sql("SELECT sum(id) FROM sonic.numbers").first()[0] == 28
    assert spark.read.format("delta").option("versionAsOf", 0).load(path).count() == 5


def test_no_jar_is_listed_twice():
    def names(jars):
        return {re.sub(r"-\d.*", "", Path(jar).name) for jar in jars}

    assert names(delta_jars()).isdisjoint(names((SPARK_HOME / "jars").glob("*.jar")))


def test_python_heavy_jobs_use_the_first_compiler_only():
    def options(**how):
        given = conf.embedded_conf(with_s3=False, stores_classes=False, **how)
        return given["spark.driver.extraJavaOptions"]

    assert options(has_light_java=True).split()[0].startswith("-Dlog4j2.")
    assert "-XX:TieredStopAtLevel=1" in options(has_light_java=True)
    assert "-XX:TieredStopAtLevel" not in options(has_light_java=False)


@pytest.mark.parametrize(("cores", "is_serial"), [(2, True), (16, False)])
def test_collector_is_serial_on_few_cores(monkeypatch, cores, is_serial):
    monkeypatch.setattr(conf, "n_cores", lambda: cores)
    given = conf.embedded_conf(with_s3=False, stores_classes=False, has_light_java=False)
    assert ("-XX:+UseSerialGC" in given["spark.driver.extraJavaOptions"]) == is_serial


def test_temporary_folder_without_room_is_named(monkeypatch):
    def refuse(**_: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(conf.tempfile, "mkdtemp", refuse)
    with pytest.raises(SetupError, match=r"found in \['/tmp'\]\. Free some space .* TMPDIR"):
        conf.embedded_conf(with_s3=False, stores_classes=False, has_light_java=False)


def test_session_without_s3_says_how_to_start_with_it(spark):
    with pytest.raises(SetupError, match=r"hadoop-aws:.* --jars .*sonic jars --s3"):
        session.spark_session(app_name="too late", with_s3=True)


@pytest.mark.parametrize(
    ("said", "given"),
    [
        ('openjdk version "11.0.2" 2019-01-15', "is version 11.0.2"),
        ('java version "1.8.0_292"', "is version 1.8.0_292"),
        ("no Java runtime present", "was not found or does not run"),
    ],
)
def test_unsuitable_java_is_named(monkeypatch, tmp_path, said, given):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho '{said}' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SetupError, match=f"{re.escape(str(java))} {given}"):
        check_java()


def test_missing_java_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="java was not found"):
        check_java()


def ask_unknown(port: int) -> bytes:
    """Send a remote call like a program without the secret; return the answer."""
    body = b"\0" * 40
    call = b"\3" + struct.pack(">qi", 1, len(body)) + body
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(struct.pack(">q", 8 + len(call)) + call)
        return connection.recv(10_000)


def test_other_users_get_no_answer_and_cannot_read_the_secret(spark):
    assert spark.conf.get("spark.authenticate") == "true"
    assert spark.conf.get("spark.authenticate.secret", None) is None  # it is in no setting
    scratch = Path(spark.conf.get("spark.local.dir"))
    assert scratch.stat().st_mode & 0o777 == 0o700
    assert list(scratch.glob("blockmgr-*"))
    answer = ask_unknown(int(spark.conf.get("spark.driver.port")))
    assert b"sasl" in answer.lower() or b"auth" in answer.lower() or answer == b""


def listening_ports() -> set[int]:
    """Ports on which this process and its children listen: Java's and the Python workers'."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2]
        except OSError:  # it has ended
            continue
        parents[int(folder.name)] = int(stat.split()[1])
    tree = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in tree} - tree:
        tree |= more
    sockets = set()
    for process in tree:
        for name in Path(f"/proc/{process}/fd").glob("*"):
            try:
                sockets.add(os.readlink(name))
            except OSError:
                continue
    ports = set()
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:]:
            (
                _,
                local,
                _,
                state,
                *_,
            ) = line.split()
            if state == "0A" and f"socket:[{line.split()[9]}]" in sockets:
                ports.add(int(local.rpartition(":")[2], 16))
    return ports


# Without the secret: a Py4J call into Java, a Spark RPC to the driver, a wrong secret for a Python
# worker, and an HTTP request.
CALLS = {
    "py4j": b"c\nz:java.lang.System\ngetProperty\nsuser.home\ne\n",
    "worker": struct.pack(">i", 5) + b"wrong" + struct.pack(">i", -1),
    "http": b"GET /jobs/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}

WORKER_REFUSES = struct.pack(">i", 3) + b"err"


@pytest.mark.skipif(sys.platform != "linux", reason="ports are looked up in /proc")
def test_no_port_answers_without_the_secret(spark):
    spark.range(4).mapInPandas(lambda parts: parts, "id long").collect()  # Python workers listen
    gateway = spark.sparkContext._gateway.gateway_parameters.port
    env = spark._jvm.org.apache.spark.SparkEnv.get()
    blocks = env.blockManager().blockManagerId().port()
    driver = int(spark.conf.get("spark.driver.port"))
    ports = listening_ports()
    assert {gateway, driver} <= ports
    home = os.path.expanduser("~").encode()
    for port in sorted(ports | {blocks}):
        for kind, call in CALLS.items():
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                try:
                    connection.sendall(call)
                    answer = connection.recv(10_000)
                except (TimeoutError, ConnectionError):
                    continue
            assert not answer.startswith(b"!y"), (kind, port)
            assert home not in answer, (kind, port)
            assert b"200 OK" not in answer, (kind, port)
            if kind == "worker" and answer[4:] and port not in (gateway, driver, blocks):
                # The word with its length, after the process number of a worker started for it.
                assert answer in (WORKER_REFUSES, answer[:4] + WORKER_REFUSES), (port, answer)
    answer = ask_unknown(blocks)
    assert b"sasl" in answer.lower() or b"auth" in answer.lower() or answer == b""


def test_frames_are_uncached_at_the_end_of_their_scope(spark):
    def is_cached(frame):
        return frame.storageLevel.useMemory

    with caching.cache_scope():
        outer = caching.cached(spark.range(3))
        with caching.cache_scope():
            inner = caching.cached(spark.range(4))
            assert is_cached(inner)
        assert not is_cached(inner)
        assert is_cached(outer)
    assert not is_cached(outer)
    alone = caching.cached(spark.range(5))
    assert is_cached(alone)
    alone.unpersist()
