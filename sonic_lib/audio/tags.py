"""Read title, artist, album, genre and year of an audio file, cleaned for a table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from tinytag import TinyTag

MAX_CHARACTERS = 500
# 1999, 1999-05-01, 19990501, 05/1999; neither 12345 nor 3999.
_YEAR = re.compile(r"(?<!\d)([12]\d{3})(?:\d{4})?(?!\d)")


@dataclass(frozen=True)
class Tags:
    """The tags of a file; None where a tag is missing.

    Attributes
    ----------
    title : str or None
        Without a title tag, the file's name without its extension.
    artist, album, genre : str or None
        At most 500 characters each.
    release_year : int or None
        From 1000 to 2999.
    """

    title: str | None
    artist: str | None
    album: str | None
    genre: str | None
    release_year: int | None


def read_tags(file: BinaryIO, *, name: str) -> Tags:
    """Read the tags of a file; missing or broken tags are not an error.

    Parameters
    ----------
    file : BinaryIO
        A seekable file.
    name : str
        Its path or URI, for the title if there is no title tag.

    Returns
    -------
    tags : Tags
        The tags, cleaned.
    """
    found = _found(file, name)
    return Tags(
        title=_clean(found.get("title")) or file_title(name),
        artist=_clean(found.get("artist")),
        album=_clean(found.get("album")),
        genre=_clean(found.get("genre")),
        release_year=_year(found.get("date")),
    )


def _found(file: BinaryIO, name: str) -> dict[str, str | None]:
    """Read tags by the file's content, whatever its name; else by its name, or as FFmpeg does."""
    is_known = False  # by its content
    for filename in (None, name):
        try:
            file.seek(0)
            tags = TinyTag.get(filename=filename, file_obj=file, duration=False)
        except Exception:  # broken tags may raise anything, and the audio may still be good
            continue
        is_known |= filename is None
        if tags.title or tags.artist or tags.album:
            return {
                "title": tags.title,
                "artist": tags.artist,
                "album": tags.album,
                "genre": tags.genre,
                "date": tags.year,
            }
    try:
        file.seek(4)
        if is_known and file.read(4) != b"ftyp":  # QuickTime's tags are others than those of M4A
            return {}
        from sonic_lib.audio.ffmpeg import metadata  # loads FFmpeg

        return metadata(file)
    except Exception:
        return {}


def file_title(path: str) -> str | None:
    """Return the title of a file without tags: its name without the ending.

    Examples
    --------
    >>> file_title("/music/So What.flac")
    'So What'
    """
    return _clean(PurePosixPath(path).stem)


def _clean(text: str | None) -> str | None:
    # Half of a surrogate pair, from a broken UTF-16 tag, cannot be stored as UTF-8.
    whole = (text or "").encode("utf-8", "ignore").decode("utf-8")
    return whole.replace("\0", "").strip()[:MAX_CHARACTERS].rstrip() or None


def _year(date: str | None) -> int | None:
    found = _YEAR.search(date or "")
    return int(found[1]) if found else None
