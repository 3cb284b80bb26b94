"""Write a local file atomically: it appears complete or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

from sonic_lib.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


def check_file(option: str, path: str) -> None:
    """Check that a file can be written, before the work whose result it holds.

    Raises
    ------
    UsageError
        If its folder does not exist or may not be written to, or the path is a folder.
    """
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise UsageError(f"{option} {path!r}: its folder does not exist; create it first.")
    if Path(path).is_dir():
        raise UsageError(f"{option} {path!r} is a folder; expected the name of a file.")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{option} {path!r}: its folder cannot be written to; give another.")


def check_folder(option: str, path: str | None) -> None:
    """Check that a folder is there or can be made.

    Raises
    ------
    UsageError
        If it, or a folder above it, is a file.
    """
    for part in (Path(path), *Path(path).parents) if path else ():
        if part.exists() and not part.is_dir():
            raise UsageError(f"{option} {path!r}: '{part}' is a file; expected a folder.")


@contextmanager
def whole_file(path: str | Path) -> Iterator[tuple[TextIO, str]]:
    """Yield a temporary text file and its path; the `with` block's end renames it to `path`.

    The temporary name is unpredictable and created exclusively, so no existing link is followed and
    no other run writes to it.
    """
    with (
        _renamed(path) as (descriptor, unfinished),
        open(descriptor, "w", newline="", encoding="utf-8") as file,
    ):
        yield file, unfinished


@contextmanager
def whole_binary_file(path: str | Path) -> Iterator[BinaryIO]:
    """Yield a temporary binary file, like `whole_file`."""
    with _renamed(path) as (descriptor, _), open(descriptor, "wb") as file:
        yield cast("BinaryIO", file)


def write_csv(
    table: pd.DataFrame, path: str | Path, *, index: bool = False, float_format: str | None = None
) -> None:
    """Write a table of pandas to a whole CSV file."""
    with whole_file(path) as (file, _):
        table.to_csv(file, index=index, float_format=float_format)


@contextmanager
def _renamed(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield the descriptor, which the caller closes, and the name of a temporary file."""
    descriptor, unfinished = tempfile.mkstemp(dir=Path(path).absolute().parent, prefix=".sonic-")
    try:
        with suppress(OSError):  # some disks, such as WSL's of Windows, refuse to set a mode
            os.fchmod(descriptor, 0o666 & ~_umask())  # the mode that open() would give it
        yield descriptor, unfinished
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
