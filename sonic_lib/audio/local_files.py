"""List audio files below local folders: plain Python, for executors and without Spark."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from sonic_lib.errors import UsageError
from sonic_lib.spark.uris import absolute, is_local

# Suffixes of files that may contain sound; others (covers, playlists) are skipped.
_NAMES = (
    "wav wave bwf flac ogg oga ogv ogx opus mp3 mp2 mpga aif aiff aifc aifx au snd caf w64 rf64 "
    "voc m4a m4b m4r m4v mp4 aac wma asf wmv webm weba mka mkv mov avi 3gp 3g2 ts mts m2ts mpg "
    "mpeg vob flv wv tta tak ape mpc ac3 eac3 ec3 dts spx amr dsf"
)
SUFFIXES = frozenset(_NAMES.split())
# Not music, and partly endless.
_MACHINE = ("/proc", "/sys", "/dev")
_N_ENDINGS = 6  # how many extensions of skipped files to name
_MAX_PATH = 4095  # bytes; a file with a longer path cannot be opened, which has to be reported

# Beyond these years, pandas' nanosecond timestamps overflow. A network disk with a broken clock may
# have such times; all that matters is whether they change.
_FIRST_S = datetime(1678, 1, 1, tzinfo=timezone.utc).timestamp()
_LAST_S = datetime(2262, 1, 1, tzinfo=timezone.utc).timestamp()


def entries(paths: list[str]) -> list[dict]:
    """Return the given folders and files as rows of `schemas.FILES` with is_folder and real.

    Parameters
    ----------
    paths : list of str
        Local paths.

    Returns
    -------
    list of dict
        `real` is the path with links resolved; for a file, only the links of its folder.

    Raises
    ------
    UsageError
        If one does not exist.
    """
    found = [_existing(path) for path in paths]
    files = [path for path in found if not os.path.isdir(path)]
    common = os.path.commonpath([os.path.dirname(path) for path in files]) if files else ""
    return [_entry(path, common if path in files else path) for path in sorted(set(found))]


def walk(
    paths: list[str], *, follow_links: bool = True, passed_over: Counter[str] | None = None
) -> Iterator[dict]:
    """Yield the files below folders; more than once if the folders are nested.

    Parameters
    ----------
    follow_links, passed_over
        As in `below`.
    """
    for entry in entries(paths):
        if entry["is_folder"]:
            yield from below(
                *(entry["path"], entry["root"]), follow_links=follow_links, passed_over=passed_over
            )
        else:
            yield entry


def add_once(found: dict[str, dict], file: dict) -> None:
    """Add a file of `walk` to those found so far, by `real`.

    One that is found through links, too, keeps its own name, as in `listing.list_audio`.
    """

    def name(file: dict) -> tuple[bool, str, str]:
        return file["path"] != file["real"], file["path"], file["root"]

    held = found.setdefault(file["real"], file)
    if name(file) < name(held):
        found[file["real"]] = file


def check_audio(paths: list[str], *, follow_links: bool = True) -> None:
    """Check that there is audio below the folders; there is none if a disk is not mounted.

    Folders on other filesystems are not checked.

    Raises
    ------
    UsageError
        If a local path does not exist, or no path is or contains an audio file.
    """
    local = [path for path in paths if is_local(path)]
    found = entries(local)
    if len(local) < len(paths):
        return
    beside: Counter[str] = Counter()
    for entry in found:
        if not entry["is_folder"]:
            return
        place, root = entry["path"], entry["root"]
        if any(below(place, root, follow_links=follow_links, passed_over=beside)):
            return
    others = f" (other files: {named_endings(beside)})" if beside else ""
    raise UsageError(
        f"There is no audio file in {', '.join(map(repr, paths))}{others}; expected a folder with "
        "songs. Is the disk mounted and the path correct?"
    )


def named_endings(endings: Counter[str]) -> str:
    """Describe how many files have which extension.

    Examples
    --------
    >>> named_endings(Counter({".jpg": 8, "": 1}))
    '8 .jpg, 1 without one'
    """
    most = endings.most_common(_N_ENDINGS)
    named = [f"{n} {ending or 'without one'}" for ending, n in most]
    if n_more := endings.total() - sum(n for _, n in most):
        named.append(f"{n_more} others")
    return ", ".join(named)


def below(
    folder: str, root: str, *, follow_links: bool = True, passed_over: Counter[str] | None = None
) -> Iterator[dict]:
    """Yield the audio files below a folder, entering each folder (device and inode) once.

    Parameters
    ----------
    root : str
        The given folder, to which names are relative.
    follow_links : bool
        Whether to follow links to folders and to files.  Links to folders are followed last, so
        that a file is found under its own name if possible.  A link to a parent of the root, which
        would lead back to it, is passed over.  One into /proc, /sys or /dev is listed as if it were
        a file: opening it reports the reason.
    passed_over : Counter, optional
        Counts the extensions of other files, and of links to parents of the root.
    """
    seen: set[tuple[int, int]] = set()
    folders = [(folder, os.path.realpath(folder))]
    links: list[tuple[str, str]] = []
    while folders or links:
        place, real = folders.pop() if folders else links.pop(0)
        identity = _identity(place)
        if identity in seen:
            continue
        if identity is not None:
            seen.add(identity)
        inner = []
        for entry in scan(
            place, root, real_folder=real, follow_links=follow_links, passed_over=passed_over
        ):
            if not entry["is_folder"]:
                yield entry
            elif entry["real"] == os.path.join(real, os.path.basename(entry["path"])):
                inner.append((entry["path"], entry["real"]))
            else:
                links.append((entry["path"], entry["real"]))
        folders += reversed(inner)


def scan(
    folder: str,
    root: str,
    *,
    real_folder: str | None = None,
    follow_links: bool = True,
    passed_over: Counter[str] | None = None,
) -> Iterator[dict]:
    """Yield the folders and audio files directly in a folder, ordered by name.

    Parameters
    ----------
    root, follow_links, passed_over
        As in `below`.
    real_folder : str, optional
        The path of the folder with links resolved, if known.
    """
    try:
        with os.scandir(folder) as listed:
            found = sorted(listed, key=lambda entry: entry.name)
    except OSError:
        # Listed as if it were a file: opening it will report why it cannot be read.
        yield _entry(folder, root) | {"is_folder": False}
        return
    real_folder = os.path.realpath(folder) if real_folder is None else real_folder
    real_root = os.path.realpath(root)
    for entry in found:
        name, path, is_link = entry.name, entry.path, entry.is_symlink()
        if is_link and not follow_links:
            continue
        real = os.path.join(real_folder, name)
        if _is_folder(entry):
            real = os.path.realpath(path) if is_link else real
            row = _entry(path, root, real, is_folder=True)
            if _may_be_entered(real, real_root, is_link=is_link):
                yield row
            elif is_link and not _is_below(real_root, real):
                yield row | {"is_folder": False}
            elif is_link and real != real_root and passed_over is not None:
                passed_over[_ending(name)] += 1
        elif Path(name).suffix[1:].lower() in SUFFIXES or len(os.fsencode(path)) > _MAX_PATH:
            yield _entry(path, root, real, is_folder=False)
        elif passed_over is not None:
            passed_over[_ending(name)] += 1


def _ending(name: str) -> str:
    """Return the extension of a file's name, if it looks like one."""
    ending = Path(name).suffix.lower()
    return ending if re.fullmatch(r"\.[a-z0-9_-]{1,8}", ending) else ""


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir() and len(os.fsencode(entry.path)) <= _MAX_PATH
    except OSError:  # a link to itself
        return False


def _may_be_entered(real: str, real_root: str, *, is_link: bool) -> bool:
    """Whether a folder is neither a system folder nor a link to a parent of the root."""
    machine = [place for place in _MACHINE if not _is_below(real_root, place)]
    if any(_is_below(real, place) for place in machine):
        return False
    return not (is_link and _is_below(real_root, real))


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def storable(path: str) -> str:
    """Escape names that are not valid UTF-8, so that tables can store them."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def _existing(path: str) -> str:
    found = absolute(path)
    if not os.path.lexists(found):
        raise UsageError(f"{path!r} does not exist; expected a folder or an audio file.")
    return found


def _entry(path: str, root: str, real: str | None = None, *, is_folder: bool | None = None) -> dict:
    if real is None:
        real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    try:
        status = os.stat(path)
        size_bytes = status.st_size
        modified_s = min(max(status.st_mtime, _FIRST_S), _LAST_S)
    except OSError:  # a broken link: listed, so that it is reported as rejected
        size_bytes, modified_s = 0, 0.0
    return {
        "path": storable(path),
        "root": storable(root),
        "size_bytes": size_bytes,
        "modified_at": datetime.fromtimestamp(modified_s, timezone.utc),
        "is_folder": os.path.isdir(path) if is_folder is None else is_folder,
        "real": storable(real),
    }
