"""What a command says: text for people, or one JSON object for programs (`--json`)."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

_facts: dict[str, object] = {}
_silent = False


def say(text: str, **facts: object) -> None:
    """Print a text, and keep what it tells for those who asked for JSON.

    Parameters
    ----------
    text : str
    **facts
        The same by name: numbers, texts, and lists and dicts of them.
    """
    print(text)
    _facts.update(facts)


def complain(text: str) -> None:
    """Say what went wrong, where people look for it."""
    print(f"sonic: {text}", file=sys.stderr)
    _facts["error"] = text


def is_silent() -> bool:
    """Whether nothing is to be shown on the way: no text, no progress."""
    return _silent


@contextmanager
def only_facts(*, as_json: bool) -> Iterator[dict[str, object]]:
    """Swallow all text inside the `with` block; afterwards print the facts, or nothing.

    Yields
    ------
    dict
        What will be printed; more can be put into it.
    """
    global _silent
    _facts.clear()
    _silent = True
    out = os.dup(1)
    sys.stdout.flush()
    # Libraries in C++ and Java write to the descriptor itself.
    os.dup2(2, 1)
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
            yield _facts
    finally:
        _silent = False
        os.dup2(out, 1)
        os.close(out)
        if as_json:
            print(json.dumps(_plain(_facts), ensure_ascii=False))


def _plain(value: object) -> object:
    """Give a value as JSON has it: no number that is none, nothing of numpy's."""
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
