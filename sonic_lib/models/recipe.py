"""What decides, with the rows, which model comes out."""

from __future__ import annotations

from dataclasses import dataclass

from sonic_lib.models import estimators
from sonic_lib.models.columns import Columns


@dataclass(frozen=True)
class Recipe:
    """All that decides, with the rows, what is trained.

    Parameters
    ----------
    columns : Columns
        With the group by which training rows are kept together, if any.
    classes : tuple of str
        Names of the classes, in the order of their numbers; none for a regression.
    kind : str
        One of estimators.KINDS.
    seed : int
    class_weights : bool
        Whether rare classes count as much as frequent ones.
    """

    columns: Columns
    classes: tuple[str, ...] = ()
    kind: str = estimators.BOOSTED
    seed: int = 0
    class_weights: bool = False
