"""The files of a local Delta log: its entries and checkpoints."""

from __future__ import annotations

import os
import re
from pathlib import Path

LOG = "_delta_log"
ENTRY = re.compile(r"(\d{20})\.json")
CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\..*parquet")


def by_version(log: Path, pattern: re.Pattern) -> dict[int, Path]:
    """Return a log's entries or checkpoints by version; none if there is no log."""
    names = os.listdir(log) if log.is_dir() else []
    found = ((pattern.fullmatch(name), name) for name in names)
    return {int(match[1]): log / name for match, name in found if match}


def has_version(place: str) -> bool:
    """Whether a folder has a log with an entry or a checkpoint."""
    try:
        return any(by_version(Path(place, LOG), pattern) for pattern in (ENTRY, CHECKPOINT))
    except OSError:
        return False


def live_in(checkpoint: Path) -> dict[str, int | None]:
    """Return the paths and sizes of the data files that a checkpoint lists.

    Raises
    ------
    OSError, ValueError
        If the checkpoint cannot be read.
    """
    import pyarrow.parquet as pq

    # Not by read_table, which may flatten the struct column.
    adds = pq.ParquetFile(checkpoint).read(columns=["add.path", "add.size"])["add"].to_pylist()
    return {add["path"]: add["size"] for add in adds if add and add["path"]}
