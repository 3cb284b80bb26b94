"""Ten good songs next to files that try to stop a listing, a plan, a decoder or a worker.

The time taken is printed at the end, not asserted: less than a minute on two cores of a laptop.
"""

from __future__ import annotations

import io
import subprocess
import threading
import time
from pathlib import Path

import pytest
import soundfile
from pyspark.sql import functions as F

from sonic_lib.schemas import SONG_FILES, SONGS
from sonic_lib.storage import tables
from tests.faults.hostile import RATE_HZ, sound, write_hostile, write_traps
from tests.faults.test_hostile_index import alone, sonic  # noqa: F401


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "h"
    place.mkdir()
    yield place
    # Python's rmtree, which pytest uses for cleanup, would hit the recursion limit here.
    subprocess.run(["rm", "-rf", str(place)], check=True)


def write_good(folder: Path, n_songs: int) -> dict[str, str]:
    for number in range(n_songs):
        file = io.BytesIO()
        soundfile.write(file, sound(), RATE_HZ - 40 * number, format="WAV", subtype="PCM_16")
        (folder / f"good {number}.wav").write_bytes(file.getvalue())
    return {f"good {number}.wav": "indexed" for number in range(n_songs)}


def test_good_songs_are_indexed_next_to_hostile_files(
    spark,
    warehouse,
    folder,
    sonic,  # noqa: F811
    record_property,
):
    fates = write_hostile(folder) | write_traps(folder) | write_good(folder, 10)
    (folder / "hangs.wav").write_bytes(b"HANG!!!!" + bytes(1000))
    (folder / "crashes.wav").write_bytes(b"CRASH!!!" + bytes(1000))
    fates |= dict.fromkeys(("hangs.wav", "crashes.wav"), "decode")
    growing = folder / "growing.wav"
    growing.write_bytes((folder / "good 0.wav").read_bytes()[:100_000])
    is_over = threading.Event()

    def grow() -> None:
        while not is_over.wait(0.02):
            with growing.open("ab") as file:
                file.write(b"more")

    writer = threading.Thread(target=grow)
    alone(folder / "good 0.wav")  # compile kernels before timing
    writer.start()
    started_s = time.monotonic()
    try:
        sonic("index", folder)
    finally:
        is_over.set()
        writer.join()
        record_property("seconds", round(time.monotonic() - started_s))
    names = F.expr(f"substring(path, {len(str(folder)) + 2})").alias("name")
    files = tables.read(spark, warehouse, SONG_FILES).select("*", names).collect()
    found = {row["name"]: row.stage or row.status for row in files}
    found.pop("growing.wav")  # any prefix of it is valid
    assert found == fates
    assert all(row.error for row in files if row.stage)
    ids = {row.song_id for row in files if row.status == "indexed"}
    assert {row.song_id for row in tables.read(spark, warehouse, SONGS).collect()} == ids
