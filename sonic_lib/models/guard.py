"""What a model is read by: whatever somebody has written into it becomes one error of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sonic_lib.errors import ModelError

# What wrong types, sizes, places and values raise here, in NumPy, Arrow and XGBoost.
_OF_CONTENT = (
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
    """Raise what the content of a model makes fail inside the `with` block as a `ModelError`.

    Parameters
    ----------
    what : str
        What is read, to begin a sentence with.
    """
    try:
        yield
    except ModelError:
        raise
    except _OF_CONTENT as error:
        raise broken(what, f"{type(error).__name__}: {error}".split("\n")[0][:200]) from error


def broken(what: str, why: str) -> ModelError:
    """Say that a model is not as our training wrote it."""
    return ModelError(
        f"{what} is not as a training of ours wrote it ({why}). Train it again, or go back with "
        "`sonic models --rollback`; if nobody's disk is to blame, see who may write there."
    )
