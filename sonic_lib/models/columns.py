"""Which column of a feature table plays which role for a model; without Spark.

Conventions
-----------
A profile is a list of `ColumnProfile`, one for each descriptor of a source: what was counted by
`features.frame.profile` and `preprocess.count_shapes`. Names are compared without regard to case.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sonic_lib.errors import ModelError, UsageError

CLASSIFICATION, REGRESSION = "classification", "regression"
TASKS = {"genre": CLASSIFICATION, "popularity": REGRESSION}  # by the model's name

MAX_CATEGORIES = 30  # a text with more values is encoded by the target
MAX_CLASSES = 500
_MAX_DISTINCT_SHARE = 0.9  # with more, a text is another one in almost every row
_MIN_SHAPED_SHARE = 0.9  # of texts that look like dates or lists, for a column to be one
# Where a file lies tells of its genre what nobody can tell of a new file.
_PLACES = (
    *("folder", "path", "file", "filename", "file_name", "filepath", "file_path"),
    *("audio_file", "audio_path"),
)
_OUTPUTS = ("probabilities", "prediction", "difficulty")


@dataclass(frozen=True)
class ColumnProfile:
    """What is known of a descriptor: of `n` values, `n_dates` and `n_lists` look so."""

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
        What is learned.
    numbers, categories, encoded, lists, dates : tuple of str
        Numbers; texts of few values; texts of many values, and lists, that are encoded by the
        target; texts that are dates, which may be encoded as well.
    group : str or None
        Rows with one value of it stay together in splits.
    dropped : dict of str to str
        Reasons by name.
    target_is_number, group_is_number : bool
        In which of the maps of `features` they are.
    kept : tuple of str
        Used although they seem to give the target away, because a person wanted it so.
    texts : tuple of str
        Titles and names, of which the letters count.
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

    @property
    def needed(self) -> tuple[list[str], list[str]]:
        """Numbers and texts that a model reads of a song, for `features.frame.wide`."""
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
        """Return what a model card says of the columns."""
        return asdict(self)

    @classmethod
    def from_card(cls, card: dict) -> Columns:
        """Return the columns that `to_card` described."""
        told: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in card.items()
        }
        return cls(**told)


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
    profile : sequence of Described
    model : str
        A name in TASKS; the default name of the target.
    target, group : str, optional
        Column to learn; column whose rows stay together in splits.
    drop, keep : collection of str
        Columns that are not to be used; columns to be used though their names, or what is in them,
        speak against it.

    Raises
    ------
    UsageError
        If a name is not there, or the target cannot be learned.
    ModelError
        If nothing is left to learn from.
    """
    task = TASKS[model]
    found = _find(profile, target or model)
    if found is None:
        raise UsageError(_no_target(profile, model, target))
    _check_target(found, task, profile, model)
    named = {name: _find(profile, name) for name in (*drop, *keep, *([group] if group else []))}
    if missing := [name for name, entry in named.items() if entry is None]:
        raise UsageError(
            f"There is no column {', '.join(missing)}; expected --drop, --keep and --group to name "
            f"some of {', '.join(entry.name for entry in profile)}."
        )
    roles: dict[str, list[str]] = {
        role: [] for role in ("numbers", "categories", "encoded", "lists", "dates", "texts")
    }
    unwanted = {entry.name for name in drop if (entry := named[name])}
    wanted = {entry.name for name in keep if (entry := named[name])}
    dropped = {}
    for entry in sorted(profile, key=lambda entry: (entry.kind, entry.name)):
        if entry.name == found.name:
            continue
        reason = (
            "not wanted" if entry.name in unwanted else _why_not(entry, found, entry.name in wanted)
        )
        entry_roles = [] if reason else _roles(entry)
        if not entry_roles:
            dropped[entry.name] = reason or "another value in almost every row"
        for role in entry_roles:
            roles[role].append(entry.name)
    if not any(roles.values()):
        why = "; ".join(f"{name}: {reason}" for name, reason in dropped.items())
        raise ModelError(
            f"Nothing is left to learn {found.name} from ({why or 'there is no other column'}). "
            "Expected numbers or texts that repeat; `sonic features` brings more in."
        )
    grouped = named[group] if group else None
    return Columns(
        task=task,
        target=found.name,
        group=grouped.name if grouped else None,
        dropped=dropped,
        target_is_number=found.kind == "number",
        group_is_number=grouped is not None and grouped.kind == "number",
        kept=tuple(sorted(wanted)),
        **{role: tuple(names) for role, names in roles.items()},
    )


def _find(profile: Sequence[ColumnProfile], name: str) -> ColumnProfile | None:
    exact = [entry for entry in profile if entry.name == name]
    alike = [entry for entry in profile if entry.name.lower() == name.lower()]
    return next(iter(exact + alike), None)


def _no_target(profile: Sequence[ColumnProfile], model: str, target: str | None) -> str:
    kind = "number" if TASKS[model] == REGRESSION else "text"
    fitting = [entry.name for entry in profile if entry.kind == kind]
    asked = f"--target {target}" if target else f"the column {model}"
    return (
        f"The model {model} learns {asked}, but there is no such column. Name another one with "
        f"--target; the columns that hold {kind}s are {', '.join(fitting) or 'none'}."
    )


def _check_target(
    found: ColumnProfile, task: str, profile: Sequence[ColumnProfile], model: str
) -> None:
    if task == REGRESSION and found.kind != "number":
        raise UsageError(
            f"--target {found.name} holds texts, but {model} is learned as a number. "
            + _no_target(profile, model, found.name).partition(". ")[2]
        )
    if task == CLASSIFICATION and found.n_distinct > min(MAX_CLASSES, found.n / 2):
        raise UsageError(
            f"--target {found.name} has some {found.n_distinct} different values in {found.n} "
            f"rows; expected classes with two rows or more each, and at most {MAX_CLASSES}. "
            "Name another column with --target."
        )


def _why_not(entry: ColumnProfile, target: ColumnProfile, is_wanted: bool) -> str | None:
    """Why a column cannot, or unless it is wanted should not, be used."""
    tokens = _tokens(entry.name)
    if entry.n == 0 or entry.n_distinct <= 1:
        return "the same in every row"
    if entry.name.lower() in _OUTPUTS or entry.name.startswith("_"):
        return "a name that models use themselves"
    if is_wanted:
        return None
    if entry.name.lower() in _PLACES:
        return "a place of files"
    if tokens[-1:] in (["id"], ["uri"], ["url"], ["isrc"]):
        return "an identifier"
    says_target = set(_tokens(target.name)) <= set(tokens) and (
        entry.kind == "text" or len(tokens) == len(_tokens(target.name))
    )
    return f"says the target {target.name}" if says_target else None


def _roles(entry: ColumnProfile) -> list[str]:
    if entry.kind == "number":
        return ["numbers"]
    is_date = "date" in entry.name.lower() and entry.n_dates >= _MIN_SHAPED_SHARE * entry.n
    if entry.n_lists >= _MIN_SHAPED_SHARE * entry.n:
        return ["lists"]
    roles = ["dates"] if is_date else []
    if entry.n_distinct <= MAX_CATEGORIES and entry.n_distinct <= entry.n / 2:
        return roles or ["categories"]
    if not is_date:
        roles = ["texts"]
    repeats = entry.n_distinct <= _MAX_DISTINCT_SHARE * entry.n
    return [*roles, "encoded"] if repeats else roles


def _tokens(name: str) -> list[str]:
    """Words of a name in the singular: artistGenres -> artist, genre."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)
    return [word.lower().removesuffix("s") for word in words]
