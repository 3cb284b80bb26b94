"""Settings of Spark sessions: those that all share, and those of the embedded Spark."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from sonic_lib.errors import SetupError
from sonic_lib.spark import java
from sonic_lib.spark.filesystem import is_small, s3_conf
from sonic_lib.spark.jars import delta_jars, s3_jars
from sonic_lib.spark.machine import memory_bytes, n_cores

JAVA_OPTIONS = "spark.driver.extraJavaOptions"
EXTENSIONS = "spark.sql.extensions"
DELTA_EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
CATALOG = "spark.sql.catalog.spark_catalog"

# Settings for any deployment, without resources; the same as in conf/spark-defaults.conf.
SHARED_CONF = {
    EXTENSIONS: DELTA_EXTENSION,
    CATALOG: "org.apache.spark.sql.delta.catalog.DeltaCatalog",
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
_LIGHT_JAVA = (
    "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m "
    # A short training fills as much anyway.  Java starts with less, and collects it all several
    # times before it takes more, which costs a CPU second.
    "-XX:InitialRAMPercentage=4 -XX:MetaspaceSize=160m"
)
# The serial collector needs half the memory of Java's default, and has little to do, as most work
# is in Python; with many cores, its pauses would stop them all.
_FEW_CORES_JAVA = "-XX:+UseSerialGC"
_FEW_CORES = 4
# Java's own lower case, which `embedded_conf` chooses, depends on the language.
_ENGLISH_JAVA = "-Duser.language=en"
_MIN_MEMORY_MB = 600  # Spark does not start with less than about 500

# For tables whose rows one task can process: tasks without rows take 8 CPU seconds of a training.
_ONE_TASK_CONF = {
    "spark.sql.shuffle.partitions": "1",
    "spark.databricks.delta.snapshotPartitions": "1",
}
# For tables so small that compiling the expressions takes longer than interpreting them.
_INTERPRETED_CONF = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
# Of a CSV file.  Less of a table: it needs fewer bytes, and recommending from it more work per row.
_ONE_TASK_BYTES = 10_000_000
_INTERPRETED_BYTES = 300_000  # some 50,000 numbers
_SHARE_OF_TABLE = 0.25

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


def features_conf(table: str, *, csv: str | None) -> dict[str, str]:
    """Return settings for a command that reads a feature table and nothing else.

    Parameters
    ----------
    table : str
        Path of the table, which need not exist.
    csv : str or None
        Path of the files that replace it first, if any.
    """
    if csv is not None and not os.path.exists(csv):  # a pattern
        return {}
    conf: dict[str, str] = {}
    for most, settings in (
        (_ONE_TASK_BYTES, _ONE_TASK_CONF),
        (_INTERPRETED_BYTES, _INTERPRETED_CONF),
    ):
        fits = is_small(table, max_bytes=int(_SHARE_OF_TABLE * most))
        if fits and (csv is None or is_small(csv, max_bytes=most)):
            conf |= settings
    return conf


def embedded_conf(*, has_light_java: bool, with_s3: bool, stores_classes: bool) -> dict[str, str]:
    """Return settings for an interactive process on one machine.

    Parameters
    ----------
    has_light_java, with_s3, stores_classes : bool
        As in `session.spark_session`.

    Raises
    ------
    SetupError
        If Java or jars are missing, or temporary files cannot be written.
    """
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
    java_options = [f"-Dlog4j2.configurationFile={log4j2.as_uri()}", _ENGLISH_JAVA]
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
        JAVA_OPTIONS: " ".join(java_options),
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
        # Before its first lower case, Spark otherwise tabulates all of Unicode: 1 to 2 CPU seconds.
        # Java's differs only in letters that Unicode has had since 2021.
        "spark.sql.icu.caseMappings.enabled": "false",
        # Keeps spark-warehouse/, metastore_db/ and derby.log out of the current folder.
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": (scratch / "warehouse").as_uri(),
    }


def _driver_memory_mb() -> int:
    """Return half of the memory, at most 8 GiB; Python workers need the rest."""
    return min(max(memory_bytes() // 2**21, _MIN_MEMORY_MB), 8 * 1024)
