"""Read and write Delta tables of a local warehouse with delta-rs, without Spark.

The counterpart of `tables` and `writes`.  delta-rs is imported late: loading it takes longer than
reading a table, and clips are fingerprinted in the meantime.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sonic_lib.errors import SetupError, TableError, install_command
from sonic_lib.spark.uris import absolute
from sonic_lib.storage.checksums import drop_wrong_sums
from sonic_lib.storage.locks import writing
from sonic_lib.storage.log_files import LOG, POINTER
from sonic_lib.storage.missing import no_table
from sonic_lib.storage.own_files import check_files
from sonic_lib.storage.properties import check_layout

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable


# Our tables need reader and writer protocol 2, or 3 with constraints, which delta-rs enforces.
# Later protocols may use deletion vectors or renamed columns.
_PROTOCOL = (1, 3)
# It takes %20 for a space, so it may open another folder, and cannot write below brackets.
_MISREAD = re.compile(r"[\[\]\\]|%[0-9a-fA-F]{2}")


def open_table(warehouse: str, name: str, *, version: int | None = None) -> DeltaTable:
    """Open one table of a local warehouse, now or at a version, by its name in docs/tables.md.

    Raises
    ------
    SetupError
        If delta-rs is not installed or cannot read what the table uses.
    TableError
        If there is no such table, or it names files outside of its folder.
    """
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError
    except ImportError as error:
        raise _not_installed() from error
    place = place_of(warehouse, name)
    check_files(place)
    try:
        _check_name(place)
        table = DeltaTable(place, version=version)
        protocol = table.protocol()
        versions = (protocol.min_reader_version, protocol.min_writer_version)
        if versions > _PROTOCOL:
            raise DeltaError(f"its protocol is {versions}, expected at most {_PROTOCOL}")
        return table
    except TableNotFoundError as error:
        raise no_table(warehouse, name) from error
    except DeltaError as error:
        raise _not_usable(warehouse, name, error) from error


def open_current(warehouse: str, name: str) -> DeltaTable:
    """Open the table of songs or fingerprints, if its layout is the one that this version reads.

    Raises
    ------
    SetupError, TableError
        As `open_table`; also if it has another layout.
    """
    table = open_table(warehouse, name)
    check_layout(table.metadata().configuration, table=name, warehouse=warehouse)
    return table


def place_of(warehouse: str, name: str) -> str:
    """Return the folder of a table; for all other code here, ``file:/lake`` is not one."""
    return os.path.join(absolute(warehouse), name)


def _check_name(place: str) -> None:
    from deltalake.exceptions import DeltaError

    if found := _MISREAD.search(place):
        raise DeltaError(f"it misreads {found[0]} in the name of a folder")


def _not_installed() -> SetupError:
    return SetupError(
        f"Reading tables without Spark needs delta-rs: {install_command('deltalake')}, or use "
        "--engine spark."
    )


def _not_usable(warehouse: str, name: str, error: Exception) -> SetupError:
    return SetupError(
        f"The table {name} in {warehouse} cannot be used without Spark, by delta-rs ({error}); "
        "use --engine spark."
    )


def n_rows(warehouse: str, name: str) -> int:
    """Count the rows of a table from its log.

    Raises
    ------
    SetupError, TableError
        As `open_table`.
    """
    import pyarrow as pa

    actions = pa.table(open_table(warehouse, name).get_add_actions(flatten=True))
    # Other writers may omit the counts.
    return sum(n or 0 for n in actions["num_records"].to_pylist()) if actions.num_rows else 0


def sources(warehouse: str, name: str, *, version: int | None = None) -> list[str] | None:
    """Return the sources in a table, from its log, sorted; None if it is not partitioned by source.

    Raises
    ------
    SetupError, TableError
        As `open_table`.
    """
    found = open_table(warehouse, name, version=version)
    if found.metadata().partition_columns != ["source"]:  # others may have rewritten it
        return None
    return sorted({partition["source"] for partition in found.partitions()})


def list_songs(warehouse: str) -> pa.Table:
    """Return all songs: song_id, title, artist, album, duration_s and path (`first_files`).

    Raises
    ------
    SetupError, TableError
        As `open_table`.
    """
    columns = ["song_id", "title", "artist", "album", "duration_s"]
    songs = open_current(warehouse, "songs").to_pyarrow_table(columns=columns)
    return songs.join(first_files(warehouse).select(["song_id", "path"]), "song_id")


def first_files(warehouse: str, *, song_ids: pa.Array | None = None) -> pa.Table:
    """Choose one file per song, as `index.copies.first_files` does on Spark.

    Parameters
    ----------
    song_ids : pyarrow.Array of int64, optional
        All songs by default.

    Returns
    -------
    pyarrow.Table
        song_id, path and root.

    Raises
    ------
    SetupError, TableError
        As `open_table`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    song_id = pc.field("song_id")
    files = open_table(warehouse, "song_files").to_pyarrow_dataset()
    found = files.to_table(
        columns=["song_id", "path", "root", "status"],
        filter=song_id.is_valid() if song_ids is None else song_id.isin(song_ids),
    )
    is_copy = pc.not_equal(found["status"], "indexed")
    ordered = found.append_column("is_copy", is_copy).sort_by(
        [("is_copy", "ascending"), ("path", "ascending")]
    )
    # Not in threads, which would not keep the order.
    first = ordered.group_by("song_id", use_threads=False).aggregate(
        [("path", "first"), ("root", "first")]
    )
    columns = ("song_id", "path_first", "root_first")
    return pa.table([first[name] for name in columns], names=["song_id", "path", "root"])


def create(
    warehouse: str,
    name: str,
    *,
    schema_json: str,
    partitioned_by: Sequence[str],
    comment: str,
    properties: Mapping[str, str],
) -> None:
    """Create a table like Spark's, unless it exists.

    Parameters
    ----------
    schema_json : str
        The schema in the format of Spark and of Delta's log.

    Raises
    ------
    SetupError
        If delta-rs is not installed, or cannot create a table in this folder.
    """
    try:
        from deltalake import DeltaTable, Schema
        from deltalake.exceptions import DeltaError
    except ImportError as error:
        raise _not_installed() from error
    place = place_of(warehouse, name)
    try:
        _check_name(place)
        with writing(warehouse, name):
            DeltaTable.create(
                place,
                Schema.from_json(schema_json),
                mode="ignore",
                partition_by=list(partitioned_by),
                description=comment,
                configuration=properties,
                raise_if_key_not_exists=False,  # our properties are not among Delta's
            )
    except (DeltaError, OSError) as error:
        raise _not_usable(warehouse, name, error) from error


def append(
    rows: Sequence[dict], warehouse: str, name: str, *, replacing: str | None = None
) -> None:
    """Add rows in one commit that Spark reads like its own.

    Parameters
    ----------
    rows : sequence of dict
        By column; missing columns are null.
    replacing : str, optional
        SQL condition on the columns; rows that meet it are deleted in the same
        commit.  The new rows must meet it, too.

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
            f"The table {name} in {warehouse} was made by an earlier version and lacks "
            f"{', '.join(sorted(missing))}. One run with --engine spark brings it up to date."
        )
    try:
        with writing(warehouse, name):
            table.update_incremental()  # another job may have committed while this one waited
            new = pa.Table.from_pylist(list(rows), schema=schema)
            if replacing is None:
                write_deltalake(table, new, mode="append")
            else:
                write_deltalake(table, new, mode="overwrite", predicate=replacing)
            drop_wrong_sums(Path(place_of(warehouse, name), LOG, POINTER))
    except DeltaError as error:
        raise TableError(
            f"Rows for {name} in {warehouse} cannot be written: {error}. Try again, or use "
            "--engine spark."
        ) from error


def write_run(row: dict, warehouse: str, *, is_new: bool = True) -> None:
    """Write a row of the table `runs`, in place of the earlier row of a run that is not new.

    Raises
    ------
    SetupError, TableError
        As `append`.
    """
    replacing = None if is_new else f"run_id = '{row['run_id']}'"
    pairs = {"counts": list(row["counts"].items())}  # as Arrow takes a map
    append([row | pairs], warehouse, "runs", replacing=replacing)
