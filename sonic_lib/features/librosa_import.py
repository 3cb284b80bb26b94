"""Import librosa in only one process of a machine at a time.

librosa compiles its array functions when it is first imported and caches them on disk.  Numba
writes two files for each; processes that compile at the same time can mix them up, and loading such
a pair crashes (numba issue 10128).  A new installation would hit this at once, since Spark's
workers start together.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from sonic_lib.errors import MODELS, SetupError, install_command
from sonic_lib.spark.jars import cache_folder

_MAX_WAIT_S = 120.0  # compiling takes some 20 s
_PAUSE_S = 0.1


def load_librosa() -> ModuleType:
    """Import librosa with all parts that are compiled on import.

    Raises
    ------
    SetupError
        If librosa is not installed.
    """
    try:
        import librosa

        with _alone():
            import librosa.core.audio
            import librosa.core.pitch
            import librosa.util.utils
    except ImportError as error:
        raise SetupError(
            "Descriptors of audio need librosa, which is not installed here. Install it on every "
            f"machine that runs tasks: {install_command(*MODELS)}"
        ) from error
    return librosa


@contextmanager
def _alone() -> Iterator[None]:
    """Wait for the lock of this user; go on without it if it cannot be had."""
    descriptor = _open_any_lock()
    try:
        if descriptor is not None:
            with suppress(OSError):  # some network filesystems lack locks
                _lock(descriptor)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open_any_lock() -> int | None:
    """Open the lock in the cache folder or, if that is read-only, where Numba keeps its files."""
    with suppress(OSError, SetupError):
        return _open_lock(cache_folder())
    if numba_folder := os.environ.get("NUMBA_CACHE_DIR"):
        with suppress(OSError):
            return _open_lock(Path(numba_folder))
    return None


def _open_lock(folder: Path) -> int:
    """Open the lock in a folder, which others may not replace by a link, a pipe or a file."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # O_NONBLOCK: opening a pipe would wait for its other end.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(folder / f"librosa-{os.getuid()}.lock", flags, 0o600)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid():
        os.close(descriptor)
        raise PermissionError("The lock is not a file of this user.")
    return descriptor


def _lock(descriptor: int) -> None:
    """Lock a file, unless another process holds it for longer than compiling takes."""
    deadline_s = time.monotonic() + _MAX_WAIT_S
    while time.monotonic() < deadline_s:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(_PAUSE_S)
