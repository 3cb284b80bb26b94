"""Versions of models and their aliases, stored in a directory or in MLflow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Protocol

from sonic_lib.errors import ModelError
from sonic_lib.models.columns import TASKS
from sonic_lib.models.registry import cards
from sonic_lib.models.registry.directory import DirectoryStore
from sonic_lib.models.registry.mlflow import MlflowStore

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import SparkSession

NAMES = tuple(TASKS)


class Store(Protocol):
    """What a `ModelRegistry` needs from a store.  A store never overwrites anything."""

    root: str

    def save(self, name: str, *, model: PipelineModel, card: dict) -> str:
        """Save a fitted model and its card, and return the new version."""

    def load(self, name: str, version: str) -> PipelineModel:
        """Load a pipeline."""

    def card(self, name: str, version: str) -> dict | None:
        """Return the card of a version, or None if there is no such version."""

    def cards(self, name: str) -> list[dict]:
        """Return the cards of all versions, oldest first."""

    def history(self, name: str) -> list[dict]:
        """Return all changes of aliases, oldest first."""

    def set_aliases(self, name: str, change: Callable[[list[dict]], dict]) -> dict:
        """Set champion and challenger to what `change` makes of the history; add it there."""


class ModelRegistry:
    """The models of a warehouse; see `open_registry`.

    A version has a card: a dict of JSON values with `name`, `version`, `created_at` and all that is
    known about the model.  The champion is the version that predicts; the challenger is the newest
    one that was not promoted.

    Examples
    --------
    >>> registry = open_registry(spark, "lake")  # doctest: +SKIP
    >>> model, card = registry.load("genre")  # doctest: +SKIP
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def root(self) -> str:
        """Folder or URI of the store."""
        return self._store.root

    def save(self, name: str, *, model: PipelineModel, card: dict) -> str:
        """Save a fitted model.

        Parameters
        ----------
        name : str
            What the model predicts, such as genre.
        card : dict
            Values that JSON can hold.

        Returns
        -------
        str
            The new version.
        """
        return self._store.save(name, model=model, card=card)

    def load(self, name: str, version: str | None = None) -> tuple[PipelineModel, dict]:
        """Load a model and its card, by default the champion.

        Raises
        ------
        ModelError
            If there is no champion, or no such version.
        """
        if version is None:
            version = self.aliases(name).get("champion")
            if version is None:
                raise ModelError(
                    f"There is no champion of {name} in {self.root}. "
                    f"Train one with `sonic train {name}`, or open another warehouse (--warehouse)."
                )
        card = self._check_version(name, version)
        cards.check(card, f"{self.root}/{name}/{version}")
        return self._store.load(name, version), card

    def versions(self, name: str) -> list[dict]:
        """Return the cards of all versions, oldest first."""
        return self._store.cards(name)

    def aliases(self, name: str) -> dict:
        """Return champion and challenger (versions), at (since when) and why."""
        history = self.alias_history(name)
        return history[-1] if history else {}

    def alias_history(self, name: str) -> list[dict]:
        """Return all values that `aliases` had, oldest first."""
        return self._store.history(name)

    def promote(self, name: str, version: str, *, why: str) -> None:
        """Make a version the champion.

        Raises
        ------
        ModelError
            If there is no such version.
        """
        self._check_version(name, version)
        self._set(name, why=why, champion=version)

    def challenge(self, name: str, version: str, *, why: str) -> None:
        """Make a version the challenger; it serves no predictions.

        Raises
        ------
        ModelError
            If there is no such version.
        """
        self._check_version(name, version)
        self._set(name, why=why, challenger=version)

    def rollback(self, name: str) -> str:
        """Make the previous champion the champion again, and return its version.

        Raises
        ------
        ModelError
            If there is no previous champion.
        """

        def back(history: list[dict]) -> dict:
            champions = _champions(history)
            if len(champions) < 2:
                raise ModelError(
                    f"There is no previous champion of {name} in {self.root}, so nothing to go "
                    f"back to; the champion is {champions[-1] if champions else 'none'}."
                )
            previous, current = champions[-2:]
            why = f"rolled back from {current}"
            return _entry(history, champion=previous, why=why, rolled_back=current)

        return self._store.set_aliases(name, back)["champion"]

    def _set(self, name: str, **changes: str) -> None:
        self._store.set_aliases(name, lambda history: _entry(history, **changes))

    def _check_version(self, name: str, version: str) -> dict:
        card = self._store.card(name, version)
        if card is None:
            known = ", ".join(card["version"] for card in self.versions(name)) or "none"
            raise ModelError(
                f"There is no version {version} of {name} in {self.root}; there is {known}."
            )
        return card


def open_registry(spark: SparkSession, warehouse: str, *, kind: str = "directory") -> ModelRegistry:
    """Open the models of a warehouse.

    Parameters
    ----------
    kind : {'directory', 'mlflow'}

    Raises
    ------
    ConfigError
        If MLflow has no place for this warehouse.
    """
    store: Store = (
        MlflowStore(spark, warehouse) if kind == "mlflow" else DirectoryStore(spark, warehouse)
    )
    return ModelRegistry(store)


def _entry(history: list[dict], **changes: str) -> dict:
    """Return the entry that follows a history: its last aliases, but for the changes."""
    last = history[-1] if history else {}
    roles = {role: last.get(role) for role in ("champion", "challenger")}
    entry = {**roles, "at": datetime.now(timezone.utc).isoformat(), **changes}
    if entry["challenger"] == entry["champion"]:
        entry["challenger"] = None
    return entry


def _champions(history: list[dict]) -> list[str]:
    """Champions one after the other, without those that were rolled back."""
    champions: list[str] = []
    for entry in history:
        champion = entry.get("champion")
        if entry.get("rolled_back"):
            champions = champions[:-1]
        elif champion and champions[-1:] != [champion]:
            champions.append(champion)
    return champions
