"""Audio files below local folders: plain Python, for executors and for readers without Spark."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from sonic_lib.errors import UsageError

# What may hold sound; anything else in a music folder (covers, playlists) is passed over.
_NAMES = (
    "wav wave flac ogg oga opus mp3 mp2 aif aiff aifc au snd caf w64 rf64 "
    "m4a m4b m4r mp4 aac wma asf wmv webm weba mka mkv mov avi 3gp ts mpg flv "
    "wv tta ape mpc ac3 dts spx amr dsf"
)
SUFFIXES = frozenset(_NAMES.split())

# Beyond these years readers that count nanoseconds (pandas) have no date. A broken clock of a
# network disk writes such times; what counts is only whether they change.
_FIRST_S = datetime(1678, 1, 1, tzinfo=timezone.utc).timestamp()
_LAST_S = datetime(2262, 1, 1, tzinfo=timezone.utc).timestamp()


def is_local(path: str) -> bool:
    """Whether a name given is one of this machine's files."""
    return path.startswith("file:") or not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", path)


def absolute(path: str) -> str:
    """Make a local name absolute."""
    return os.path.abspath(os.path.expanduser(re.sub(r"^file:/*", "/", path)))


def entries(paths: list[str]) -> list[dict]:
    """Folders and files given, as rows of `schemas.FILES` with is_folder.

    Parameters
    ----------
    paths : list of str
        Local names.

    Raises
    ------
    UsageError
        If one does not exist.
    """
    found = [_existing(path) for path in paths]
    files = [path for path in found if not os.path.isdir(path)]
    common = os.path.commonpath([os.path.dirname(path) for path in files]) if files else ""
    return [_entry(path, common if path in files else path) for path in sorted(set(found))]


def walk(paths: list[str]) -> Iterator[dict]:
    """Files below folders, one by one; where folders lie one in the other, more than once."""
    for entry in entries(paths):
        if entry["is_folder"]:
            yield from below(entry["path"], entry["root"])
        else:
            yield entry


def below(folder: str, root: str, outer: frozenset[str] = frozenset()) -> Iterator[dict]:
    """Files in a folder and the folders in it.

    Parameters
    ----------
    root : str
        The folder given, to which names are relative.
    outer : frozenset of str
        Real paths of the folders above.
    """
    real = os.path.realpath(folder)
    if real in outer:  # a link back to a folder above
        return
    for entry in scan(folder, root):
        if entry["is_folder"]:
            yield from below(entry["path"], root, outer | {real})
        else:
            yield entry


def scan(folder: str, root: str) -> Iterator[dict]:
    """Folders and audio files directly in a folder, in the order of their names."""
    try:
        with os.scandir(folder) as found:
            names = sorted(entry.name for entry in found)
    except OSError:
        # Kept as if it were a file: opening it will say why it could not be read.
        yield _entry(folder, root) | {"is_folder": False}
        return
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isdir(path) or Path(name).suffix[1:].lower() in SUFFIXES:
            yield _entry(path, root)


def storable(path: str) -> str:
    """Give names that are not valid UTF-8 a form that a table can hold."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def _existing(path: str) -> str:
    found = absolute(path)
    if not os.path.lexists(found):
        raise UsageError(f"{path!r} does not exist; expected a folder or an audio file.")
    return found


def _entry(path: str, root: str) -> dict:
    try:
        status = os.stat(path)
        size_bytes = status.st_size
        modified_s = min(max(status.st_mtime, _FIRST_S), _LAST_S)
    except OSError:  # a broken link: listed, so that it is rejected aloud
        size_bytes, modified_s = 0, 0.0
    return {
        "path": storable(path),
        "root": storable(root),
        "size_bytes": size_bytes,
        "modified_at": datetime.fromtimestamp(modified_s, timezone.utc),
        "is_folder": os.path.isdir(path),
    }
