"""Remarks that workflows return with their results."""

from __future__ import annotations

from typing import NamedTuple


class Remark(NamedTuple):
    """A remark for the user.

    Attributes
    ----------
    topic : str
        One word: leak, doubles, artists, or the name of a model.
    text : str
    """

    topic: str
    text: str
