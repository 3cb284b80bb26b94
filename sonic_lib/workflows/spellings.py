"""Spell names as disks do: macOS stores é as e and an accent, others as one character."""

from __future__ import annotations

import unicodedata


def spellings(text: str) -> list[str]:
    """Return a text as it is, in the Unicode form NFC and in NFD, each of them once.

    A name is given in one form, by a keyboard, and stored in another. Stored names are compared
    with all of them, since Spark has no function that normalises a column.

    Examples
    --------
    >>> [len(spelling) for spelling in spellings("Café")], spellings("Cafe")
    ([4, 5], ['Cafe'])
    """
    return list(dict.fromkeys([text, *(unicodedata.normalize(f, text) for f in ("NFC", "NFD"))]))
