"""What an identification gives out, whichever engine found it; loads no Spark."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from sonic_lib.audio.local_files import is_local
from sonic_lib.matching.scoring import MAX_COPIES

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

COLUMNS = (
    *("clip", "rank", "song", "title", "artist", "clip_start_s", "clip_end_s", "offset_s"),
    *("speed", "n_votes", "score", "p_value", "accepted", "pitch", "note", "error"),
)


class Answers(NamedTuple):
    """Answers of one run.

    Attributes
    ----------
    rows : DataFrame or list of dict
        `COLUMNS`, in the order of clips, places and ranks; a frame if Spark found them.
    met : DataFrame or list of dict
        The same, and below the songs that were asked for others that were met: they may tie.
    counts : dict of str to float
        clips, identified, segments, rejected, seconds.
    run_id : str or None
        Under which they stand in `matches`; None if they were not recorded.
    """

    rows: DataFrame | list[dict]
    met: DataFrame | list[dict]
    counts: dict[str, float]
    run_id: str | None

    def to_pandas(self) -> pd.DataFrame:
        """Bring the rows into this process."""
        import pandas as pd

        if isinstance(self.rows, list):
            return pd.DataFrame(self.rows, columns=list(COLUMNS))
        return self.rows.toPandas()


def n_asked(n_listed: int) -> int:
    """Say how many songs to ask for, so that songs that tie with the best are met."""
    return max(n_listed, MAX_COPIES)


def can_record(warehouse: str) -> bool:
    """Whether answers may be written into the tables, as far as can be seen beforehand."""
    tables = [os.path.join(warehouse, name) for name in ("matches", "runs")]
    return not is_local(warehouse) or all(
        os.access(table, os.W_OK) for table in tables if os.path.exists(table)
    )
