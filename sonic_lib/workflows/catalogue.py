"""List songs by path, title, artist and album; loads Spark only if it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import product
from typing import TYPE_CHECKING

from sonic_lib.errors import SetupError
from sonic_lib.storage.delta_rs import list_songs, n_rows
from sonic_lib.workflows.spellings import spellings

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from sonic_lib.config import Config

COLUMNS = ("path", "title", "artist", "album", "duration_s", "song_id")
_ORDER = ("path", "song_id")
_SEARCHED = ("path", "title", "artist", "album")
_MAX_LOCAL_SONGS = 1_000_000  # the names of more songs do not fit into the memory of a laptop


def list_without_spark(warehouse: str, words: Sequence[str]) -> pa.Table | None:
    """List the songs of a warehouse on this machine.

    Parameters
    ----------
    warehouse : str
        A local folder.
    words : sequence of str
        Words that must all occur in path, title, artist or album; case and the
        Unicode form of accents are ignored.

    Returns
    -------
    pyarrow.Table, optional
        `COLUMNS`, ordered by path; None if Spark is needed.

    Raises
    ------
    TableError
        If there is no index.
    """
    try:
        if n_rows(warehouse, "songs") > _MAX_LOCAL_SONGS:
            return None
        found = list_songs(warehouse).select(list(COLUMNS))
    except SetupError:
        return None
    import pyarrow.compute as pc

    for word in words:
        is_in = [
            pc.match_substring(found[name], spelling, ignore_case=True)
            for name, spelling in product(_SEARCHED, spellings(word))
        ]
        found = found.filter(reduce(pc.or_kleene, is_in))  # null counts as false
    return found.sort_by([(name, "ascending") for name in _ORDER])


def list_on_spark(spark: SparkSession, config: Config, words: Sequence[str]) -> DataFrame:
    """List the songs of any warehouse; words and result as in `list_without_spark`."""
    from sonic_lib.sql import views
    from sonic_lib.storage import tables

    views.create(spark, tables.register(spark, config.warehouse))
    return spark.table("sonic.catalogue").transform(searched, words=words).orderBy(*_ORDER)


def searched(catalogue: DataFrame, *, words: Sequence[str]) -> DataFrame:
    """Select songs of the view `catalogue` that contain all words: `COLUMNS`."""
    from pyspark.sql import functions as F

    found = catalogue.withColumnRenamed("first_path", "path").select(*COLUMNS)
    for word in words:
        is_in = F.lit(False)
        for name, spelling in product(_SEARCHED, spellings(word)):
            is_in |= F.contains(F.lower(F.coalesce(name, F.lit(""))), F.lower(F.lit(spelling)))
        found = found.filter(is_in)
    return found
