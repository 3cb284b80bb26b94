"""Sessions in separate processes: started here, by spark-submit, and without Delta."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyspark
import pytest

from sonic_lib.spark.jars import delta_jars

ROOT = Path(__file__).parents[2]
SPARK_HOME = Path(pyspark.__file__).parent

# Scripts for separate processes, since a process has one session.
WRITE_AND_READ = """
import os, sys
from sonic_lib.spark.session import spark_job
with spark_job(app_name="from outside") as spark:
    spark.sql(f"CREATE TABLE t USING delta LOCATION '{sys.argv[1]}' AS SELECT id FROM range(7)")
    threads = spark.range(1).rdd.map(lambda _: os.environ["OMP_NUM_THREADS"]).first()
    print(spark.table("t").count(), threads, spark.conf.get("spark.master"))
"""
WITHOUT_DELTA = """
from pyspark.sql import SparkSession
from sonic_lib.errors import SetupError
from sonic_lib.spark.session import spark_session
SparkSession.builder.master("local[1]").getOrCreate()
try:
    spark_session(app_name="too late")
except SetupError as error:
    print(error)
"""


KILL_JAVA = """
import os, signal
from sonic_lib.errors import SetupError
from sonic_lib.spark.session import spark_job
for _ in range(2):  # a later session of the process starts another
    try:
        with spark_job(app_name="killed") as spark:
            print(spark.range(3).count())
            os.kill(spark.sparkContext._gateway.proc.pid, signal.SIGKILL)
            spark.range(3).count()
    except SetupError as error:
        print(error)
"""

INTERRUPT = """
import logging, os, signal, threading
from sonic_lib.spark.session import cancel_jobs_on_interrupt, setting, spark_job
logging.getLogger("py4j").setLevel(logging.CRITICAL)
endless = [f"sum(hash(id + {n}))" for n in range(100)]  # Spark plans it for a second, at first
n_interrupts = n_rows = 0
with spark_job(app_name="interrupted") as spark:
    for after_s in 5 * [0.2, 0.4, 0.8, 2]:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as Jupyter does
        cancel_jobs_on_interrupt()
        threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            with setting(spark, {"spark.sql.shuffle.partitions": "3"}):
                spark.range(10_000_000_000_000).selectExpr(*endless).collect()
        except KeyboardInterrupt:
            n_interrupts += 1
        n_rows += spark.range(3).count()
print(n_interrupts, n_rows)
"""

FAIL = """
from sonic_lib.spark.session import spark_job
try:
    with spark_job(app_name="fails"):
        raise ValueError("our own")
except ValueError as error:
    print(error)
"""


def run(command, folder, **env):
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable, **env}
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=True, timeout=300
    )


def test_embedded_spark_is_quiet_and_tidy(tmp_path):
    folder, cache = tmp_path / "work", tmp_path / "cache"
    folder.mkdir()
    env = {"SONIC_CACHE": str(cache), "SONIC_JARS": str(Path(delta_jars()[0]).parent)}
    messages = []
    for name in ("first", "second"):
        done = run([sys.executable, "-c", WRITE_AND_READ, str(folder / name)], folder, **env)
        assert done.stdout == "7 1 local[*]\n"
        messages.append(done.stderr)
    assert messages == ["storing Java's classes for quicker starts (this once) ...\n", ""]
    assert sorted(os.listdir(folder)) == ["first", "second"]
    (archive,) = cache.iterdir()
    assert archive.suffix == ".jsa"


def test_error_of_the_first_start_is_not_taken_for_the_end_of_java(tmp_path):
    env = {"SONIC_CACHE": str(tmp_path / "cache"), "SONIC_JARS": str(Path(delta_jars()[0]).parent)}
    done = run([sys.executable, "-c", FAIL], tmp_path, **env)
    assert done.stdout == "our own\n"
    assert done.stderr == "storing Java's classes for quicker starts (this once) ...\n"


def submit(folder, conf):
    (folder / "job.py").write_text(WRITE_AND_READ)
    command = [str(SPARK_HOME / "bin" / "spark-submit"), "--master", "local[1]"]
    command += ["--conf", "spark.databricks.delta.snapshotPartitions=2"]
    command += ["--jars", ",".join(delta_jars()), "job.py", str(folder / "table")]
    return run(command, folder, SPARK_CONF_DIR=str(conf))


def test_submitted_session_keeps_its_master_and_gains_delta(tmp_path):
    assert submit(tmp_path, conf=tmp_path).stdout == "7 1 local[1]\n"


def test_conf_folder_works_with_spark_submit_and_keeps_it_quiet(tmp_path):
    done = submit(tmp_path, conf=ROOT / "conf")
    assert done.stdout == "7 1 local[1]\n"
    # Java's own messages come before Spark's settings are read.
    assert [line for line in done.stderr.splitlines() if not line.startswith("WARNING: ")] == []


def test_session_without_delta_says_how_to_start_with_it(tmp_path):
    message = run([sys.executable, "-c", WITHOUT_DELTA], tmp_path).stdout
    assert "--packages io.delta:delta-spark_" in message
    assert "--conf spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension" in message


def interruptible(command, **options):
    """Start a process that Ctrl-C ends, also if tests run in the background, which ignores it."""

    def heed_interrupts():
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(command, cwd=ROOT, preexec_fn=heed_interrupts, **options)


@pytest.mark.parametrize(("end", "after_s"), [(signal.SIGINT, 20), (signal.SIGTERM, 10)])
def test_interrupted_command_says_so_in_one_line(tmp_path, end, after_s):
    endless = "SELECT sum(a.id * b.id) FROM range(1000000000) AS a, range(1000000000) AS b"
    words = ["sql", endless, "--warehouse", str(tmp_path / "lake")]
    command = [sys.executable, "-m", "sonic_lib.cli.main", *words]
    process = interruptible(command, stderr=subprocess.PIPE, text=True)
    time.sleep(after_s)  # while the query runs; while Spark starts, or later on a slow machine
    process.send_signal(end)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)  # impatiently
    _, told = process.communicate(timeout=60)
    lines = [line for line in told.splitlines() if not line.startswith("storing Java's classes")]
    assert lines == ["sonic: interrupted; run the same command again to continue."]
    assert process.returncode == 130


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_start_leaves_no_java(tmp_path, end):
    (scratch := tmp_path / "scratch").mkdir()  # named in Java's options

    def wait_for_java(*, runs):
        deadline_s = time.monotonic() + 30
        while runs != (str(scratch) in subprocess.check_output(["ps", "-wweo", "args"], text=True)):
            assert time.monotonic() < deadline_s, f"Java {'goes on' if not runs else 'is missing'}"
            time.sleep(0.02)

    words = ["sql", "SELECT 1", "--warehouse", str(tmp_path / "lake")]
    command = [sys.executable, "-m", "sonic_lib.cli.main", *words]
    env = {**os.environ, "TMPDIR": str(scratch)}
    for after_s in (0, 0.2, 0.5, 1):  # PySpark waits for Java, for a second or more
        process = interruptible(command, env=env, stderr=subprocess.DEVNULL)
        wait_for_java(runs=True)
        time.sleep(after_s)
        for _ in range(2):  # impatiently
            process.send_signal(end)
            time.sleep(0.2)
        process.wait(60)
        wait_for_java(runs=False)


def test_session_is_usable_after_an_interrupt(tmp_path):
    assert run([sys.executable, "-c", INTERRUPT], tmp_path).stdout == "20 60\n"


def test_killed_java_is_named_in_one_sentence(tmp_path):
    done = run([sys.executable, "-c", KILL_JAVA], tmp_path)
    lines = done.stdout.splitlines()
    assert lines[::2] == ["3", "3"]
    assert all("Java process was killed, as happens when memory" in line for line in lines[1::2])
    assert len(lines) == 4
