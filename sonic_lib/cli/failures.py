"""Recognise full disks and damaged tables in errors of Spark and Python."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import quote

from sonic_lib.errors import ReportError, SonicError
from sonic_lib.spark.sentences import sentence
from sonic_lib.spark.uris import absolute, is_local

# ENOSPC and EDQUOT, as Java, Python and delta-rs report them; executors' errors come as text.
_FULL = ("No space left on device", "Disk quota exceeded")
# What Delta, Parquet, Hadoop, Arrow and delta-rs say about missing, truncated or changed files.
_DAMAGED = re.compile(
    r"Checksum(Exception| error)|DELTA_(LOG_FILE_NOT_FOUND|VERSIONS_NOT_CONTIGUOUS"
    r"|TRUNCATED_TRANSACTION_LOG|STATE_RECOVER_ERROR|FILE_NOT_FOUND|SCHEMA_NOT_SET|MISSING_|EMPTY_)"
    r"|Json(Parse|EOF|Mapping)Exception|(Unexpected|[Uu]nrecognized) (end-of-input|token)"
    r"|FAILED_READ_FILE|not a Parquet file|[Pp]arquet (magic|file size)|FileNotFound"
    r"|No such file|Object .* not found|[Ff]ailed to parse|Invalid (JSON|table)"
)
_CAUSE = re.compile(r"^(?:Caused by)?: (?:[\w.$]+\.)?(\w+(?:Exception|Error))(?:: (.*))?$", re.M)
_IN_PYTHON = re.compile(r"^(?:[\w.]+\.)?(\w+(?:Exception|Error)): (.+)$", re.M)


@contextmanager
def explained(warehouse: str) -> Iterator[None]:
    """Convert failures of the machine inside the block to errors that say what to do."""
    try:
        yield
    except Exception as error:
        message = explain(error, warehouse=warehouse)
        if message is None:
            raise
        raise SonicError(message) from error


def explain(error: BaseException, *, warehouse: str) -> str | None:
    """Return the error that says what to do about a failure of the machine; None for others.

    Parameters
    ----------
    error : exception
        Whatever a job raised.
    warehouse : str
        Its path or URI.
    """
    if isinstance(error, ReportError):  # nothing is to be run again, also if a disk is full
        return None
    text = _whole_text(error)
    full = next((words for words in _FULL if words in text), None)
    if full is None:
        return _explain_damage(error, text, warehouse)
    return (
        f"A disk is full ({full}). {_free(warehouse)} The tables are intact: every step is "
        "committed completely or not at all. Free some space and run the same command again; it "
        "continues where it stopped. Once some MB are free, `sonic maintain --purge` deletes the "
        "files of earlier states (--retention-hours sets how old)."
    )


def reason(error: BaseException) -> str:
    """Return the root cause of what Spark raised, in one line.

    Parameters
    ----------
    error : exception
        Of PySpark or of Py4J.
    """
    first = str(error).strip().split("\n")[0]
    if type(error).__name__ in ("AnalysisException", "ParseException"):
        return sentence(error)  # about the user's own SQL or paths, without the plan
    text = _whole_text(error)
    worker = text.rpartition("Traceback (most recent call last)")[2]
    found = _IN_PYTHON.findall(worker) if worker != text else _CAUSE.findall(text)
    causes = [f"{kind}: {message.strip()}" for kind, message in found if message.strip()]
    return causes[-1] if causes else first


def _explain_damage(error: BaseException, text: str, warehouse: str) -> str | None:
    place = absolute(warehouse) if is_local(warehouse) else warehouse
    is_of_tables = place in text or quote(place) in text or "_delta_log" in text
    if isinstance(error, SonicError) or not (is_of_tables and _DAMAGED.search(text)):
        return None
    return (
        f"Tables in {warehouse} are damaged: {reason(error)} `sonic maintain --check` names each "
        "broken file of a local warehouse, its version and what to do; `sonic maintain` repairs "
        "what it can."
    )


def _whole_text(error: BaseException) -> str:
    """Return the messages of an error and its causes, including Java's."""
    texts = []
    cause: BaseException | None = error
    while cause is not None:
        # PySpark's own str() may omit Java's causes.
        texts += [str(cause), str(getattr(cause, "_stackTrace", ""))]
        cause = cause.__cause__
    return "\n".join(texts)


def _free(warehouse: str) -> str:
    """Describe the free space on the disks that this process can see."""
    places = {
        "the warehouse": lambda: warehouse,
        "Spark's scratch files on the driver": tempfile.gettempdir,
    }
    free = []
    for what, find in places.items():
        # It may be remote. Temporary folders are tried by writing to them, and all may be full.
        with suppress(OSError):
            place = find()
            free.append(f"{shutil.disk_usage(place).free / 1e6:.1f} MB below {place} ({what})")
    return f"Free now: {', '.join(free) or 'nothing for temporary files'}."
