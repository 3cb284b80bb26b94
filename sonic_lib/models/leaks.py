"""Columns that give the target away, by what `associations` measures; without Spark.

A column leaks if it alone tells the target of nearly every song (a sub-genre, of the genre), if the
target tells it (a genre, of the sub-genre; a rounded popularity), if it would tell it but for its
digits (rock.00017.wav), or if it is the number of the row.  A score with it would be the column's,
and no song that lacks it could be foretold so well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from sonic_lib.errors import ModelError
from sonic_lib.models.associations import SHAPE
from sonic_lib.models.columns import CLASSIFICATION, Columns

_MAX_TOLD_BACK = 500  # a text of more values is no coarser form of the target
_NEARLY, _LEFT = 0.95, 0.25  # a share of right answers, or R2; of the errors without the column
_MIN_COVERED, _MIN_ROWS_PER_VALUE = 0.5, 8
_MIN_ROWS = 30


@dataclass(frozen=True)
class Leak:
    """A column that gives the target away: `told` says how, `share` how well (0 to 1)."""

    column: str
    why: str
    share: float
    n: int

    def sentence(self, target: str, *, is_kept: bool) -> str:
        """Say it to people."""
        what = {
            "tells": f"{self.column} alone tells {target}: {self.share:.1%} of it, by the other "
            f"rows with the same value ({self.n} songs)",
            "shape": f"{self.column} without its digits tells {target}: {self.share:.1%} of it, by "
            f"the other rows with the same one ({self.n} songs)",
            "told": f"{self.column} follows from {target}: {self.share:.1%} of it",
            "place": f"{self.column} numbers the rows one by one: no new song has it",
        }[self.why]
        if is_kept:
            return (
                f"{what}. Kept as you asked: the scores below are that column's more than music's"
            )
        return (
            f"{what}. A score with it would be near that, and say nothing of new songs. "
            f"Left out; --keep {self.column} lets it in"
        )


def find_leaks(
    rows: Sequence[dict], *, columns: Columns, numbers: Sequence[str], ranges: dict
) -> list[Leak]:
    """Judge the rows of `associations`, and what `by_place` returned; pure."""
    is_class = columns.task == CLASSIFICATION
    found = {}
    for place, name in enumerate(numbers):
        n, low, high = (ranges[f"{what}_{place}"] for what in ("n", "low", "high"))
        is_place = (
            name != columns.target
            and n >= _MIN_ROWS
            and ranges[f"whole_{place}"]
            and high - low + 1 == n
            and ranges[f"distinct_{place}"] >= 0.9 * n
        )
        if is_place:
            found[name] = Leak(name, "place", 1.0, n)
    for row in rows:
        n, name = row["n"] or 0, row["name"].removesuffix(SHAPE)
        if n < _MIN_ROWS or row["coverage"] < _MIN_COVERED or name in found:
            continue
        by = row["accuracy"] if is_class else row["r2"]
        rest = _LEFT * (1 - row["base"]) if is_class else 1.0
        is_common = n >= _MIN_ROWS_PER_VALUE * row["n_values"] and row["n_values"] > 1
        if is_common and by is not None and by >= _NEARLY and 1 - by <= rest:
            found[name] = Leak(name, "tells" if name == row["name"] else "shape", by, n)
            continue
        is_text = row["back_r2"] is None
        back = row["back_accuracy"] if is_text else row["back_r2"]
        rest = _LEFT * (1 - row["back_base"]) if is_text else 1.0
        is_coarse = row["n_values"] <= _MAX_TOLD_BACK
        if is_coarse and back is not None and back >= _NEARLY and 1 - back <= rest:
            found[name] = Leak(name, "told", back, n)
    return [found[name] for name in sorted(found)]


def without_leaks(columns: Columns, leaks: Sequence[Leak], *, keep: Sequence[str]) -> Columns:
    """Leave leaking columns out, but those that are to be kept.

    Raises
    ------
    ModelError
        If nothing is left to learn from.
    """
    reasons = {
        "tells": "alone tells",
        "shape": "without its digits tells",
        "told": "follows from",
        "place": "numbers the rows, not",
    }
    gone = {
        leak.column: f"{reasons[leak.why]} {columns.target}"
        for leak in leaks
        if leak.column not in keep
    }
    roles: dict[str, Any] = {
        field.name: tuple(name for name in getattr(columns, field.name) if name not in gone)
        for field in fields(columns)
        if field.name != "kept" and isinstance(getattr(columns, field.name), tuple)
    }
    if not any(roles.values()):
        raise ModelError(
            f"Nothing is left to learn {columns.target} from: {', '.join(gone)} give it away. "
            "Keep one with --keep, or bring in other columns with `sonic features`."
        )
    return replace(columns, dropped=columns.dropped | gone, **roles)
