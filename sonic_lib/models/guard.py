"""Turn failures caused by a model's content, which may be malicious, into `ModelError`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sonic_lib.errors import ModelError

# What NumPy, Arrow, XGBoost and our readers raise for wrong types, sizes, indices and values.
_CONTENT_ERRORS = (
    ArithmeticError,
    AttributeError,
    BufferError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


@contextmanager
def content_of(what: str) -> Iterator[None]:
    """Convert errors that a model's content causes inside the `with` block to `ModelError`.

    Parameters
    ----------
    what : str
        What is being read; starts the message.
    """
    try:
        yield
    except ModelError:
        raise
    except _CONTENT_ERRORS as error:
        raise broken(what, f"{type(error).__name__}: {error}".split("\n")[0][:200]) from error


def broken(what: str, why: str) -> ModelError:
    """Return the error for a model that differs from what our training writes."""
    return ModelError(
        f"{what} is damaged or was changed after training ({why}). Train it again, or go back "
        "with `sonic models --rollback`. If the disk is healthy, check who can write there."
    )
