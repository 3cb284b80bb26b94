"""What the walk through folders says of files."""

from __future__ import annotations

import os

import pandas as pd
import pytest

from sonic_lib.audio.folders import walk


@pytest.mark.parametrize("year", [1975, 2024, 2500])
def test_a_date_of_a_broken_clock_is_one_that_every_reader_knows(tmp_path, year):
    (tmp_path / "song.mp3").write_bytes(b"sound")
    seconds = (year - 1970) * 365.25 * 86_400
    try:
        os.utime(tmp_path / "song.mp3", (seconds, seconds))
    except OSError:
        pytest.skip("this file system knows no such date")
    [entry] = walk([str(tmp_path)])
    stored = pd.Timestamp(entry["modified_at"]).as_unit("ns")
    assert stored.year == pytest.approx(min(year, 2262), abs=1)
