"""What went wrong around the code: failures of the machine, told by what Spark and Python raise."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sonic_lib.errors import SonicError

# ENOSPC and EDQUOT, as Java, Python and delta-rs tell them; executors' errors come as text.
_FULL = ("No space left on device", "Disk quota exceeded")


@contextmanager
def explained(warehouse: str) -> Iterator[None]:
    """Raise failures of the machine inside the `with` block as errors that say what to do."""
    try:
        yield
    except Exception as error:
        said = explain(error, warehouse=warehouse)
        if said is None:
            raise
        raise SonicError(said) from error


def explain(error: BaseException, *, warehouse: str) -> str | None:
    """Say what to do about a failure of the machine; None of any other.

    Parameters
    ----------
    error : exception
        Whatever a job raised.
    warehouse : str
        Its path or URI.
    """
    full = next((words for words in _FULL if words in _whole_text(error)), None)
    if full is None:
        return None
    return (
        f"A disk is full ({full}). {_free(warehouse)} The tables are whole: a step counts with its "
        "commit, or not at all. Make space on it, and run the same command again; it goes on where "
        "it was. Once some MB are free, `sonic maintain --purge` deletes the files of earlier "
        "states (--retention-hours says of which)."
    )


def _whole_text(error: BaseException) -> str:
    """Messages of an error and its causes, Java's among them."""
    texts = []
    cause: BaseException | None = error
    while cause is not None:
        # PySpark's own str() may leave out Java's causes.
        texts += [str(cause), str(getattr(cause, "_stackTrace", ""))]
        cause = cause.__cause__
    return "\n".join(texts)


def _free(warehouse: str) -> str:
    """How much is free where this process can look."""
    places = {"Spark's scratch files on the driver": tempfile.gettempdir()}
    if "://" not in warehouse and Path(warehouse).exists():
        places = {"the warehouse": warehouse, **places}
    told = (
        f"{shutil.disk_usage(place).free / 1e6:.1f} MB below {place} ({what})"
        for what, place in places.items()
    )
    return f"Free now: {', '.join(told)}."
