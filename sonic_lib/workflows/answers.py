"""The result of an identification, the same for both engines; does not load Spark."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from sonic_lib.errors import UsageError
from sonic_lib.matching.scoring import MAX_COPIES, N_CANDIDATES
from sonic_lib.spark.uris import absolute, is_local

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

ENGINES = ("auto", "local", "spark")
COLUMNS = (
    *("clip", "rank", "song", "title", "artist", "clip_start_s", "clip_end_s", "offset_s"),
    *("speed", "n_votes", "score", "p_value", "accepted", "pitch", "note", "error"),
)
# Of a clip without an answer; columns of `matches` that are not here are null then.
NO_MATCH = {
    "clip_start_s": 0.0,
    "rank": 1,
    "n_votes": 0,
    "score": 0.0,
    "p_value": 1.0,
    "accepted": False,
}


class Answers(NamedTuple):
    """Answers of one run.

    Attributes
    ----------
    rows : DataFrame or list of dict
        `COLUMNS`, ordered by clip, position and rank; a DataFrame if Spark found them.
    met : DataFrame or list of dict
        The same, but with more songs per segment than requested, as they may tie with the best.
        A DataFrame is cached until its `unpersist`, and `rows` is read from it.
    counts : dict of str to float
        clips, identified, segments, rejected, seconds.
    run_id : str or None
        Run id of the rows in the table `matches`; None if they were not recorded.
    """

    rows: DataFrame | list[dict]
    met: DataFrame | list[dict]
    counts: dict[str, float]
    run_id: str | None

    def to_pandas(self) -> pd.DataFrame:
        """Collect the rows."""
        import pandas as pd

        if isinstance(self.rows, list):
            return pd.DataFrame(self.rows, columns=list(COLUMNS))
        return self.rows.toPandas()


def works_without_spark(paths: Iterable[str]) -> bool:
    """Whether this installation can handle these files without Spark."""
    return all(map(is_local, paths)) and find_spec("deltalake") is not None


def check_engine(engine: str, paths: Iterable[str]) -> None:
    """Check that an engine can read all these files.

    Raises
    ------
    UsageError
        If it cannot, or there is no such engine.
    """
    if engine not in ENGINES:
        raise UsageError(f"engine {engine!r}: expected {', '.join(ENGINES)}.")
    if engine == "local" and not all(map(is_local, paths)):
        raise UsageError(
            "engine 'local' (--engine local): it reads local files only. Use spark for others."
        )


def n_asked(n_listed: int) -> int:
    """Return how many songs to search for, so that ties with the best are found.

    Raises
    ------
    UsageError
        If more are to be listed than are searched for, or none.
    """
    if not 1 <= n_listed <= N_CANDIDATES:
        raise UsageError(f"n_listed {n_listed} (--candidates): expected 1 to {N_CANDIDATES} songs.")
    return max(n_listed, MAX_COPIES)


def can_record(warehouse: str) -> bool:
    """Whether the tables seem to be writable; remote ones are assumed to be."""
    if not is_local(warehouse):
        return True
    tables = [os.path.join(absolute(warehouse), name) for name in ("matches", "runs")]
    return all(os.access(table, os.W_OK) for table in tables if os.path.exists(table))
