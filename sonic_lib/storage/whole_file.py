"""Write a local file atomically: it appears complete or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO


@contextmanager
def whole_file(path: str) -> Iterator[tuple[TextIO, str]]:
    """Yield a temporary text file and its path; the `with` block's end renames it to `path`.

    The temporary name is unpredictable and created exclusively, so no existing link is followed and
    no other run writes to it.
    """
    descriptor, unfinished = tempfile.mkstemp(dir=Path(path).absolute().parent, prefix=".sonic-")
    try:
        with open(descriptor, "w", newline="", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o666 & ~_umask())  # the mode that open() would give it
            yield file, unfinished
        os.replace(unfinished, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)
        raise


def _umask() -> int:
    """Return the umask of this process, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
