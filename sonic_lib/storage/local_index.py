"""Open the index of a local warehouse with delta-rs, without Spark."""

from __future__ import annotations

import os
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from sonic_lib.fingerprint.params import FRAMES_PER_S, FingerprintParams
from sonic_lib.storage.delta_rs import open_current, place_of
from sonic_lib.storage.missing import no_songs
from sonic_lib.storage.properties import MAX_PREFIX_BITS, PARAMS, PREFIX, whole_number

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

    from sonic_lib.matching.scan import IndexFiles


@dataclass(frozen=True)
class LocalIndex:
    """An index opened without Spark.

    Attributes
    ----------
    warehouse : str
        The folder of the tables.
    songs : pyarrow.Table
        song_id, title, artist, duration_s, n_fingerprints.
    files : IndexFiles
        The fingerprints as of when the index was opened.
    """

    warehouse: str
    songs: pa.Table
    files: IndexFiles


def open_index(warehouse: str, *, params: FingerprintParams) -> LocalIndex:
    """Open an index; fingerprints are only read when clips are looked up.

    Parameters
    ----------
    warehouse : str
        A local folder.
    params : FingerprintParams
        Parameters that clips will be fingerprinted with.

    Raises
    ------
    SetupError, TableError
        As `open_table`; also if the index is empty or was built with other parameters.
    """
    columns = ["song_id", "title", "artist", "duration_s", "n_fingerprints"]
    # Songs first: a song is committed after its fingerprints.
    songs = open_current(warehouse, "songs").to_pyarrow_table(columns=columns)
    fingerprints = open_current(warehouse, "fingerprints")
    properties = fingerprints.metadata().configuration
    params.check_table(properties.get(PARAMS), warehouse=warehouse)
    if not songs.num_rows:
        raise no_songs(warehouse)
    from sonic_lib.matching.scan import IndexFiles

    files, n_rows = _partition_files(fingerprints, place_of(warehouse, "fingerprints"))
    n_fingerprints = int(songs["n_fingerprints"].to_numpy().sum())
    is_whole = n_rows == n_fingerprints
    return LocalIndex(
        warehouse,
        songs,
        IndexFiles(
            files,
            _prefix_bits(fingerprints, warehouse=warehouse),
            n_fingerprints,
            float(songs["duration_s"].to_numpy().sum()) * FRAMES_PER_S,
            np.zeros(0, np.int64) if is_whole else _orphans(fingerprints, songs),
        ),
    )


def _prefix_bits(fingerprints, *, warehouse: str) -> int:
    """As `tables.prefix_bits`: a rewritten table has the number in the column's metadata."""
    made_with = fingerprints.metadata().configuration.get(PREFIX)
    [column] = [field for field in fingerprints.schema().fields if field.name == "hash_prefix"]
    value = column.metadata.get(PREFIX, made_with)
    return whole_number(value, name=PREFIX, warehouse=warehouse, most=MAX_PREFIX_BITS)


def _partition_files(table: DeltaTable, folder: str) -> tuple[dict[int, list[str]], int]:
    """Sorted paths of the data files below `folder` by `hash_prefix`, and the number of rows."""
    import pyarrow as pa

    files: dict[int, list[str]] = {}
    actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    for action in sorted(actions, key=itemgetter("path")):
        path = os.path.join(folder, unquote(action["path"]))
        files.setdefault(int(action["partition.hash_prefix"]), []).append(path)
    return files, sum(action["num_records"] or 0 for action in actions)


def _orphans(fingerprints: DeltaTable, songs: pa.Table) -> NDArray[np.int64]:
    """Songs that have fingerprints but are not in `songs`, ascending."""
    import pyarrow.compute as pc

    ids = [
        pc.unique(fragment.to_table(columns=["song_id"])["song_id"]).to_numpy()
        for fragment in fingerprints.to_pyarrow_dataset().get_fragments()
    ]
    none = np.zeros(0, np.int64)  # the table may have no files
    return np.setdiff1d(np.concatenate([none, *ids]), songs["song_id"].to_numpy())
