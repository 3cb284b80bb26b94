"""Paths and URIs: which are local, and files under the URIs that Spark writes, without Spark.

Paths are taken literally, as Spark writes them: ``%20`` is three characters.  Credentials of remote
file systems come from the environment.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from sonic_lib.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.fs import FileSystem

_REMOTE_URI = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://([^/]*)/*(.*)", re.DOTALL)
_ONE_SLASH = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:/(?!/)")
_ARROW_SCHEMES = {"s3a": "s3", "s3n": "s3"}


def is_local(path: str) -> bool:
    """Whether a path or URI is local."""
    return path.startswith("file:") or not _REMOTE_URI.fullmatch(path)


def absolute(path: str) -> str:
    """Make a local path, or a URI of one, an absolute path."""
    return os.path.abspath(os.path.expanduser(re.sub(r"^file:/*", "/", path)))


def resolve_warehouse(uri: str) -> str:
    """Make a local path absolute; leave URIs, as plain paths may be in HDFS for Spark.

    Raises
    ------
    UsageError
        If Delta could not address the warehouse, or a URI has one slash in place of two.
    """
    if "`" in uri:
        raise UsageError(
            f"The warehouse {uri!r} has a backtick in its name, and Delta cannot address such "
            "tables. Choose another name."
        )
    if uri.startswith("file:") or not is_local(uri):
        return uri
    if _ONE_SLASH.match(uri):
        raise UsageError(
            f"The warehouse {uri!r} looks like a URI with one slash; expected two, as in "
            f"{uri.replace(':/', '://', 1)!r}. Write './{uri}' if it is a local folder."
        )
    return str(Path(uri).expanduser().resolve())


def local_path(uri: str) -> str | None:
    """Return the local path that a path or URI stands for, as it is; None if it is remote.

    Examples
    --------
    >>> local_path("file:///music/a.ogg"), local_path("a.ogg"), local_path("s3a://bucket/a.ogg")
    ('/music/a.ogg', 'a.ogg', None)
    """
    return re.sub(r"^file:(//)?", "", uri) if is_local(uri) else None


def open_remote(uri: str) -> pa.NativeFile:
    """Open a file on a file system that Arrow supports, such as ``s3a://``, ``gs://``, ``hdfs://``.

    Raises
    ------
    OSError, ValueError, NotImplementedError
        If Arrow does not know the file system, or cannot open the file.
    """
    parts = _REMOTE_URI.fullmatch(uri)
    if not parts:
        raise ValueError(f"not a URI: {uri}")
    scheme, authority, key = parts.groups()
    # Only the authority is parsed as a URI: Arrow would decode a `%` in the key.
    filesystem, root = _filesystem(f"{_ARROW_SCHEMES.get(scheme, scheme)}://{authority}")
    return filesystem.open_input_file(f"{root.rstrip('/')}/{key}")


@functools.lru_cache
def _filesystem(root_uri: str) -> tuple[FileSystem, str]:
    from pyarrow.fs import FileSystem

    return FileSystem.from_uri(root_uri)
