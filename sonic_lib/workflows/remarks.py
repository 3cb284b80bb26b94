"""What workflows tell beside their results, for whoever prints it."""

from __future__ import annotations

from typing import NamedTuple


class Remark(NamedTuple):
    """What somebody should know beside the scores.

    Attributes
    ----------
    topic : str
        A word: leak, doubles, artists, or the name of a model.
    text : str
    """

    topic: str
    text: str
