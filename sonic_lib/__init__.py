"""Sonic Signature: music identification on Apache Spark and Delta tables."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress

__all__ = ["__version__", "open_warehouse"]

__version__ = "0.1.0"


def __getattr__(name: str):
    """Load the API on first use: helper processes do not need it."""
    if name == "open_warehouse":
        from sonic_lib.warehouse import open_warehouse

        return open_warehouse
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _find_room_for_numba() -> None:
    """Give numba a folder for compiled code if it can write to none of its own.

    It would refuse to import our kernels or, if they are in a zip, fail when it saves them: songs
    would be rejected because the home folder is read-only, or there is none.
    """
    here = os.path.dirname(__file__)
    caches = "~/Library/Caches" if sys.platform == "darwin" else "~/.cache"
    users = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser(caches)
    is_zip = ".zip" in here  # for which numba heeds neither the variable nor this folder
    places = [] if is_zip else [os.environ.get("NUMBA_CACHE_DIR") or here, here]
    if os.path.isabs(users):  # else there is no home folder, and it begins with ~
        places.append(os.path.join(users, "numba"))
    if any(map(_is_writable, places)):
        return
    import tempfile

    with suppress(OSError):
        folder = os.path.join(tempfile.gettempdir(), f"sonic-numba-{os.getuid()}")
        with suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        found = os.lstat(folder)
        # Compiled code is run by whoever finds it: the folder must not be another user's.
        if found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077:
            os.environ["XDG_CACHE_HOME" if is_zip else "NUMBA_CACHE_DIR"] = folder


def _is_writable(folder: str) -> bool:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


_find_room_for_numba()
