"""Compile functions with numba, and keep the compiled code on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numba
from numba.core.caching import FunctionCache


def kernel(**options: Any) -> Callable[[Callable], Any]:
    """Compile a function at its first call, or load it from numba's cache on disk.

    `numba.njit(cache=True)` would raise numba's errors of a cache on a full or read-only disk from
    that call: songs would be rejected for it, and searches would stop.

    Parameters
    ----------
    **options
        Options of `numba.njit` other than ``cache``.

    Returns
    -------
    callable
        A decorator.
    """

    def compiled(function: Callable) -> Any:
        dispatcher = numba.njit(**options)(function)
        with suppress(OSError, RuntimeError):  # numba finds no folder: every process compiles
            dispatcher._cache = _Cache(function)
        return dispatcher

    return compiled


class _Cache(FunctionCache):
    """A cache without which code is compiled again."""

    def load_overload(self, sig, target_context):
        with suppress(OSError):
            return super().load_overload(sig, target_context)
        return None

    def save_overload(self, sig, data):
        with suppress(OSError):
            super().save_overload(sig, data)
