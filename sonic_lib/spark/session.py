"""Build the SparkSession; no other module does.

Under `spark-submit`, in a pyspark shell or on Databricks, the session is not ours: its resources,
master and jars are left alone. Anywhere else, a local Spark is started in this process, with
Delta's jars and little logging.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sonic_lib.errors import SetupError
from sonic_lib.spark import java
from sonic_lib.spark.filesystem import s3_conf
from sonic_lib.spark.jars import COORDINATES, S3_COORDINATES, delta_jars, s3_jars
from sonic_lib.spark.machine import memory_bytes, n_cores

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_JAVA_OPTIONS = "spark.driver.extraJavaOptions"
_EXTENSIONS = "spark.sql.extensions"
_DELTA_EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
_CATALOG = "spark.sql.catalog.spark_catalog"

# Settings for any deployment, without resources; the same as in conf/spark-defaults.conf.
SHARED_CONF = {
    _EXTENSIONS: _DELTA_EXTENSION,
    _CATALOG: "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.parquet.compression.codec": "zstd",
    # Row groups of about a million fingerprints: a task holds one or two, a lookup reads few rows.
    "spark.hadoop.parquet.block.size": "16777216",
    # By default, Delta sorts by partition again before it writes, and a sort that spills mixes the
    # rows of a partition: the files of large indexes were no longer sorted by hash.
    "spark.sql.maxConcurrentOutputFileWriters": "4",
    # Not INT96, which other readers take for nanoseconds or reject.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # Spark 4 otherwise rejects windows-1252, the encoding of Excel's CSV files.
    "spark.sql.legacy.javaCharsets": "true",
    # A staged song is one row with 20,000 hashes; batches of 4,096 such rows would fill the memory.
    "spark.sql.parquet.enableNestedColumnVectorizedReader": "false",
    "spark.executorEnv.OMP_NUM_THREADS": "1",
    "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
    "spark.executorEnv.NUMBA_NUM_THREADS": "1",
}

# Only Java's first compiler: the second takes a quarter of the CPU time of a short `sonic index`
# and barely finishes before the job. The default code cache is too small for that setting.
_LIGHT_JAVA = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m"
# The serial collector needs half the memory of Java's default, and has little to do, as most work
# is in Python; with many cores, its pauses would stop them all.
_FEW_CORES_JAVA = "-XX:+UseSerialGC"
_FEW_CORES = 4
_MIN_MEMORY_MB = 600  # Spark does not start with less than about 500

# Compiling the expressions of a small training takes 4 CPU seconds, and tasks without rows 2.
_FOR_LITTLE = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.shuffle.partitions": "1",
    "spark.databricks.delta.snapshotPartitions": "1",
}

# The same as conf/log4j2.properties, for installations without conf/.
LOG4J2 = """\
rootLogger.level = error
rootLogger.appenderRef.console.ref = console
logger.spark.name = org.apache.spark
logger.spark.level = error
logger.codegen.name = org.apache.spark.sql.catalyst.expressions.codegen.CodeGenerator
logger.codegen.level = off
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
    has_light_java: bool = False,
    reads_little: bool = False,
    with_s3: bool = False,
    stores_classes: bool = False,
) -> SparkSession:
    """Return the running session, or build one that fits how this process was started.

    Parameters
    ----------
    app_name : str
        The name shown in Spark's pages and logs.
    master : str, optional
        Master of the embedded Spark; by default all cores of this machine.
    conf : mapping of str to str, optional
        Further settings of the embedded Spark, which override ours.
    has_light_java : bool
        Whether the embedded Spark runs Java without its optimising compiler, which makes short
        jobs cheaper, but long ones in Java slower.
    reads_little : bool
        Whether the embedded Spark will read so few rows that one task is enough for them, and
        interpreting expressions is cheaper than compiling them.
    with_s3 : bool
        Whether ``s3a://`` is used; the embedded Spark then gets its jars and settings.
    stores_classes : bool
        Whether the caller ends the embedded Spark with `java.end`, which may store its classes.

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
            ours = _embedded_conf(
                has_light_java=has_light_java, with_s3=with_s3, stores_classes=stores_classes
            )
            ours |= _FOR_LITTLE if reads_little else {}
            _start_embedded(app_name, master or "local[*]", {**SHARED_CONF, **ours, **(conf or {})})
    with java.reporting_exit(SparkContext._gateway):
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
    has_light_java: bool = False,
    reads_little: bool = False,
    with_s3: bool = False,
) -> Iterator[SparkSession]:
    """Provide a session for a `with` block; stop it afterwards unless it was already running.

    Parameters
    ----------
    app_name, master, conf, has_light_java, reads_little, with_s3
        As in `spark_session`.

    Yields
    ------
    SparkSession
        The session.
    """
    from py4j.protocol import Py4JError
    from pyspark import SparkContext

    borrowed = SparkContext._active_spark_context is not None
    spark = spark_session(
        app_name=app_name,
        master=master,
        conf=conf,
        has_light_java=has_light_java,
        reads_little=reads_little,
        with_s3=with_s3,
        stores_classes=not conf,  # which may change Java's options
    )
    if borrowed:
        yield spark
        return
    gateway = spark.sparkContext._gateway
    options = spark.conf.get(_JAVA_OPTIONS, "")
    try:
        with java.reporting_exit(gateway):
            yield spark
    except KeyboardInterrupt:
        with suppress(Py4JError, OSError):
            # Every task that `stop` ends logs errors.
            log4j = gateway.jvm.org.apache.logging.log4j
            log4j.core.config.Configurator.setAllLevels("", log4j.Level.OFF)
        raise
    finally:
        try:
            spark.stop()
        except (Py4JError, OSError):  # Java has ended; the block's own error says more
            java.forget()
        else:
            java.end(gateway, options=options)


def is_running() -> bool:
    """Whether this is a spark-submit job, or a process with a session."""
    pyspark = sys.modules.get("pyspark")
    return "PYSPARK_GATEWAY_PORT" in os.environ or (
        pyspark is not None and pyspark.SparkContext._active_spark_context is not None
    )


@contextmanager
def setting(spark: SparkSession, settings: dict[str, str]) -> Iterator[None]:
    """Set session settings for the duration of a `with` block."""
    before = {name: spark.conf.get(name, None) for name in settings}
    for name, value in settings.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            spark.conf.unset(name) if value is None else spark.conf.set(name, value)


def _start_submitted(app_name: str) -> None:
    """Start the context in spark-submit's JVM, adding only settings that are missing."""
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway

    # The JVM is running already: this connects to it, unless an earlier session did.
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
    from pyspark import SparkConf, SparkContext

    # Driver and workers must use the same Python, even if a virtual environment is not activated.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    conf = SparkConf(loadDefaults=False).setAppName(app_name).setMaster(master)
    conf.setAll(settings.items())
    # Reuse the JVM of an earlier, stopped session of this process.
    gateway = SparkContext._gateway or java.launch(conf)
    with java.reporting_exit(gateway):
        SparkContext(conf=conf, gateway=gateway)


def _embedded_conf(*, has_light_java: bool, with_s3: bool, stores_classes: bool) -> dict[str, str]:
    """Return settings for an interactive process on one machine."""
    version = java.check_java()
    java.check_spark()
    java.check_user()
    jars = delta_jars() + (s3_jars() if with_s3 else [])
    try:
        scratch = Path(tempfile.mkdtemp(prefix="sonic-signature-"))
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
        log4j2 = scratch / "log4j2.properties"
        log4j2.write_text(LOG4J2)
    except OSError as error:
        raise SetupError(
            f"Spark's temporary files cannot be written: {error.strerror}. Free some space there, "
            "or name a folder on another disk in TMPDIR."
        ) from error
    java_options = [f"-Dlog4j2.configurationFile={log4j2.as_uri()}"]
    if has_light_java:
        java_options.append(_LIGHT_JAVA)
    if has_light_java or n_cores() <= _FEW_CORES:
        java_options.append(_FEW_CORES_JAVA)
    archive = java.class_archive(java=version, class_path=jars)
    java_options.append(java.archive_options(archive, stores=stores_classes))
    return {
        **(s3_conf(os.environ) if with_s3 else {}),
        # Not spark.jars, which are copied at each start, and whose classes cannot be archived.
        "spark.driver.extraClassPath": os.pathsep.join(jars),
        "spark.driver.memory": f"{_driver_memory_mb()}m",
        _JAVA_OPTIONS: " ".join(java_options),
        # No other machine needs to connect, and the host's name may not resolve.
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        # Other users of this machine can connect, so Spark requires a secret, which a local Spark
        # generates for each session, in memory only.
        "spark.authenticate": "true",
        # Shuffle files contain the songs' data: keep them in the user's own folder, mode 0700.
        "spark.local.dir": str(scratch),
        # The only executor is in this process. A long silence means that the laptop slept, or that
        # its heartbeat stopped at a half-read accumulator (SPARK-59451); the job need not fail.
        "spark.executor.heartbeatInterval": "100s",
        "spark.storage.blockManagerHeartbeatTimeoutMs": "365d",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # The default of 200 is slow for small data.
        "spark.sql.shuffle.partitions": str(2 * n_cores()),
        "spark.databricks.delta.snapshotPartitions": "2",
        # Keeps spark-warehouse/, metastore_db/ and derby.log out of the current folder.
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": (scratch / "warehouse").as_uri(),
    }


def _driver_memory_mb() -> int:
    """Return half of the memory, at most 8 GiB; Python workers need the rest."""
    return min(max(memory_bytes() // 2**21, _MIN_MEMORY_MB), 8 * 1024)


def _check_delta(spark: SparkSession) -> None:
    """Check that the session can use Delta tables; the error says how to start one that can."""
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:  # Delta is built in, under other names
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
            f"later. Start it again with {' '.join(missing)} (a machine that has the jars can use "
            '--jars "$(python -m sonic_lib.spark.jars)" instead of --packages).'
        )


def _check_s3(spark: SparkSession) -> None:
    """Check that the session can use ``s3a://``; the error says how to start one that can."""
    name = spark._jsc.hadoopConfiguration().get("fs.s3a.impl", "none")
    if "DATABRICKS_RUNTIME_VERSION" in os.environ or _has_class(spark, name):
        return
    raise SetupError(
        "The running Spark session was started without support for s3a://, which cannot be added "
        f"later. Start it again with --packages {S3_COORDINATES[0]} (which includes the whole "
        'SDK), or with --jars "$(sonic jars --s3)" for Delta and only the parts of the SDK that '
        "are needed."
    )


def _has_class(spark: SparkSession, name: str) -> bool:
    try:
        spark._jvm.org.apache.spark.util.Utils.classForName(name, True, False)
    except Exception:  # for whatever reason, the class is unavailable
        return False
    return True
