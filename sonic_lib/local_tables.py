"""Delta tables of a warehouse on this machine's disk, read and written without Spark, by delta-rs.

What `tables` is for jobs on Spark.  Imports are late: reading a table takes less time than
loading what reads it, and a clip is fingerprinted meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sonic_lib.errors import SetupError, TableError
from sonic_lib.fingerprint.params import FRAMES_PER_S, FingerprintParams
from sonic_lib.hints import install_command

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

    from sonic_lib.matching.lookup import Entries

_PARAMS_PROPERTY = "sonic.fingerprint.params"
_PREFIX_PROPERTY = "sonic.fingerprint.prefix_bits"
# What our tables are made with; later ones may hold deletion vectors or renamed columns.
_PROTOCOL = (1, 2)


@dataclass(frozen=True)
class LocalIndex:
    """An index that is read without Spark.

    Attributes
    ----------
    warehouse : str
        The folder of the tables.
    songs : pyarrow.Table
        song_id, title, artist, duration_s, n_fingerprints.
    fingerprints : deltalake.DeltaTable
        As it was when the index was opened.
    prefix_bits : int
    n_frames : float
        Frames of all songs together.
    n_fingerprints : int
    """

    warehouse: str
    songs: pa.Table
    fingerprints: DeltaTable
    prefix_bits: int
    n_frames: float
    n_fingerprints: int


def open_table(warehouse: str, name: str) -> DeltaTable:
    """Open one table of a local warehouse, by its name in docs/tables.md.

    Raises
    ------
    SetupError
        If delta-rs is not installed or cannot read what the table uses.
    TableError
        If there is no such table.
    """
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError
    except ImportError as error:
        raise SetupError(
            f"Reading tables without Spark needs delta-rs: {install_command('deltalake')}, or use "
            "--engine spark."
        ) from error
    try:
        table = DeltaTable(os.path.join(warehouse, name))
        protocol = table.protocol()
        versions = (protocol.min_reader_version, protocol.min_writer_version)
        if versions > _PROTOCOL:
            raise DeltaError(f"its protocol is {versions}, expected at most {_PROTOCOL}")
        return table
    except TableNotFoundError as error:
        raise TableError(
            f"There is no table {name} in {warehouse}. Give the --warehouse that was filled "
            "before, or fill one with `sonic index FOLDER`."
        ) from error
    except DeltaError as error:
        raise SetupError(
            f"The table {name} in {warehouse} cannot be read without Spark ({error}); use "
            "--engine spark."
        ) from error


def open_index(warehouse: str, *, params: FingerprintParams) -> LocalIndex:
    """Open an index; fingerprints are read when clips are looked up.

    Parameters
    ----------
    warehouse : str
        A local folder.
    params : FingerprintParams
        How clips will be fingerprinted.

    Raises
    ------
    SetupError, TableError
        As `open_table`; also if the index is empty or was made with other parameters.
    """
    columns = ["song_id", "title", "artist", "duration_s", "n_fingerprints"]
    # The songs first: none is there without its fingerprints.
    songs = open_table(warehouse, "songs").to_pyarrow_table(columns=columns)
    fingerprints = open_table(warehouse, "fingerprints")
    properties = fingerprints.metadata().configuration
    params.check_table(properties.get(_PARAMS_PROPERTY), warehouse=warehouse)
    if not songs.num_rows:
        raise TableError(
            f"The index in {warehouse} holds no song; fill it with `sonic index FOLDER` first."
        )
    return LocalIndex(
        warehouse,
        songs,
        fingerprints,
        _prefix_bits(fingerprints),
        float(songs["duration_s"].to_numpy().sum()) * FRAMES_PER_S,
        int(songs["n_fingerprints"].to_numpy().sum()),
    )


def _prefix_bits(fingerprints) -> int:
    """As `tables.prefix_bits`: a table that was rewritten says so in the column's metadata."""
    made_with = fingerprints.metadata().configuration[_PREFIX_PROPERTY]
    [column] = [field for field in fingerprints.schema().fields if field.name == "hash_prefix"]
    return int(column.metadata.get(_PREFIX_PROPERTY, made_with))


def find_entries(index: LocalIndex, wanted: NDArray[np.int64]) -> Entries:
    """Read the fingerprints that have one of some hashes.

    Parameters
    ----------
    wanted : np.ndarray [shape=(k,), int64]
        Distinct hashes.
    """
    from sonic_lib.matching.lookup import collect_entries, places_of

    song_ids = index.songs["song_id"].to_numpy()
    parts = []
    for fragment in index.fingerprints.to_pyarrow_dataset().get_fragments():
        rows = fragment.to_table(columns=["hash", "song_id", "offset_frames"])
        hashes, songs, offsets = (column.to_numpy() for column in rows.columns)
        places = places_of(wanted, hashes)
        places = places[np.isin(songs[places], song_ids)]
        parts.append((hashes[places], songs[places], offsets[places]))
    return collect_entries(parts)


def append(rows: Sequence[dict], warehouse: str, name: str) -> None:
    """Add rows in one commit that Spark reads like its own.

    Parameters
    ----------
    rows : sequence of dict
        By column; a column that is not given is null.

    Raises
    ------
    TableError
        If the table lacks a column, or the rows cannot be written.
    """
    import pyarrow as pa
    from deltalake import write_deltalake
    from deltalake.exceptions import DeltaError

    table = open_table(warehouse, name)
    schema = pa.schema(table.schema().to_arrow())
    missing = {column for row in rows for column in row} - set(schema.names)
    if missing:
        raise TableError(
            f"The table {name} in {warehouse} is of an earlier version, without "
            f"{', '.join(sorted(missing))}. One run with --engine spark brings it up to date."
        )
    try:
        write_deltalake(table, pa.Table.from_pylist(list(rows), schema=schema), mode="append")
    except DeltaError as error:
        raise TableError(
            f"Rows for {name} in {warehouse} cannot be written: {error}. Try again, or use "
            "--engine spark."
        ) from error
