"""Small warehouses written by earlier versions, and one of a future version."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from sonic_lib.cli.main import main
from sonic_lib.errors import TableError
from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.schemas import FINGERPRINTS, SONGS
from sonic_lib.storage import creation, delta_rs, local_index, tables
from sonic_lib.storage.properties import LAYOUT_VERSION
from sonic_lib.synth.collection import SAMPLE_RATE_HZ, demo_songs, write_song

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def frozen(tmp_path) -> str:
    return shutil.copytree(DATA / "layout2", tmp_path / "lake").as_posix()


@pytest.fixture
def first_layout(tmp_path) -> str:
    """Fingerprints without descriptors."""
    return shutil.copytree(DATA / "layout1", tmp_path / "lake").as_posix()


def short_songs(n: int):
    """Songs of which the frozen table holds the first two."""
    return [replace(song, duration_s=8.0) for song in demo_songs(8, seed=7)[:n]]


def test_frozen_layout_can_be_read_extended_and_maintained(spark, frozen, tmp_path):
    assert _properties(spark, frozen, FINGERPRINTS)["sonic.layout"] == "2"
    songs = tables.read(spark, frozen, SONGS)
    known, other, new = short_songs(3)
    assert {row.title for row in songs.collect()} == {known.title, other.title}

    (tmp_path / "clips").mkdir()
    samples = write_song(replace(known, path="known.wav"), tmp_path)
    soundfile.write(tmp_path / "clips" / "clip.wav", samples[SAMPLE_RATE_HZ:], SAMPLE_RATE_HZ)
    write_song(replace(new, path="new.wav"), tmp_path / "more")

    at = ("--warehouse", frozen)
    for _ in range(2):
        assert main(["index", str(tmp_path / "more"), *at]) == 0
        assert tables.read(spark, frozen, SONGS).count() == 3
    assert main(["identify", str(tmp_path / "clips"), "--output", f"{tmp_path}/f.csv", *at]) == 0
    (row,) = csv.DictReader((tmp_path / "f.csv").open(encoding="utf-8"))
    assert (row["title"], row["accepted"]) == (known.title, "true")
    assert main(["maintain", *at]) == 0
    assert tables.prefix_bits(spark, frozen) == 1


COMMANDS = pytest.mark.parametrize(
    "command",
    [["index", __file__], ["identify", "."], ["remove", "1"], ["maintain"], ["duplicates"]],
)


@COMMANDS
def test_earlier_layout_is_refused_before_anything_changes(spark, first_layout, command, capsys):
    before = sorted(Path(first_layout).rglob("*"))
    assert main([*command, "--warehouse", first_layout]) == 1
    said = capsys.readouterr().err
    assert "layout 1" in said
    assert "sonic index FOLDER --warehouse NEW" in said
    assert sorted(Path(first_layout).rglob("*")) == before


@COMMANDS
def test_newer_layout_is_refused_before_anything_changes(spark, frozen, command, capsys):
    place = tables.location(frozen, SONGS)
    spark.sql(f"ALTER TABLE delta.`{place}` SET TBLPROPERTIES ('sonic.layout' = '3')")
    before = sorted(Path(frozen).rglob("*"))
    assert main([*command, "--warehouse", frozen]) == 1
    assert "songs" in (said := capsys.readouterr().err)
    assert "layout 3" in said
    assert "supports layouts up to 2" in said
    assert sorted(Path(frozen).rglob("*")) == before


@pytest.mark.parametrize("layout", ["1", "3"])
def test_other_layouts_are_refused_without_spark(spark, frozen, layout):
    place = tables.location(frozen, SONGS)
    spark.sql(f"ALTER TABLE delta.`{place}` SET TBLPROPERTIES ('sonic.layout' = '{layout}')")
    for read in (
        lambda: local_index.open_index(frozen, params=FingerprintParams()),
        lambda: delta_rs.list_songs(frozen),
    ):
        with pytest.raises(TableError, match=f"table songs in .* has layout {layout}"):
            read()


def test_new_tables_record_the_layout(spark, warehouse):
    creation.create(spark, warehouse, params=FingerprintParams(), prefix_bits=1)
    for table in (SONGS, FINGERPRINTS):
        assert _properties(spark, warehouse, table)["sonic.layout"] == str(LAYOUT_VERSION)


def _properties(spark, warehouse: str, table) -> dict[str, str]:
    place = tables.location(warehouse, table)
    return spark.sql(f"DESCRIBE DETAIL delta.`{place}`").first()["properties"]
