"""Build the SparkSession; no other module does.

Under `spark-submit`, in a pyspark shell or on Databricks, the session is not ours: its resources,
master and jars are left alone. Anywhere else, a local Spark is started in this process, with
Delta's jars and little logging.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from sonic_lib.errors import SetupError
from sonic_lib.spark import java
from sonic_lib.spark.conf import (
    CATALOG,
    DELTA_EXTENSION,
    EXTENSIONS,
    JAVA_OPTIONS,
    SHARED_CONF,
    embedded_conf,
)
from sonic_lib.spark.jars import COORDINATES, S3_COORDINATES

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

_JOB_GROUP = "spark.jobGroup.id"
_n_interrupts = 0
_PLANNED_WITHIN_S = 120


def spark_session(
    *,
    app_name: str,
    master: str | None = None,
    conf: Mapping[str, str] | None = None,
    has_light_java: bool = False,
    with_s3: bool = False,
    stores_classes: bool = False,
) -> SparkSession:
    """Return the running session, or build one that fits how this process was started.

    Ctrl-C then cancels its jobs; see `interrupt`.

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
            ours = embedded_conf(
                has_light_java=has_light_java, with_s3=with_s3, stores_classes=stores_classes
            )
            _start_embedded(app_name, master or "local[*]", {**SHARED_CONF, **ours, **(conf or {})})
    with java.reporting_exit(SparkContext._gateway):
        spark = SparkSession.builder.getOrCreate()
        cancel_jobs_on_interrupt()
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
    with_s3: bool = False,
) -> Iterator[SparkSession]:
    """Provide a session for a `with` block; stop it afterwards unless it was already running.

    Parameters
    ----------
    app_name, master, conf, has_light_java, with_s3
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
        with_s3=with_s3,
        stores_classes=JAVA_OPTIONS not in (conf or {}),
    )
    if borrowed:
        yield spark
        return
    gateway = spark.sparkContext._gateway
    options = spark.conf.get(JAVA_OPTIONS, "")
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


def cancel_jobs_on_interrupt() -> None:
    """Have Ctrl-C call `interrupt`, instead of Python's or PySpark's handler; others stay.

    Also puts the jobs of the main thread into a group, by which `interrupt` cancels them.
    Jupyter sets Python's again for each cell.  SIGTERM does the same where it has been set to act
    like Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        is_of_pyspark = getattr(handler, "__module__", "").startswith("pyspark.")
        if is_of_pyspark or handler is signal.default_int_handler:
            signal.signal(number, interrupt)
    context = _active_context()
    if context is not None:
        _group_jobs(context)


def interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    """Cancel all jobs and raise KeyboardInterrupt; a handler of signals.

    The session stays usable for whatever cleans up.  PySpark's own handler calls Java over a
    connection on which an answer may be awaited: it prints tracebacks, and may cancel nothing.
    With Python's, Py4J has Java close that connection, and Java may close the next one as well.
    Neither happens if the connection is closed before.

    A query that Java is still planning has no job to cancel yet; it starts one later, which might
    take all cores forever.  The group of this thread's jobs is therefore cancelled for some time.
    """
    global _n_interrupts
    try:
        context = _active_context()
        if context is not None:
            connection = context._gateway._gateway_client.get_thread_connection()
            if connection is not None:
                connection.close()
            context.cancelAllJobs()
            planned = (context, context._jsc.sc(), _job_group())
            threading.Thread(target=_keep_cancelled, args=planned, daemon=True).start()
            _n_interrupts += 1
            _group_jobs(context)
    finally:
        raise KeyboardInterrupt


def _job_group() -> str:
    return f"sonic-{_n_interrupts}"


def _group_jobs(context: SparkContext) -> None:
    """Put this thread's jobs into a group that `interrupt` can cancel; a user's own group stays."""
    from py4j.protocol import Py4JError

    with suppress(Py4JError, OSError):  # Java has ended, which the next query reports
        if context.getLocalProperty(_JOB_GROUP) is None:
            context.setLocalProperty(_JOB_GROUP, _job_group())


def _keep_cancelled(context: SparkContext, scala_context: Any, group: str) -> None:
    """Cancel jobs of a group that start while Java may still be planning the interrupted query.

    Once is not enough: Spark forgets that a group is cancelled for the stages that adaptive
    execution submits one by one.
    """
    from py4j.protocol import Py4JError

    end_s = time.monotonic() + _PLANNED_WITHIN_S
    with suppress(Py4JError, OSError):  # the context has been stopped
        while _active_context() is context and time.monotonic() < end_s:
            scala_context.cancelJobGroupAndFutureJobs(group)
            time.sleep(0.5)


def _active_context() -> SparkContext | None:
    pyspark = sys.modules.get("pyspark")
    return None if pyspark is None else pyspark.SparkContext._active_spark_context


def is_running() -> bool:
    """Whether this is a spark-submit job, or a process with a session."""
    return "PYSPARK_GATEWAY_PORT" in os.environ or _active_context() is not None


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
    extensions = conf.get(EXTENSIONS)
    if DELTA_EXTENSION not in extensions:
        conf.set(EXTENSIONS, f"{extensions},{DELTA_EXTENSION}")
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


def _check_delta(spark: SparkSession) -> None:
    """Check that the session can use Delta tables; the error says how to start one that can."""
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:  # Delta is built in, under other names
        return
    missing = []
    if not _has_class(spark, DELTA_EXTENSION):
        missing.append(f"--packages {COORDINATES}")
    if DELTA_EXTENSION not in spark.conf.get(EXTENSIONS, ""):
        missing.append(f"--conf {EXTENSIONS}={DELTA_EXTENSION}")
    if not spark.conf.get(CATALOG, ""):
        missing.append(f"--conf {CATALOG}={SHARED_CONF[CATALOG]}")
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
