"""The Java of the embedded Spark: check it, start it, and make later starts quicker.

A short Spark job spends a third of its time on loading and verifying some 20,000 classes.  The
first job of a machine stores them when it ends, by Java's class-data sharing (JEP 350), and later
ones map that archive into their memory.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from sonic_lib.errors import SetupError
from sonic_lib.spark.jars import cache_folder
from sonic_lib.spark.messages import printable, without_secrets

if TYPE_CHECKING:  # pyspark is imported late: `make env` calls check_java before it is installed
    from py4j.java_gateway import JavaGateway
    from pyspark import SparkConf

MIN_VERSION = 17

_MIN_FREE_BYTES = 1 << 30  # an archive has 0.2 GB
_MAX_STORING_S = 120
_STARTS_WITHIN_S = 20
_ENDS_WITHIN_S = 2
_OTHER_OPTIONS = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
_PART = ".part-"
_WRITES = re.compile(r"-XX:ArchiveClassesAtExit=(\S+)")
# Spark splits Java's options at spaces and refuses half a pair of quotes; Java splits at colons.
_SPECIAL = re.compile(r"[\s'\"\\:]")
_QUIET = "-Xlog:cds=off -Xlog:cds+dynamic=off"
_NOISE = re.compile(rb"WARNING: |\[\d\d:\d\d:\d\d\] Task \d+ got rank \d+\n")


def check_java() -> str:
    """Check that the Java that Spark will start is recent enough.

    Returns
    -------
    str
        What `java -version` prints.

    Raises
    ------
    SetupError
        If `java` is missing, does not run, or is older than `MIN_VERSION`.
    """
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else "java"
    try:
        output = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    except OSError:
        output = ""
    version = re.search(r'version "((?:1\.)?(\d+)[^"]*)"', output)
    if version and int(version[2]) >= MIN_VERSION:
        return output
    given = f"is version {version[1]}" if version else "was not found or does not run"
    raise SetupError(
        f"Spark needs Java {MIN_VERSION} or newer, but {java} {given}. Install a JDK (Debian and "
        "Ubuntu: the package openjdk-17-jre-headless or newer; macOS: brew install openjdk@21) "
        "and put its bin folder on PATH or name its folder in JAVA_HOME."
    )


def check_spark() -> None:
    """Check that the Spark to be started, which SPARK_HOME may name, is the one of pyspark.

    Raises
    ------
    SetupError
        If it is another version, or no Spark at all.
    """
    import pyspark

    home, version = _spark_home(), pyspark.__version__
    if not any(Path(home, "jars").glob(f"spark-core_*-{version}*.jar")):
        raise SetupError(
            f"There is no Spark {version}, which the Python package pyspark needs, in {home}. "
            "Unset SPARK_HOME, or set it to the folder of that version."
        )


def check_user() -> None:
    """Check that this user has a name, without which Hadoop does not start.

    Raises
    ------
    SetupError
        If there is none, as in a container that runs as an arbitrary user id.
    """
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError as error:
        raise SetupError(
            f"Spark cannot run as the user id {os.geteuid()}, which has no entry in /etc/passwd. "
            "Add one (Spark's images do, by their /opt/entrypoint.sh), or run as another user."
        ) from error


def launch(conf: SparkConf) -> JavaGateway:
    """Start the JVM and forward its stderr, dropping harmless warnings that cannot be disabled.

    Its messages contain URIs and untrusted names, so they are made safe to show like ours.

    At every start, Java warns about Spark's incubator module and about its libraries; XGBoost's
    workers print their rank in every training.

    Raises
    ------
    SetupError
        If it ended at once.
    KeyboardInterrupt
        For Ctrl-C during the start, once the JVM that has then started is ended.
    """
    from pyspark.errors import PySparkRuntimeError
    from pyspark.java_gateway import launch_gateway

    # Java takes the C locale for ASCII, and would miss files with other letters in their paths.
    # Python takes it for UTF-8 (PEP 540).
    if os.environ.get("LC_ALL") in ("C", "POSIX"):
        os.environ["LC_ALL"] = "C.UTF-8"
    reader, writer = os.pipe()

    def forward() -> None:
        with open(reader, "rb") as lines:
            for line in lines:
                if not _NOISE.match(line):
                    os.write(2, _shown(line))

    thread = threading.Thread(target=forward, daemon=True)
    thread.start()
    try:
        with _interrupt_held_back() as was_interrupted:
            gateway = launch_gateway(conf, popen_kwargs={"stderr": writer})
        if was_interrupted():
            gateway.proc.kill()
            raise KeyboardInterrupt
        return gateway
    except PySparkRuntimeError as error:
        raise SetupError(
            "Spark's Java process ended before it was ready; see its messages above. Check that "
            "the machine has enough free memory and that JAVA_HOME is a complete JDK."
        ) from error
    finally:
        os.close(writer)


@contextmanager
def _interrupt_held_back() -> Iterator[Callable[[], bool]]:
    """Record Ctrl-C and SIGTERM during a block; provide whether there was one.

    If PySpark stops waiting for a JVM, that JVM cannot report its port and stays forever.  Only
    a repeated signal ends the wait for a JVM that seems to hang.
    """
    started_s = time.monotonic()
    interrupts: list[int] = []
    handlers: dict[int, Callable] = {}

    def hold(signum: int, frame: FrameType | None) -> None:
        interrupts.append(signum)
        if len(interrupts) > 1 and time.monotonic() > started_s + _STARTS_WITHIN_S:
            handlers[signum](signum, frame)

    if threading.current_thread() is threading.main_thread():
        for signum in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(signum)
            if callable(handler):
                handlers[signum] = handler
                signal.signal(signum, hold)
    try:
        yield lambda: bool(interrupts)
    finally:
        for held, handler in handlers.items():
            signal.signal(held, handler)


def _shown(line: bytes) -> bytes:
    return printable(without_secrets(line.decode("utf-8", "replace"))).encode()


@contextmanager
def reporting_exit(gateway: JavaGateway) -> Iterator[None]:
    """Say so if the JVM has ended, or Ctrl-C was pressed, when a block fails with another error.

    Parameters
    ----------
    gateway : JavaGateway
        From `launch`; nothing is checked for the JVM of spark-submit, which started this process.

    Raises
    ------
    SetupError
        If the JVM has ended.
    KeyboardInterrupt
        If the error came up while the block was ending because of one.
    """
    try:
        yield
    except Exception as error:
        if _came_after_interrupt(error):
            raise KeyboardInterrupt from error
        code = _exit_code(gateway, is_expected=_is_of_connection(error))
        if code is None:
            raise
        forget()
        killed = "was killed, as happens when memory runs out"
        raise SetupError(
            f"Spark's Java process {killed if code == -signal.SIGKILL else f'ended ({code})'}. "
            "Close other programs, or use a machine with more memory, and run the same command "
            "again; it continues where it stopped."
        ) from error


def forget() -> None:
    """Make the next session of this process start another JVM."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None
    SparkSession._instantiatedSession = None


def _exit_code(gateway: JavaGateway, *, is_expected: bool) -> int | None:
    """Return the code with which the JVM ended; wait a little if it is expected to have ended."""
    process = getattr(gateway, "proc", None)
    if process is None:
        return None
    try:
        return process.wait(_ENDS_WITHIN_S if is_expected else 0)
    except subprocess.TimeoutExpired:
        return None


def _came_after_interrupt(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_of_connection(error: BaseException | None) -> bool:
    """Whether an error came from the connection to Java, not from Java."""
    from py4j.protocol import Py4JError, Py4JJavaError

    while error is not None:
        is_of_java = isinstance(error, Py4JJavaError)
        if isinstance(error, (Py4JError, ConnectionError)) and not is_of_java:
            return True
        error = error.__cause__ or error.__context__
    return False


def class_archive(*, java: str, class_path: Sequence[str]) -> Path:
    """Return where the classes of a Java and a class path are archived.

    Parameters
    ----------
    java : str
        From `check_java`.
    class_path : sequence of str
        Folders and jars; those that change get another archive.
    """
    import pyspark

    # Java compares sizes and times itself, and ignores an archive that does not fit.
    version = [line for line in java.splitlines() if not line.startswith("Picked up ")]
    parts = [*version, pyspark.__version__, _spark_home()]
    digest = sha256("\n".join([*parts, *class_path]).encode()).hexdigest()
    return cache_folder() / f"classes-{digest[:16]}.jsa"


def archive_options(archive: Path, *, stores: bool) -> str:
    """Return the options of Java that read an archive of classes, or else write it.

    Parameters
    ----------
    archive : Path
        From `class_archive`.
    stores : bool
        Whether the caller completes a new archive by `end`.
    """
    folder = archive.parent
    if _SPECIAL.search(str(archive)):
        return ""
    if os.path.exists(archive):
        return f"-XX:SharedArchiveFile={archive} {_QUIET}"
    # An archive of a Java without verification, say, is of no use to others.
    if not stores or any(map(os.environ.get, _OTHER_OPTIONS)):
        return ""
    try:
        # Java archives no classes with a folder that is not empty in the class path.
        if any(os.path.isdir(each) and os.listdir(each) for each in _conf_folders()):
            return ""
        folder.mkdir(parents=True, exist_ok=True)
        _remove_partial_archives(folder)
        has_room = shutil.disk_usage(folder).free >= _MIN_FREE_BYTES
    except OSError:
        return ""
    if not has_room or not os.access(folder, os.W_OK):
        return ""
    return f"-XX:ArchiveClassesAtExit={archive}{_PART}{os.getpid()} {_QUIET}"


def end(gateway: JavaGateway, *, options: str) -> None:
    """End a JVM, and complete the archive of its classes if its options say that it writes one.

    Parameters
    ----------
    gateway : JavaGateway
        From `launch`; no SparkContext uses it any more.
    options : str
        Java's options.
    """
    if not (written := _WRITES.search(options)):
        return
    forget()
    gateway.shutdown()
    process = gateway.proc
    sys.stderr.write("storing Java's classes for quicker starts (this once) ...\n")
    process.stdin.close()  # Spark's process ends when its input does
    part = Path(written[1])
    try:
        with suppress(OSError, subprocess.TimeoutExpired):
            # A Java that was killed leaves half an archive, which would slow down all later ones.
            if process.wait(_MAX_STORING_S) == 0:
                os.replace(part, str(part).partition(_PART)[0])
    finally:  # after Ctrl-C, too, which Java does not get
        process.kill()
        part.unlink(missing_ok=True)


def _conf_folders() -> list[str]:
    """Return the folders that Spark puts before its jars in the class path."""
    spark_conf = os.environ.get("SPARK_CONF_DIR") or os.path.join(_spark_home(), "conf")
    return [spark_conf, *filter(None, map(os.environ.get, ("HADOOP_CONF_DIR", "YARN_CONF_DIR")))]


def _spark_home() -> str:
    import pyspark

    return os.environ.get("SPARK_HOME") or os.path.dirname(pyspark.__file__)


def _remove_partial_archives(folder: Path) -> None:
    """Remove what processes left that were killed while writing."""
    for part in folder.glob(f"classes-*{_PART}*"):
        if part.stat().st_mtime < time.time() - 60 * _MAX_STORING_S:
            part.unlink(missing_ok=True)
