"""The life cycle of an index: duplicates, removal, restore, repartitioning, purge."""

from __future__ import annotations

import csv
import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sonic_lib.cli.main import main
from sonic_lib.schemas import FINGERPRINTS, RUNS
from sonic_lib.storage import tables
from tests.e2e.conftest import contents

RATE_HZ = 22_050


@pytest.fixture
def library(collection, tmp_path) -> Path:
    """Three songs, two copies of the first (quieter, trimmed), and its middle inside the second."""
    folder = tmp_path / "library"
    folder.mkdir()
    first, second, third = (samples for samples in list(collection.samples.values())[:3])
    n = 10 * RATE_HZ
    spliced = np.concatenate([second, first[RATE_HZ : RATE_HZ + n], second])
    for name, samples in {
        "first.flac": first,
        "quieter.ogg": 0.2 * first,
        "cut.flac": first[2 * RATE_HZ + 100 : 14 * RATE_HZ],
        "spliced.flac": spliced,
        "third.flac": third,
    }.items():
        soundfile.write(folder / name, samples, RATE_HZ)
    return folder


def sonic(*arguments: str) -> int:
    return main([*map(str, arguments)])


def test_life_cycle_of_an_index(spark, library, tmp_path, capsys):
    lake = str(tmp_path / "lake")
    at = ("--warehouse", lake)
    assert sonic("index", library, *at) == 0

    pairs_file = tmp_path / "pairs.csv"
    assert sonic("duplicates", "--output", pairs_file, *at) == 0
    with open(pairs_file, encoding="utf-8") as file:
        pairs = {frozenset((r["song"], r["other_song"])): r for r in csv.DictReader(file)}
    copies = [
        {"first.flac", "quieter.ogg"},
        {"first.flac", "cut.flac"},
        {"cut.flac", "quieter.ogg"},
    ]
    for pair in map(frozenset, copies):
        assert pairs[pair]["kind"] == "same recording"
        assert pairs[pair]["keep"] == "first.flac"
    assert len({pairs[frozenset(pair)]["group"] for pair in copies}) == 1
    passage = pairs[frozenset(("first.flac", "spliced.flac"))]
    assert float(passage["overlap_s"]) == pytest.approx(10, abs=2)
    assert not any("third.flac" in pair for pair in pairs)

    whole = contents(spark, lake)
    then = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
    time.sleep(0.01)
    assert sonic("remove", "--where", "title IN ('quieter', 'cut'); DROP TABLE x", *at) == 2
    assert sonic("remove", "--where", "title IN ('quieter', 'cut')", *at) == 0
    assert sonic("maintain", "--prefix-bits", "2", *at) == 0
    assert tables.prefix_bits(spark, lake) == 2
    assert len(contents(spark, lake)["songs"]) == 3
    assert sonic("identify", library / "first.flac", "--output", tmp_path / "found.csv", *at) == 0
    found = list(csv.DictReader((tmp_path / "found.csv").open(encoding="utf-8")))
    assert found[0]["song"] == "first.flac"

    assert sonic("maintain", "--restore-to", then, *at) == 0
    assert contents(spark, lake) == whole
    assert sonic("maintain", "--purge", "--retention-hours", "0", "--grace-hours", "0", *at) == 0
    assert contents(spark, lake) == whole
    live = len(tables.read(spark, lake, FINGERPRINTS).inputFiles())
    assert len(list(Path(lake, "fingerprints").glob("hash_prefix=*/*.parquet"))) == live

    assert sonic("maintain", "--check", *at) == 0
    spark.sql(f"DELETE FROM delta.`{lake}/songs` WHERE title = 'first'")
    capsys.readouterr()
    assert sonic("maintain", "--check", "--grace-hours", "0", *at) == 1
    assert "1 broken, such as: song" in capsys.readouterr().out
    assert sonic("maintain", "--grace-hours", "0", *at) == 0
    assert sonic("index", library, *at) == 0
    assert contents(spark, lake) == whole
    jobs = {r.job for r in tables.read(spark, lake, RUNS).filter("status = 'done'").collect()}
    assert jobs == {"index", "duplicates", "remove", "maintain", "identify"}
