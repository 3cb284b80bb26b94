"""Locks, so that one writer at a time commits to a table in a local folder, with either engine.

Delta's commit needs an atomic "create if absent".  For local folders neither Delta nor Hadoop has
one: they check, write a temporary file and rename it, and the rename overwrites a commit made in
between.  So each of our commits, including the check, holds a POSIX lock (fcntl) on the table.

The process that renames holds the lock: Java for Spark, Python for delta-rs.  The lock is released
when that process ends, however it dies.  Readers take no lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonic_lib.console import remark
from sonic_lib.errors import SonicError
from sonic_lib.spark.filesystem import hadoop_path
from sonic_lib.spark.uris import absolute, is_local

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDER = "_locks"
_PAUSE_S = 0.02
_NOTIFY_AFTER_S = 10.0
_LOOK_EVERY_S = 1.0
# A POSIX lock belongs to a process; these serialise the threads within it.
_turns: dict[str, threading.Lock] = {}
# Java locks of interrupted commits, kept while Java may still be about to rename.
_left: dict[str, Any] = {}
_looking = threading.Lock()
_notified: set[str] = set()


@contextmanager
def writing_by_spark(spark: SparkSession, warehouse: str, name: str) -> Iterator[None]:
    """Hold the lock of a table while Spark commits to it.

    Parameters
    ----------
    warehouse : str
        Path or URI.  Remote storage detects conflicts itself, so nothing is locked there.
    name : str
        The table, or anything else in the warehouse that needs a single writer.
    """
    file = _lock_file(warehouse, name) if is_on_disk(spark, warehouse) else None
    if file is None:
        yield
        return
    with _turns[file]:
        channel = _left.pop(file, None) or _lock_in_java(spark, file)
        try:
            yield
        except KeyboardInterrupt:
            if channel is not None:
                _left[file] = channel
                watch = (spark, file, channel)
                threading.Thread(target=_release_when_idle, args=watch, daemon=True).start()
                channel = None
            raise
        finally:
            if channel is not None:
                channel.close()


@contextmanager
def writing(warehouse: str, name: str) -> Iterator[None]:
    """Hold the lock of a table while this process commits to it; as `writing_by_spark`."""
    file = _lock_file(warehouse, name)
    with _turns[file]:
        descriptor = _wait(lambda: _try_python(file), file)
        try:
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)


def is_on_disk(spark: SparkSession, warehouse: str) -> bool:
    """Whether Spark, too, sees the warehouse as a local folder; a plain path may be in HDFS."""
    return is_local(warehouse) and hadoop_path(spark, warehouse)[0].getScheme() == "file"


def _lock_file(warehouse: str, name: str) -> str:
    root = Path(os.path.realpath(absolute(warehouse)))
    folder = root / FOLDER
    file = str(folder / f"{name.replace('/', '-')}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _make(folder, os.path.basename(file), may=root.stat().st_mode & 0o777)
    except OSError as error:
        raise _not_writable(warehouse, error.strerror or str(error), folder) from error
    if not os.access(file, os.R_OK | os.W_OK):
        raise _not_writable(warehouse, "Permission denied", file)
    _turns.setdefault(file, threading.Lock())
    return file


def _make(folder: Path, name: str, *, may: int) -> None:
    """Create a lock file that everyone with write access to the warehouse can lock.

    Links are not followed when creating it or setting its mode: another user could have placed one
    that leads to a file that only this user may change.
    """
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        descriptor = os.open(
            name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=place
        )
    except FileExistsError:
        if stat.S_ISLNK(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode):
            raise
    else:
        with suppress(OSError):  # another user owns the folder and has set its mode
            os.fchmod(place, may)
        with suppress(OSError):
            os.fchmod(descriptor, may & 0o666)
        os.close(descriptor)
    finally:
        os.close(place)


def _not_writable(warehouse: str, why: str, place: object) -> SonicError:
    return SonicError(
        f"The warehouse {warehouse} cannot be written to: {why} ({place}). Give another "
        "--warehouse, or ask its owner for write access."
    )


def _wait(attempt: Callable[[], object | None], file: str):
    """Retry until the lock is free; None on a file system without locks."""
    notify_s = time.monotonic() + _NOTIFY_AFTER_S
    while True:
        try:
            held = attempt()
        except _NoLocks as error:
            _notify_once(
                f"files in {os.path.dirname(file)} cannot be locked ({error}): run only one job at "
                "a time that writes to this warehouse."
            )
            return None
        if held is not None:
            return held
        if time.monotonic() > notify_s:
            _notify_once(
                f"waiting for another job that is writing to the table {Path(file).stem}. If that "
                "job hangs, end it: nothing is lost, and this one continues."
            )
        time.sleep(_PAUSE_S)


def _notify_once(text: str) -> None:
    if text not in _notified:
        remark(text)
    _notified.add(text)


def _release_when_idle(spark: SparkSession, file: str, channel: Any) -> None:
    """Release the lock of an interrupted commit once Java has finished or cancelled it."""
    from py4j.protocol import Py4JError

    with suppress(Py4JError, OSError):  # Java has ended, and with it the lock
        while True:
            time.sleep(_LOOK_EVERY_S)  # first, as Java may not have begun with the last call
            with _turns[file]:
                if _left.get(file) is not channel:  # a later commit has taken it over
                    return
                if not _is_answering(spark):
                    _left.pop(file).close()
                    return


def _is_answering(spark: SparkSession) -> bool:
    """Whether a thread of Java is executing a call from Python, other than this one."""
    with _looking:  # a statement holds several locks, whose threads would count each other
        threads = list(map(str, spark._jvm.org.apache.spark.util.Utils.getThreadDump()))
    return any("py4j.commands." in stack and "getThreadDump" not in stack for stack in threads)


class _NoLocks(Exception):
    """Raised when the file system does not support locks."""


def _try_python(file: str) -> int | None:
    descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return None
        raise _NoLocks(error.strerror) from error


def _lock_in_java(spark: SparkSession, file: str):
    # One channel for all attempts: closing one releases every lock that this JVM, which may run
    # other sessions, has on the file.
    channel = spark._jvm.java.io.RandomAccessFile(file, "rw").getChannel()
    return _wait(lambda: channel if _try_java(channel) else None, file)


def _try_java(channel) -> bool:
    from py4j.protocol import Py4JJavaError

    try:
        return channel.tryLock() is not None
    except Py4JJavaError as error:
        kind = error.java_exception.getClass().getSimpleName()
        if kind == "OverlappingFileLockException":  # held by another session of this JVM
            return False
        raise _NoLocks(str(error.java_exception.getMessage())) from error
