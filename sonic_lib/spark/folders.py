"""Walk folders of this machine, however deep they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator


def walk(
    place: str | os.PathLike[str], *, onerror: Callable[[OSError], None] | None = None
) -> Iterator[os.DirEntry[str]]:
    """Yield everything below a folder; links are yielded, but not followed.

    Not by os.walk or Path.rglob, which call themselves once per level until Python 3.12: a thousand
    nested folders would end the process.

    Parameters
    ----------
    onerror : callable, optional
        Called with the error of a folder that cannot be listed, which is otherwise passed over:
        another job may delete it at any time.
    """
    waiting = [os.fspath(place)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as listed:
                for entry in listed:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    yield entry
        except OSError as error:
            if onerror is not None:
                onerror(error)
