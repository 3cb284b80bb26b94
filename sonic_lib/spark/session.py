"""The only place that builds a SparkSession.

Under `spark-submit`, in a pyspark shell or on Databricks the session belongs to whoever
started it: resources, master and jars are left alone. Anywhere else a local Spark is started
inside this process, with Delta's jars, quiet and tidy enough for a laptop's terminal.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sonic_lib.errors import SetupError
from sonic_lib.spark.filesystem import s3_conf
from sonic_lib.spark.jars import COORDINATES, S3_COORDINATES, delta_jars, s3_jars

if TYPE_CHECKING:  # pyspark is imported late: `make env` calls check_java before it is installed
    from py4j.java_gateway import JavaGateway
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

MIN_JAVA = 17

_EXTENSIONS = "spark.sql.extensions"
_DELTA_EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
_CATALOG = "spark.sql.catalog.spark_catalog"

# Right everywhere, and no resources: conf/spark-defaults.conf has the same, with the reasons.
SHARED_CONF = {
    _EXTENSIONS: _DELTA_EXTENSION,
    _CATALOG: "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.parquet.compression.codec": "zstd",
    # Row groups of some million fingerprints: a task holds one or two, a lookup reads few rows.
    "spark.hadoop.parquet.block.size": "16777216",
    # Delta would sort by the partition once more before it writes, and that sort, where it spills,
    # mixes rows of one partition: files of large indexes were no longer sorted by hash.
    "spark.sql.maxConcurrentOutputFileWriters": "4",
    # Not INT96, which other readers take for nanoseconds, or not at all.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # Spark 4 refuses to read windows-1252, as Excel writes CSV, without it.
    "spark.sql.legacy.javaCharsets": "true",
    # A staged song is one row of 20,000 hashes; in vectors of 4,096 rows it would fill the memory.
    "spark.sql.parquet.enableNestedColumnVectorizedReader": "false",
    "spark.executorEnv.OMP_NUM_THREADS": "1",
    "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
    "spark.executorEnv.NUMBA_NUM_THREADS": "1",
}

# Java's first compiler only: the second takes a quarter of the CPU time of a short `sonic index`,
# and is hardly done when the job is. Java then sets aside too little room for what is compiled.
# Nor is there enough garbage to collect it by several threads: one does it in half of the memory.
_LIGHT_JAVA = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC"

# The settings of conf/log4j2.properties, for installations that have no conf/.
LOG4J2 = """\
rootLogger.level = error
rootLogger.appenderRef.console.ref = console
logger.spark.name = org.apache.spark
logger.spark.level = error
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n%ex{1}
"""


def spark_session(
    *,
    app_name: str,
    master: str | None = None,
    conf: Mapping[str, str] | None = None,
    is_python_work: bool = False,
    with_s3: bool = False,
) -> SparkSession:
    """Give the running session, or build the one that fits how this process was started.

    Parameters
    ----------
    app_name : str
        The name shown in Spark's pages and logs.
    master : str, optional
        For the embedded Spark only: where it runs, all cores of this machine by default.
    conf : mapping of str to str, optional
        For the embedded Spark only: further Spark settings, stronger than ours.
    is_python_work : bool
        For the embedded Spark only: Python workers do most of the work, and are to have the cores
        that Java's optimising compiler would take.
    with_s3 : bool
        Whether ``s3a://`` is used: the embedded Spark then has what that needs.

    Returns
    -------
    SparkSession
        A session that reads and writes Delta tables.

    Raises
    ------
    SetupError
        If Java or jars are missing, or the running session was started without Delta or S3.
    """
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    if SparkContext._active_spark_context is None:
        if "PYSPARK_GATEWAY_PORT" in os.environ:  # spark-submit's JVM waits for this process
            _start_submitted(app_name)
        else:
            ours = _embedded_conf(is_python_work=is_python_work, with_s3=with_s3)
            _start_embedded(app_name, master or "local[*]", {**SHARED_CONF, **ours, **(conf or {})})
    spark = SparkSession.builder.getOrCreate()
    _check_delta(spark)
    if with_s3:
        _check_s3(spark)
    return spark


@contextmanager
def spark_job(
    *,
    app_name: str,
    master: str | None = None,
    conf: Mapping[str, str] | None = None,
    is_python_work: bool = False,
    with_s3: bool = False,
) -> Iterator[SparkSession]:
    """Lend a session to a `with` block; stop it afterwards unless it was running before.

    Parameters
    ----------
    app_name, master, conf, is_python_work, with_s3
        As in `spark_session`.

    Yields
    ------
    SparkSession
        The session.
    """
    from pyspark import SparkContext

    borrowed = SparkContext._active_spark_context is not None
    spark = spark_session(
        app_name=app_name,
        master=master,
        conf=conf,
        is_python_work=is_python_work,
        with_s3=with_s3,
    )
    try:
        yield spark
    finally:
        if not borrowed:
            spark.stop()


@contextmanager
def setting(spark: SparkSession, settings: dict[str, str]) -> Iterator[None]:
    """Set session settings for the time of a `with` block."""
    before = {name: spark.conf.get(name, None) for name in settings}
    for name, value in settings.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            spark.conf.unset(name) if value is None else spark.conf.set(name, value)


def check_java() -> None:
    """Make sure that the Java which Spark will start is new enough.

    Raises
    ------
    SetupError
        If `java` is missing, does not run, or is older than `MIN_JAVA`.
    """
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else "java"
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    except OSError:
        said = ""
    version = re.search(r'version "((?:1\.)?(\d+)[^"]*)"', said)
    if version and int(version[2]) >= MIN_JAVA:
        return
    given = f"is version {version[1]}" if version else "was not found or does not run"
    raise SetupError(
        f"Spark needs Java {MIN_JAVA} or newer, but {java} {given}. Install a JDK (Debian and "
        "Ubuntu: the package openjdk-17-jre-headless or newer; macOS: brew install openjdk@21) "
        "and put its bin folder on PATH or name its folder in JAVA_HOME."
    )


def _start_submitted(app_name: str) -> None:
    """Start the context in spark-submit's JVM, adding only what the submission left open."""
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway

    # The JVM is there already: this connects, unless an earlier session did.
    gateway = SparkContext._gateway or launch_gateway()
    conf = SparkConf(_jvm=gateway.jvm).setAppName(app_name)
    for key, value in SHARED_CONF.items():
        conf.setIfMissing(key, value)
    extensions = conf.get(_EXTENSIONS)
    if _DELTA_EXTENSION not in extensions:
        conf.set(_EXTENSIONS, f"{extensions},{_DELTA_EXTENSION}")
    SparkContext(conf=conf, gateway=gateway)


def _start_embedded(app_name: str, master: str, settings: Mapping[str, str]) -> None:
    """Start a local Spark inside this process."""
    check_java()
    from pyspark import SparkConf, SparkContext

    # Driver and workers must be one Python, also from a virtual environment not activated.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    conf = SparkConf(loadDefaults=False).setAppName(app_name).setMaster(master)
    conf.setAll(settings.items())
    # A JVM of an earlier session in this process, stopped by now, is used again.
    gateway = SparkContext._gateway or _launch_quietly(conf)
    SparkContext(conf=conf, gateway=gateway)


def _embedded_conf(*, is_python_work: bool, with_s3: bool) -> dict[str, str]:
    """Settings for one process on one machine that a person looks at."""
    scratch = Path(tempfile.mkdtemp(prefix="sonic-signature-"))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    log4j2 = scratch / "log4j2.properties"
    log4j2.write_text(LOG4J2)
    java_options = f"-Dlog4j2.configurationFile={log4j2.as_uri()}"
    return {
        **(s3_conf(os.environ) if with_s3 else {}),
        "spark.jars": ",".join(delta_jars() + (s3_jars() if with_s3 else [])),
        "spark.driver.memory": f"{_driver_memory_mb()}m",
        "spark.driver.extraJavaOptions": f"{java_options} {_LIGHT_JAVA if is_python_work else ''}",
        # Nobody else need reach it, and the host's own name may not resolve.
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        # Others with an account on this machine reach that, too: Spark answers nobody who does not
        # know the secret that a local Spark makes for each session, in memory only.
        "spark.authenticate": "true",
        # Shuffles hold what songs are made of: in a folder that is the user's own, of mode 0700.
        "spark.local.dir": str(scratch),
        # The one executor lives here, too: silent for long, it slept with the laptop, or its
        # heartbeat met a half-read accumulator and ended (SPARK-59451). That is no failed job.
        "spark.executor.heartbeatInterval": "100s",
        "spark.storage.blockManagerHeartbeatTimeoutMs": "365d",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # The default of 200 makes small data crawl.
        "spark.sql.shuffle.partitions": str(2 * (os.cpu_count() or 1)),
        "spark.databricks.delta.snapshotPartitions": "2",
        # Else spark-warehouse/, metastore_db/ and derby.log appear in the current folder.
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": (scratch / "warehouse").as_uri(),
    }


def _driver_memory_mb() -> int:
    """Half of the machine's memory, at most 8 GiB: the Python workers need the rest."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(total // 2**21, 8 * 1024)


_NOISE = re.compile(rb"WARNING: |\[\d\d:\d\d:\d\d\] Task \d+ got rank \d+\n")


def _launch_quietly(conf: SparkConf) -> JavaGateway:
    """Start the JVM with its stderr passed on, except what means nobody and cannot be silenced.

    Spark asks for an incubator module, and newer JDKs dislike what its libraries do: Java says
    so on every start, to the authors of Spark. XGBoost's workers tell each training their rank.
    """
    from pyspark.errors import PySparkRuntimeError
    from pyspark.java_gateway import launch_gateway

    reader, writer = os.pipe()

    def forward() -> None:
        with open(reader, "rb") as lines:
            for line in lines:
                if not _NOISE.match(line):
                    os.write(2, line)

    thread = threading.Thread(target=forward, daemon=True)
    thread.start()
    try:
        return launch_gateway(conf, popen_kwargs={"stderr": writer})
    except PySparkRuntimeError as error:
        raise SetupError(
            "Spark's Java process ended before it was ready; its own words stand above. Check "
            "that the machine has memory to spare and that JAVA_HOME names a complete JDK."
        ) from error
    finally:
        os.close(writer)


def _check_delta(spark: SparkSession) -> None:
    """Make sure that the session can use Delta tables, or say how to start it so."""
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:  # Delta is built in there, under other names
        return
    missing = []
    if not _has_class(spark, _DELTA_EXTENSION):
        missing.append(f"--packages {COORDINATES}")
    if _DELTA_EXTENSION not in spark.conf.get(_EXTENSIONS, ""):
        missing.append(f"--conf {_EXTENSIONS}={_DELTA_EXTENSION}")
    if not spark.conf.get(_CATALOG, ""):
        missing.append(f"--conf {_CATALOG}={SHARED_CONF[_CATALOG]}")
    if missing:
        raise SetupError(
            "The running Spark session was started without Delta Lake, and that cannot be added "
            f"later. Start it again with {' '.join(missing)} (in place of --packages, a machine "
            'that has the jars can say --jars "$(python -m sonic_lib.spark.jars)").'
        )


def _check_s3(spark: SparkSession) -> None:
    """Make sure that the session can use ``s3a://``, or say how to start it so."""
    name = spark._jsc.hadoopConfiguration().get("fs.s3a.impl", "none")
    if "DATABRICKS_RUNTIME_VERSION" in os.environ or _has_class(spark, name):
        return
    raise SetupError(
        "The running Spark session was started without what reads s3a://, and that cannot be "
        f"added later. Start it again with --packages {S3_COORDINATES[0]} (which brings along all "
        'of the SDK), or with --jars "$(sonic jars --s3)" for Delta and the part of the SDK that '
        "is needed."
    )


def _has_class(spark: SparkSession, name: str) -> bool:
    try:
        spark._jvm.org.apache.spark.util.Utils.classForName(name, True, False)
    except Exception:  # whatever the JVM's reason: the class cannot be had
        return False
    return True
