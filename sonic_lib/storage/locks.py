"""One writer at a time commits to a table in a local folder, whichever engine it uses.

Delta's commit needs "create unless it is there".  For local folders neither Delta nor Hadoop
has that: they look, write a file beside and rename it, and a rename replaces what came meanwhile.
So every commit of ours holds a lock of the table (POSIX, by fcntl), the look included.

The process that renames holds it: Java for Spark, Python for delta-rs.  So it ends with that
process and never sooner, however either of them dies.  Readers take none.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonic_lib.audio.local_files import absolute, is_local
from sonic_lib.console import remark
from sonic_lib.errors import SonicError
from sonic_lib.spark.filesystem import hadoop_path

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDER = "_locks"
_PAUSE_S = 0.02
_TELL_AFTER_S = 10.0
# A lock of POSIX is its process's: threads of one have to take turns by themselves.
_turns: dict[str, threading.Lock] = {}
# Locks in Java that an interrupted commit left: Java may be about to rename still.
_left: dict[str, Any] = {}
_told: set[str] = set()


@contextmanager
def writing_by_spark(spark: SparkSession, warehouse: str, name: str) -> Iterator[None]:
    """Keep others from committing to a table while Spark does.

    Parameters
    ----------
    warehouse : str
        Path or URI; of one that is not local nothing is locked: its storage is to refuse.
    name : str
        The table, or whatever else in the warehouse has one writer at a time.
    """
    file = _lock_file(warehouse, name) if _is_local(spark, warehouse) else None
    if file is None:
        yield
        return
    with _turns[file]:
        # Java may be about to rename what was interrupted: the lock stays as long as Java does.
        channel = _left.pop(file, None) or _wait(lambda: _try_java(spark, file), file)
        try:
            yield
        except KeyboardInterrupt:
            _left[file] = channel
            channel = None
            raise
        finally:
            if channel is not None:
                channel.close()


@contextmanager
def writing(warehouse: str, name: str) -> Iterator[None]:
    """Keep others from committing to a table while this process does, as `writing_by_spark`."""
    file = _lock_file(warehouse, name)
    with _turns[file]:
        descriptor = _wait(lambda: _try_python(file), file)
        try:
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)


def _is_local(spark: SparkSession, warehouse: str) -> bool:
    """Whether Spark takes the warehouse for local files; a plain path may be one of HDFS."""
    return is_local(warehouse) and hadoop_path(spark, warehouse)[0].getScheme() == "file"


def _lock_file(warehouse: str, name: str) -> str:
    root = Path(os.path.realpath(absolute(warehouse)))
    folder = root / FOLDER
    file = str(folder / f"{name.replace('/', '-')}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        pass
    except OSError as error:
        raise _not_writable(warehouse, error.strerror or str(error), folder) from error
    else:
        os.close(descriptor)
        # Who may add files to the warehouse may lock.
        may = root.stat().st_mode & 0o777
        for place, mode in ((folder, may), (file, may & 0o666)):
            with suppress(OSError):  # the folder is another user's, who has done it
                os.chmod(place, mode)
    if not os.access(file, os.R_OK | os.W_OK):
        raise _not_writable(warehouse, "Permission denied", file)
    _turns.setdefault(file, threading.Lock())
    return file


def _not_writable(warehouse: str, why: str, place: object) -> SonicError:
    return SonicError(
        f"The warehouse {warehouse} cannot be written to: {why} ({place}). Give another "
        "--warehouse, or ask its owner for leave to write."
    )


def _wait(attempt: Callable[[], object | None], file: str):
    """Try until the lock is there; None on a disk that knows no locks."""
    tell_s = time.monotonic() + _TELL_AFTER_S
    while True:
        try:
            held = attempt()
        except _NoLocks as error:
            _tell(
                f"no locks can be had in {os.path.dirname(file)} ({error}): let one job at a time "
                "write to this warehouse."
            )
            return None
        if held is not None:
            return held
        if time.monotonic() > tell_s:
            _tell(
                f"waiting for another job that is writing to the table {Path(file).stem}. If it "
                "hangs, end it: nothing is lost, and this one goes on."
            )
        time.sleep(_PAUSE_S)


def _tell(text: str) -> None:
    if text not in _told:
        remark(text)
    _told.add(text)


class _NoLocks(Exception):
    """Raised where the file system has no locks."""


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


def _try_java(spark: SparkSession, file: str):
    from py4j.protocol import Py4JJavaError

    channel = spark._jvm.java.io.RandomAccessFile(file, "rw").getChannel()
    try:
        if channel.tryLock() is not None:
            return channel
    except Py4JJavaError as error:
        channel.close()
        kind = error.java_exception.getClass().getSimpleName()
        if kind == "OverlappingFileLockException":  # another session's thread in this Java has it
            return None
        raise _NoLocks(str(error.java_exception.getMessage())) from error
    channel.close()
    return None
