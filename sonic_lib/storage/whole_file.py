"""A local file that appears whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO


@contextmanager
def whole_file(path: str) -> Iterator[tuple[TextIO, str]]:
    """Give a text file to write to, and its path; after the `with` block it has its own name.

    Its name until then nobody can foresee, and this run alone has made it: no link that lies there
    is followed, and no other run writes to it.
    """
    descriptor, unfinished = tempfile.mkstemp(dir=Path(path).absolute().parent, prefix=".sonic-")
    try:
        with open(descriptor, "w", newline="", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o666 & ~_umask())  # as any file that is written
            yield file, unfinished
        os.replace(unfinished, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)
        raise


def _umask() -> int:
    """Give the mask of this process, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
