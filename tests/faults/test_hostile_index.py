"""Hostile files among good ones: each becomes a row, the job survives, good ones are unaffected."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from sonic_lib.cli.main import main
from sonic_lib.fingerprint.extract import song_rows
from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.schemas import FINGERPRINTS, MATCHES, SONG_FILES, SONGS
from sonic_lib.storage import tables
from tests.faults.hostile import encoded, write_hostile

TRAP = Path(__file__).parent / "trap"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A folder of files, with the expected outcome of each."""
    folder = tmp_path_factory.mktemp("h")
    fates = write_hostile(folder)
    for name in ("ogg", "m4a", "opus"):
        (folder / f"good.{name}").write_bytes(encoded(name))
        fates[f"good.{name}"] = "indexed"
    (folder / "hangs.wav").write_bytes(b"HANG!!!!" + bytes(1000))
    (folder / "crashes.wav").write_bytes(b"CRASH!!!" + bytes(1000))
    fates |= dict.fromkeys(("hangs.wav", "crashes.wav"), "decode")
    return folder, fates


@pytest.fixture
def sonic(spark, warehouse, monkeypatch):
    """Run a command whose workers use the buggy decoder."""
    environment = spark.sparkContext.environment
    inherited = [os.environ[name] for name in ("PYTHONPATH",) if name in os.environ]
    monkeypatch.setitem(environment, "PYTHONPATH", os.pathsep.join([str(TRAP), *inherited]))

    def run(*arguments: object, timeout_s: float = 8.0) -> None:
        limit = f"index.file_timeout_s={timeout_s}"
        command = [*map(str, arguments), "--warehouse", warehouse, "--set", limit]
        assert main(command) == 0

    return run


def alone(path: Path) -> int:
    """Fingerprint a file on its own; this also compiles the kernels."""
    *_, closing = song_rows(str(path), params=FingerprintParams(), min_duration_s=3.0)
    return closing["n_fingerprints"]


def test_hostile_files_become_rows(spark, warehouse, hostile, sonic):
    folder, fates = hostile
    n_alone = alone(folder / "good.ogg")
    sonic("index", folder)
    names = F.expr(f"substring(path, {len(str(folder)) + 2})").alias("name")
    files = tables.read(spark, warehouse, SONG_FILES).select("*", names).collect()
    found = {row["name"]: row.stage or row.status for row in files}
    assert found == fates
    errors = {row["name"]: row.error for row in files if row.error}
    assert "index.file_timeout_s" in errors["hangs.wav"]
    assert "crashed: signal 6" in errors["crashes.wav"]

    ids = {row["name"]: row.song_id for row in files}
    songs = {row.song_id: row for row in tables.read(spark, warehouse, SONGS).collect()}
    assert set(songs) == {ids[name] for name, fate in fates.items() if fate == "indexed"}
    assert songs[ids["good.ogg"]].n_fingerprints == n_alone
    stored = tables.read(spark, warehouse, FINGERPRINTS).groupBy("song_id").count().collect()
    assert {row.song_id: row["count"] for row in stored} == {
        song_id: row.n_fingerprints for song_id, row in songs.items()
    }

    titles = {song.title for song in songs.values()}
    assert {"'; DROP TABLE songs; --", "<img src=x onerror=alert(1)>"} <= titles

    sonic("identify", folder)
    clips = tables.read(spark, warehouse, MATCHES).filter("rank = 1")
    answers = {row.clip_path[len(str(folder)) + 1 :]: row for row in clips.collect()}
    assert set(answers) == set(fates)
    for name, fate in fates.items():
        if fate == "indexed":
            assert answers[name].error is None, name
        elif fate != "content":  # silence is a valid clip
            assert answers[name].error, name
    assert any(answer.accepted for answer in answers.values())
    assert not list(Path.cwd().glob("owned"))
