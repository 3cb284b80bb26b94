"""A small warehouse as the first version wrote it, and one of a version that is yet to come."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from sonic_lib import tables
from sonic_lib.audio.demo import SAMPLE_RATE_HZ, demo_songs, write_song
from sonic_lib.cli import main
from sonic_lib.schemas import FINGERPRINTS, SONGS

FROZEN = Path(__file__).parents[1] / "data" / "layout1"


@pytest.fixture
def frozen(tmp_path) -> str:
    return shutil.copytree(FROZEN, tmp_path / "lake").as_posix()


def short_songs(n: int):
    """The frozen table holds the first two."""
    return [replace(song, duration_s=8.0) for song in demo_songs(8, seed=7)[:n]]


def test_the_first_layout_reads_identifies_indexes_and_is_maintained(spark, frozen, tmp_path):
    assert "sonic.layout" not in _properties(spark, frozen, FINGERPRINTS)
    songs = tables.read(spark, frozen, SONGS)
    known, other, new = short_songs(3)
    assert {row.title for row in songs.collect()} == {known.title, other.title}

    (tmp_path / "clips").mkdir()
    samples = write_song(replace(known, path="known.wav"), tmp_path)
    soundfile.write(tmp_path / "clips" / "clip.wav", samples[SAMPLE_RATE_HZ:], SAMPLE_RATE_HZ)
    write_song(replace(new, path="new.wav"), tmp_path / "more")

    at = ("--warehouse", frozen, "--set", "fingerprint.min_hz=400")
    for _ in range(2):
        assert main(["index", str(tmp_path / "more"), *at]) == 0
        assert tables.read(spark, frozen, SONGS).count() == 3
    assert main(["identify", str(tmp_path / "clips"), "--output", f"{tmp_path}/f.csv", *at]) == 0
    (row,) = csv.DictReader((tmp_path / "f.csv").open(encoding="utf-8"))
    assert (row["title"], row["accepted"]) == (known.title, "true")
    assert main(["maintain", *at]) == 0
    assert tables.prefix_bits(spark, frozen) == 1


@pytest.mark.parametrize("command", [["index", "."], ["identify", "."], ["remove", "1"],
                                     ["maintain"], ["duplicates"]])  # fmt: skip
def test_a_layout_of_a_newer_version_is_refused_before_anything_changes(
    spark, frozen, command, capsys
):
    place = tables.location(frozen, SONGS)
    spark.sql(f"ALTER TABLE delta.`{place}` SET TBLPROPERTIES ('sonic.layout' = '2')")
    before = sorted(Path(frozen).rglob("*"))
    assert main([*command, "--warehouse", frozen]) == 1
    assert "songs" in (said := capsys.readouterr().err)
    assert "layout 2" in said
    assert "knows layouts up to 1" in said
    assert sorted(Path(frozen).rglob("*")) == before


def test_new_tables_carry_the_layout(spark, warehouse):
    tables.create(spark, warehouse, params=tables.FingerprintParams(), prefix_bits=1)
    for table in (SONGS, FINGERPRINTS):
        assert _properties(spark, warehouse, table)["sonic.layout"] == str(tables.LAYOUT)


def _properties(spark, warehouse: str, table) -> dict[str, str]:
    place = tables.location(warehouse, table)
    return spark.sql(f"DESCRIBE DETAIL delta.`{place}`").first()["properties"]
