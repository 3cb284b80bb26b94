"""Everything besides the rows that determines a model."""

from __future__ import annotations

from dataclasses import dataclass

from sonic_lib.models import estimators
from sonic_lib.models.columns import Columns


@dataclass(frozen=True)
class Recipe:
    """Everything besides the rows that determines a model.

    Parameters
    ----------
    columns : Columns
        With the group column, if any.
    classes : tuple of str
        Names of the classes, in the order of their numbers; empty for a regression.
    kind : str
        One of estimators.KINDS.
    seed : int
    class_weights : bool
        Weight rare classes as much as frequent ones.
    """

    columns: Columns
    classes: tuple[str, ...] = ()
    kind: str = estimators.BOOSTED
    seed: int = 0
    class_weights: bool = False
