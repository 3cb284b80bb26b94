"""Corrupted files of every container: one summary row each, and no file affects another."""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np
import pytest
import soundfile

from sonic_lib.audio.sandbox import Limits, isolated, packed
from sonic_lib.fingerprint.extract import song_rows
from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.schemas import EXTRACTS
from tests.faults.hostile import FFMPEG, LIBSNDFILE, encoded, mutate

LIMITS = Limits(timeout_s=60.0, memory_mb=512)
WORK = packed(song_rows, params=FingerprintParams(), min_duration_s=3.0)


def summary_row(path: str, *, size_bytes: int) -> dict:
    """Read a file as an index job does; the rows must fit the schema."""
    *rows, closing = isolated(WORK, path, path=path, size_bytes=size_bytes, limits=LIMITS)
    assert all(set(row) == {"path", "hashes", "frames", "descriptors"} for row in rows)
    assert set(closing) <= set(EXTRACTS.names)
    if "error" in closing:
        assert closing["stage"] in ("open", "decode", "content")
        assert closing["error"].isprintable()
    else:
        assert closing["n_fingerprints"] == sum(len(row["hashes"]) for row in rows) > 0
    return closing


def test_intact_files_are_read(tmp_path):
    for name in (*LIBSNDFILE, *FFMPEG):
        (tmp_path / f"a.{name}").write_bytes(encoded(name))
        closing = summary_row(str(tmp_path / f"a.{name}"), size_bytes=0)
        assert "error" not in closing, (name, closing)
        assert closing["duration_s"] == pytest.approx(5.0, abs=0.15)


def test_hours_of_silence_in_a_tiny_file_are_rejected(tmp_path, is_long):
    path, hours = tmp_path / "tiny.flac", 5 if is_long else 1
    with soundfile.SoundFile(path, "w", 8_000, 1, "PCM_16") as file:
        for _ in range(hours):
            file.write(np.zeros(3_600 * 8_000, np.int16))
    assert path.stat().st_size < 300_000 * hours
    closing = summary_row(str(path), size_bytes=path.stat().st_size)
    assert closing["stage"] in ("content", "decode")  # it is silent, or took too long


def test_corrupted_files_are_read_or_rejected(tmp_path, is_long, capsys):
    n_files, seed = (500, 2_000) if is_long else (60, 1_000)
    good = tmp_path / "good.ogg"
    good.write_bytes(encoded("ogg"))
    expected = summary_row(str(good), size_bytes=0)
    kinds, fates, errors = [*LIBSNDFILE, *FFMPEG], Counter(), Counter()
    for i in range(n_files):
        kind, rng = kinds[i % len(kinds)], np.random.default_rng(seed + i)
        way, content = mutate(encoded(kind), rng)
        path = tmp_path / f"{i}.{kind.rpartition('.')[2]}"
        path.write_bytes(content)
        try:
            closing = summary_row(str(path), size_bytes=len(content))
        except Exception as error:
            raise AssertionError(f"seed {seed + i}, {kind}, {way}") from error
        path.unlink()
        fates[closing.get("stage", "indexed")] += 1
        if "crashed" in closing.get("error", "") or "not done" in closing.get("error", ""):
            errors[f"seed {seed + i}, {kind}, {way}: {closing['error']}"] += 1
        if i % 20 == 0:
            assert summary_row(str(good), size_bytes=0) == expected
    with capsys.disabled():
        counts = ", ".join(f"{n} {fate}" for fate, n in sorted(fates.items()))
        lines = [f"{n_files} spoilt files, seeds {seed} to {seed + n_files - 1}: {counts}", *errors]
        sys.stdout.write("\n" + "\n  ".join(lines) + "\n")
    assert fates["indexed"]
    assert fates["decode"]
