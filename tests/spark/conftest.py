"""A warehouse of empty tables, and what tests of maintenance put into it and find there."""

from __future__ import annotations

import shutil

import pytest
from pyspark.sql import functions as F

from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.schemas import FINGERPRINTS, SONG_FILES, SONGS
from sonic_lib.storage import creation, tables, writes
from sonic_lib.workflows import maintenance
from tests.spark.rows import BITS, rows_of


@pytest.fixture(scope="session")
def new_tables(_spark_session, tmp_path_factory) -> str:
    place = str(tmp_path_factory.mktemp("new"))
    creation.create(_spark_session, place, params=FingerprintParams(), prefix_bits=BITS)
    return place


@pytest.fixture
def lake(spark, new_tables, warehouse) -> str:
    """A warehouse of existing, empty tables, to save time."""
    return shutil.copytree(new_tables, warehouse)


@pytest.fixture
def put(spark, lake):
    """Write rows to the tables without a stage, as if by a finished run."""

    def rows_into(table, rows: list[tuple], *columns: str) -> None:
        if rows:
            kinds = ", ".join(f"{c} {table.schema[c].dataType.simpleString()}" for c in columns)
            missing = set(table.schema.names) - set(columns)
            # One file, with its rows in the given order.
            frame = spark.createDataFrame(rows, kinds).coalesce(1)
            writes.append(frame.withColumns(dict.fromkeys(missing, F.lit(None))), lake, table)

    def write(fingerprints=(), *, songs: dict[int, int] | None = None, files=()) -> None:
        rows_into(FINGERPRINTS, list(fingerprints), *FINGERPRINTS.schema.names)
        rows_into(SONGS, list((songs or {}).items()), "song_id", "n_fingerprints")
        rows_into(SONG_FILES, [(i, f"/m/{i}") for i in files], "song_id", "path")

    return write


@pytest.fixture
def add(put):
    """Add complete songs."""
    return lambda *ids: put(rows_of(*ids), songs=dict.fromkeys(ids, 8), files=ids)


@pytest.fixture
def broken(spark, lake):
    def find(grace_hours: float = 0.0) -> dict[str, int]:
        found = maintenance.violations(spark, lake, grace_hours=grace_hours)
        return {r.invariant: r.n_broken for r in found if r.n_broken}

    return find


@pytest.fixture
def stored(spark, lake):
    def read(table=FINGERPRINTS, *columns: str) -> list[tuple]:
        frame = tables.read(spark, lake, table)
        return sorted(map(tuple, frame.select(*columns or frame.columns).collect()))

    return read
