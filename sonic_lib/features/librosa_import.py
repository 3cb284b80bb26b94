"""Import librosa in only one process of a machine at a time.

librosa compiles its array functions when it is first imported and caches them on disk.  Numba
writes two files for each; processes that compile at the same time can mix them up, and loading such
a pair crashes (numba issue 10128).  A new installation would hit this at once, since Spark's
workers start together.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from sonic_lib.errors import MODELS, SetupError, install_command


def load_librosa() -> ModuleType:
    """Import librosa with all parts that are compiled on import.

    Raises
    ------
    SetupError
        If librosa is not installed.
    """
    try:
        import librosa

        with _alone(Path(librosa.__file__).parent / "__pycache__"):
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
def _alone(folder: Path) -> Iterator[None]:
    """Wait for the lock in a folder, or in /tmp if the folder is read-only."""
    if not os.access(folder, os.W_OK):
        folder = Path(tempfile.gettempdir())
    with open(folder / f"sonic-signature-{os.getuid()}.lock", "a") as file:
        with suppress(OSError):  # some network filesystems lack locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
