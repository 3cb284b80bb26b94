"""Index runs that find nothing new, without Spark: most runs of a schedule."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from sonic_lib.audio.local_files import add_once, walk
from sonic_lib.config import Config
from sonic_lib.errors import SetupError, TableError
from sonic_lib.storage import delta_rs
from sonic_lib.storage.properties import PARAMS
from sonic_lib.storage.run_rows import new_run, run_row

_MAX_FILES = 200_000  # known files; Spark compares more of them, on all cores
_OTHER_TABLES = ("songs", "matches", "runs")  # must exist, as `creation.create` makes missing ones

COUNTED = (
    *("new", "changed", "duplicate", "rejected", "partial", "replaced"),
    *("songs", "audio_s", "hashes"),
)


class IndexRun(NamedTuple):
    """Result of `index_songs`.

    Attributes
    ----------
    counts : dict of str to float
        Counts of files, songs and hashes, and seconds, as in the table `runs`.
    remarks : list of str
        The first few files that were rejected or only used in part, with the reason.
    table_bytes : int
        Size of the fingerprint table.
    passed_over : Counter of str
        Files that were skipped, by extension.
    """

    counts: dict[str, float]
    remarks: list[str]
    table_bytes: int
    passed_over: Counter[str]


def index_if_unchanged(
    config: Config,
    paths: Sequence[str],
    *,
    retry_rejected: bool = False,
    follow_links: bool = True,
) -> IndexRun | None:
    """Record an index run if no file is new or has changed.

    Parameters
    ----------
    config : Config
        With a local warehouse.
    paths : sequence of str
        Local folders and audio files.
    retry_rejected, follow_links
        As in `indexing.index_songs`.

    Returns
    -------
    IndexRun, optional
        None if there is something to do, or only Spark can tell; nothing was written then.

    Raises
    ------
    UsageError
        If a path does not exist.
    """
    started_s = time.monotonic()
    this_run = new_run()
    try:
        for name in _OTHER_TABLES:
            delta_rs.open_table(config.warehouse, name)
        table_bytes = _table_bytes(config)
        if delta_rs.n_rows(config.warehouse, "song_files") > _MAX_FILES:
            return None
        known = _known_files(config.warehouse, retry_rejected=retry_rejected)
        passed_over: Counter[str] = Counter()
        n_files = 0
        for file in _each_once(
            paths, at_most=len(known), follow_links=follow_links, passed_over=passed_over
        ):
            if known.get(file["path"]) != (file["size_bytes"], file["modified_at"]):
                return None
            n_files += 1
        if not n_files:
            return None
        this_run.counts |= {"files": n_files, "unchanged": n_files, **dict.fromkeys(COUNTED, 0)}
        this_run.counts["passed_over"] = passed_over.total()
        this_run.counts["seconds"] = time.monotonic() - started_s
        row = run_row(this_run, job="index", config=config, status="done")
        delta_rs.write_run(row, config.warehouse)
    except (SetupError, TableError):  # Spark may be able to read it, or says what is wrong
        return None
    return IndexRun(dict(this_run.counts), [], table_bytes, passed_over)


def _table_bytes(config: Config) -> int:
    """Return the size of the fingerprint table.

    Raises
    ------
    SetupError, TableError
        Also if it was not made as the settings say.
    """
    import pyarrow as pa

    table = delta_rs.open_current(config.warehouse, "fingerprints")
    properties = table.metadata().configuration
    config.fingerprint.params().check_table(properties.get(PARAMS), warehouse=config.warehouse)
    actions = pa.table(table.get_add_actions(flatten=True))
    return sum(actions["size_bytes"].to_pylist()) if actions.num_rows else 0


def _known_files(warehouse: str, *, retry_rejected: bool) -> dict[str, tuple]:
    """Return size and time of the files that need not be read again (`plan.changed_files`)."""
    columns = ["path", "size_bytes", "modified_at", "status"]
    files = delta_rs.open_table(warehouse, "song_files").to_pyarrow_table(columns=columns)
    return {
        row["path"]: (row["size_bytes"], row["modified_at"])
        for row in files.to_pylist()
        if not (retry_rejected and row["status"] == "rejected")
    }


def _each_once(
    paths: Sequence[str], *, at_most: int, follow_links: bool, passed_over: Counter[str]
) -> list[dict]:
    """List files, none if there are more than `at_most`."""
    found: dict[str, dict] = {}
    for file in walk(list(paths), follow_links=follow_links, passed_over=passed_over):
        add_once(found, file)
        if len(found) > at_most:
            return []
    return list(found.values())
