"""Choose the role of each column of a feature table for a model; no Spark.

Conventions
-----------
A profile is a list of `ColumnProfile`, one per column of a source, from `features.spark.profile`.
Names are compared without regard to case.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sonic_lib.errors import ModelError, UsageError
from sonic_lib.formats import words_of

CLASSIFICATION, REGRESSION = "classification", "regression"
TASKS = {"genre": CLASSIFICATION, "popularity": REGRESSION}  # by model name
ROLES = ("numbers", "categories", "encoded", "lists", "dates", "texts")

UNWANTED = "not wanted"  # why a column was dropped, in cards: the user asked for it
MAX_CATEGORIES = 30  # texts with more values are target-encoded
MAX_CLASSES = 500
_MAX_DISTINCT_SHARE = 0.9  # with more, almost every row has its own value
_MIN_GAPS_SHARE = 0.02
_MIN_SHAPED_SHARE = 0.9  # of values that must look like dates or lists
# The folder of a file often names its genre, but not for new files.
_PLACES = (
    *("folder", "path", "file", "filename", "file_name", "filepath", "file_path"),
    *("audio_file", "audio_path"),
)
# What `sonic predict --output` adds to a table, which may be imported again.
_PREDICTIONS = re.compile(r"(genre|popularity)_(predicted|set|low|high|in_training|probability.*)")
_OUTPUTS = ("probabilities", "prediction", "difficulty")


@dataclass(frozen=True)
class ColumnProfile:
    """Counts of a column: of `n` values, `n_dates` look like dates and `n_lists` like lists."""

    name: str
    kind: str
    n: int
    n_distinct: int
    n_dates: int = 0
    n_lists: int = 0


@dataclass(frozen=True)
class Columns:
    """The columns of a model by their roles.

    Parameters
    ----------
    task : str
        CLASSIFICATION or REGRESSION.
    target : str
        The column to predict.
    numbers, categories, encoded, lists, dates : tuple of str
        Numeric columns; text columns with few values; target-encoded text columns with many
        values; columns of lists; text columns of dates, which may also be target-encoded.
    group : str or None
        Column whose values are never split between training and held-out rows.
    dropped : dict of str to str
        Why each unused column was dropped, by name.
    target_is_number, group_is_number : bool
        Whether they are in the numeric or the text map of the table `features`.
    kept : tuple of str
        Columns kept at the user's request although they seem to leak the target.
    texts : tuple of str
        Titles and names, encoded by their character n-grams.
    gaps : tuple of str
        Numeric columns with so many missing values that a model is told where.
    """

    task: str
    target: str
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    encoded: tuple[str, ...]
    lists: tuple[str, ...]
    dates: tuple[str, ...]
    group: str | None
    dropped: dict[str, str]
    target_is_number: bool
    group_is_number: bool = False
    kept: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()

    @property
    def needed(self) -> tuple[list[str], list[str]]:
        """Numbers and texts that a model reads, for `features.spark.wide`."""
        texts = dict.fromkeys(
            (*self.categories, *self.encoded, *self.lists, *self.dates, *self.texts)
        )
        return list(self.numbers), list(texts)

    @property
    def trained_on(self) -> tuple[list[str], list[str]]:
        """Numbers and texts to train with: those needed, target and group."""
        numbers, texts = self.needed
        extra = [(self.target, self.target_is_number)]
        if self.group is not None:
            extra.append((self.group, self.group_is_number))
        for name, is_number in extra:
            kept = numbers if is_number else texts
            if name not in kept:
                kept.append(name)
        return numbers, texts

    def to_card(self) -> dict:
        """Return the entry of a model card."""
        return asdict(self)

    @classmethod
    def from_card(cls, card: dict) -> Columns:
        """Read what `to_card` returned."""
        roles: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in card.items()
        }
        return cls(**roles)


def choose_columns(
    profile: Sequence[ColumnProfile],
    *,
    model: str,
    target: str | None = None,
    group: str | None = None,
    drop: Collection[str] = (),
    keep: Collection[str] = (),
) -> Columns:
    """Choose the role of each column.

    Parameters
    ----------
    profile : sequence of ColumnProfile
    model : str
        A name in TASKS; also the default target.
    target, group : str, optional
        Column to predict; column whose values are never split.
    drop, keep : collection of str
        Columns to exclude; columns to use even if they look like identifiers or leaks.

    Raises
    ------
    UsageError
        If there is no such column, or the target cannot be predicted.
    ModelError
        If no column is left to train on.
    """
    task = TASKS[model]
    found = _find(profile, target or model)
    if found is None:
        raise UsageError(_no_target(profile, model, target))
    _check_target(found, task, profile, model)
    named = _named(profile, (*drop, *keep, *([group] if group else [])))
    wanted = {named[name].name for name in keep}
    unwanted = {named[name].name for name in drop}
    roles, dropped = _assigned(profile, found, wanted=wanted, unwanted=unwanted)
    grouped = named[group] if group else None
    return Columns(
        task=task,
        target=found.name,
        group=grouped.name if grouped else None,
        dropped=dropped,
        target_is_number=found.kind == "number",
        group_is_number=grouped is not None and grouped.kind == "number",
        kept=tuple(sorted(wanted)),
        gaps=_gaps(profile, roles["numbers"]),
        **roles,
    )


def _named(profile: Sequence[ColumnProfile], names: Sequence[str]) -> dict[str, ColumnProfile]:
    """Find the columns that the user names."""
    found = {name: _find(profile, name) for name in names}
    if missing := [name for name, entry in found.items() if entry is None]:
        raise UsageError(
            f"There is no column {', '.join(missing)}; expected drop, keep and group (--drop, "
            f"--keep, --group) to name some of {', '.join(entry.name for entry in profile)}."
        )
    return {name: entry for name, entry in found.items() if entry}


def _assigned(
    profile: Sequence[ColumnProfile],
    target: ColumnProfile,
    *,
    wanted: Collection[str],
    unwanted: Collection[str],
) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Return the names of the columns in each role, and why each of the others was dropped."""
    roles: dict[str, tuple[str, ...]] = dict.fromkeys(ROLES, ())
    dropped = {}
    for entry in sorted(profile, key=lambda entry: (entry.kind, entry.name)):
        if entry.name == target.name:
            continue
        is_unwanted = entry.name in unwanted
        reason = UNWANTED if is_unwanted else _why_not(entry, target, entry.name in wanted)
        entry_roles = [] if reason else _roles(entry)
        if not entry_roles:
            dropped[entry.name] = reason or "a different value in almost every row"
        for role in entry_roles:
            roles[role] += (entry.name,)
    if not any(roles.values()):
        why = "; ".join(f"{name}: {reason}" for name, reason in dropped.items())
        raise ModelError(
            f"No column is left to predict {target.name} ({why or 'there is no other column'}). "
            "Expected numbers, or texts that repeat; add more with `sonic features`."
        )
    return roles, dropped


def _gaps(profile: Sequence[ColumnProfile], numbers: Sequence[str]) -> tuple[str, ...]:
    """Return the numeric columns with many missing values."""
    n_rows = max(entry.n for entry in profile)
    n_least = (1 - _MIN_GAPS_SHARE) * n_rows
    gappy = {entry.name for entry in profile if entry.n < n_least}
    return tuple(sorted(gappy & set(numbers)))


def _find(profile: Sequence[ColumnProfile], name: str) -> ColumnProfile | None:
    exact = [entry for entry in profile if entry.name == name]
    alike = [entry for entry in profile if entry.name.lower() == name.lower()]
    return next(iter(exact + alike), None)


def _no_target(profile: Sequence[ColumnProfile], model: str, target: str | None) -> str:
    kind = "number" if TASKS[model] == REGRESSION else "text"
    fitting = [entry.name for entry in profile if entry.kind == kind]
    asked = f"{target} (--target)" if target else f"the column {model}"
    return (
        f"The model {model} predicts {asked}, but there is no such column. Choose another target "
        f"(--target); the columns that hold {kind}s are {', '.join(fitting) or '(none)'}."
    )


def _check_target(
    found: ColumnProfile, task: str, profile: Sequence[ColumnProfile], model: str
) -> None:
    if task == REGRESSION and found.kind != "number":
        raise UsageError(
            f"target {found.name} (--target) holds texts, but {model} is a number. "
            + _no_target(profile, model, found.name).partition(". ")[2]
        )
    if task == REGRESSION and found.n_distinct < 2:
        raise UsageError(
            f"target {found.name} (--target) has the same value in all {found.n} rows that have "
            "one; there is nothing to learn. Choose another column."
        )
    if task == CLASSIFICATION and found.n_distinct > min(MAX_CLASSES, found.n / 2):
        raise UsageError(
            f"target {found.name} (--target) has about {found.n_distinct} distinct values in "
            f"{found.n} rows; expected at most {MAX_CLASSES} classes with two rows or more each. "
            "Choose another column."
        )


def _why_not(entry: ColumnProfile, target: ColumnProfile, is_wanted: bool) -> str | None:
    """Why a column cannot be used, or should not unless the user asks for it."""
    tokens = words_of(entry.name)
    if entry.n == 0 or entry.n_distinct <= 1:
        return "the same in every row"
    if entry.name.lower() in _OUTPUTS or entry.name.startswith("_"):
        return "a name that models use themselves"
    if is_wanted:
        return None
    if _PREDICTIONS.fullmatch(entry.name.lower()):
        return "a prediction"
    if entry.name.lower() in _PLACES:
        return "a file location"
    if tokens[-1:] in (["id"], ["uri"], ["url"], ["isrc"]):
        return "an identifier"
    of_target = set(words_of(target.name))
    says_target = (
        bool(of_target)
        and of_target <= set(tokens)
        and (entry.kind == "text" or len(tokens) == len(words_of(target.name)))
    )
    return f"names the target {target.name}" if says_target else None


def _roles(entry: ColumnProfile) -> list[str]:
    if entry.kind == "number":
        return ["numbers"]
    is_date = entry.n_dates >= _MIN_SHAPED_SHARE * entry.n
    if entry.n_lists >= _MIN_SHAPED_SHARE * entry.n:
        return ["lists"]
    roles = ["dates"] if is_date else []
    if entry.n_distinct <= MAX_CATEGORIES and entry.n_distinct <= entry.n / 2:
        return roles or ["categories"]
    if not is_date:
        roles = ["texts"]
    repeats = entry.n_distinct <= _MAX_DISTINCT_SHARE * entry.n
    return [*roles, "encoded"] if repeats else roles
