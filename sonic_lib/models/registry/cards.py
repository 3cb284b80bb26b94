"""Validate a model's card: JSON with the types that our training writes."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from sonic_lib.errors import ModelError
from sonic_lib.models.columns import Columns
from sonic_lib.models.guard import broken

MAX_BYTES = 16 << 20
_VERSION = re.compile(r"[\w-]+")
_Threshold = float | dict[int, float | None] | None


class _OpenModel(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Conformal(_OpenModel):
    method: str
    thresholds: list[tuple[float, _Threshold]]
    limits: tuple[float | None, float | None] | None = None


class _Snapshot(_OpenModel):
    source: str
    labels: str | None = None
    features_version: int


class _Card(_OpenModel):
    name: str
    version: str
    task: str | None = None
    columns: Columns | None = None
    classes: list[str] = []
    kind: str | None = None
    seed: int = 0
    class_weights: bool = False
    metrics: dict[str, float | None] = {}
    conformal: _Conformal | None = None
    importances: list[tuple[str, float]] = []
    fitted_on: str | None = None
    snapshot: _Snapshot | None = None


def check_size(size_bytes: int | None, place: str) -> None:
    """Reject a card, or another small JSON file, before it is read.

    Parameters
    ----------
    size_bytes : int or None
        None if it is not a regular file.

    Raises
    ------
    ModelError
        If it is too large, or may never end.
    """
    if size_bytes is not None and size_bytes <= MAX_BYTES:
        return
    found = "is not a regular file" if size_bytes is None else f"has {size_bytes:,} bytes"
    raise ModelError(
        f"{place} {found}, so it was not read; expected a file of {MAX_BYTES:,} bytes at most. It "
        "was not written by Sonic Signature: move it away, and check who can write there."
    )


def is_version(text: object) -> bool:
    """Whether a text can be the name of a version, and not a path that leads elsewhere."""
    return isinstance(text, str) and bool(_VERSION.fullmatch(text))


def read(text: str) -> dict[str, Any] | None:
    """Parse a card, or another JSON object; None if the text is not one."""
    try:
        card = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return card if isinstance(card, dict) else None


def check(card: dict[str, Any], place: str) -> None:
    """Reject a card whose values have other types than our training writes.

    Raises
    ------
    ModelError
    """
    try:
        _Card.model_validate(card)
        if card.get("columns"):
            Columns.from_card(card["columns"])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise _refused(place, f"{where}: {first['msg']}") from error
    except TypeError as error:  # an unknown role
        raise _refused(place, f"columns: {error}") from error
    except RecursionError as error:
        raise _refused(place, "it is nested too deeply") from error


def _refused(place: str, why: str) -> ModelError:
    return broken(f"The card of the model in {place}", why)
