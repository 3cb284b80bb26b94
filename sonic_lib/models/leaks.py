"""Find columns that leak the target, from what `associations` measured; no Spark.

A column leaks if it alone predicts the target of nearly every song (a sub-genre predicts the
genre), if the target predicts it (a rounded popularity), if it predicts the target once its digits
are masked (rock.00017.wav), or if it is a row number.  With such a column, scores are better than
they will be for new songs, which lack it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from sonic_lib.errors import ModelError
from sonic_lib.models.associations import SHAPE
from sonic_lib.models.columns import CLASSIFICATION, Columns

_MAX_COARSE_VALUES = 500  # a text with more values is not a coarser form of the target
_MIN_SCORE = 0.95  # accuracy or R2
_MAX_REST = 0.25  # errors left, relative to those without the column
_MIN_COVERED, _MIN_ROWS_PER_VALUE = 0.5, 8
_MIN_ROWS = 30
_MAX_GAPS, _MIN_DISTINCT = 0.01, 0.9  # of a column that numbers the rows


@dataclass(frozen=True)
class Leak:
    """A column that leaks the target; `share` (0 to 1) is the accuracy or R2."""

    column: str
    why: str
    share: float
    n: int

    def sentence(self, target: str, *, is_kept: bool) -> str:
        """Describe the leak in a sentence or two."""
        what = {
            "predicts": f"{self.column} alone predicts {target}: {self.share:.1%} of it, from the "
            f"other rows with the same value ({self.n} songs)",
            "shape": f"{self.column} without its digits predicts {target}: {self.share:.1%} of it, "
            f"from the other rows with the same value ({self.n} songs)",
            "follows": f"{self.column} follows from {target}: {self.share:.1%} of it",
            "place": f"{self.column} is a row number, which new songs do not have",
        }[self.why]
        if is_kept:
            return (
                f"{what}. Kept as you asked: the scores say more about this column than the music"
            )
        return (
            f"{what}. Scores with it would be too good to hold for new songs. "
            f"Left out; use it with --keep {self.column}"
        )


def find_leaks(rows: Sequence[dict], *, columns: Columns) -> list[Leak]:
    """Find leaks in the rows of `associations`."""
    is_class = columns.task == CLASSIFICATION
    found = {row["name"]: Leak(row["name"], "place", 1.0, row["n_numbers"])
             for row in rows if _numbers_rows(row)}  # fmt: skip
    for row in rows:
        n, name = row["n"], row["name"].removesuffix(SHAPE)
        if n < _MIN_ROWS or row["coverage"] < _MIN_COVERED or name in found:
            continue
        by = row["accuracy"] if is_class else row["r2"]
        rest = _MAX_REST * (1 - row["base"]) if is_class else 1.0
        is_common = n >= _MIN_ROWS_PER_VALUE * row["n_values"] and row["n_values"] > 1
        if is_common and by is not None and by >= _MIN_SCORE and 1 - by <= rest:
            found[name] = Leak(name, "predicts" if name == row["name"] else "shape", by, n)
            continue
        is_text = row["back_r2"] is None
        back = row["back_accuracy"] if is_text else row["back_r2"]
        rest = _MAX_REST * (1 - row["back_base"]) if is_text else 1.0
        is_coarse = 1 < row["n_values"] <= _MAX_COARSE_VALUES and name == row["name"]
        if is_coarse and back is not None and back >= _MIN_SCORE and 1 - back <= rest:
            found[name] = Leak(name, "follows", back, n)
    return [found[name] for name in sorted(found)]


def _numbers_rows(row: dict) -> bool:
    """Whether a numeric column numbers the rows: integers without gaps that hardly repeat."""
    n = row["n_numbers"]
    if not n or n < _MIN_ROWS or not row["are_whole"]:
        return False
    span = row["high"] - row["low"] + 1
    return abs(span - n) <= _MAX_GAPS * n and row["n_distinct"] >= _MIN_DISTINCT * n


def without_leaks(columns: Columns, leaks: Sequence[Leak], *, keep: Sequence[str]) -> Columns:
    """Exclude leaking columns, except those to keep.

    Raises
    ------
    ModelError
        If no column is left.
    """
    reasons = {
        "predicts": "alone predicts",
        "shape": "without its digits predicts",
        "follows": "follows from",
        "place": "is a row number, unrelated to",
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
            f"No column is left to predict {columns.target}: {', '.join(gone)} leak it. "
            "Keep one with --keep, or add other columns with `sonic features`."
        )
    return replace(columns, dropped=columns.dropped | gone, **roles)
