"""Watched folders: new files are processed once, even if the watch died in between."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile

from sonic_lib.cli.main import main
from sonic_lib.cli.options import check_watch
from sonic_lib.errors import UsageError
from sonic_lib.schemas import MATCHES, SONGS
from sonic_lib.storage import tables
from tests.e2e.conftest import RATE_HZ, ROOT, submit_environment

TIMEOUT_S = 300


def watch(
    verb: str, folder: Path, warehouse: str, when: str = "once", *options: str, code: int = 0
) -> None:
    words = [verb, str(folder), "--watch", when, "--warehouse", warehouse, *options]
    assert main(words) == code


def test_new_songs_and_clips_are_processed_once(spark, collection, tmp_path):
    warehouse, clips = str(tmp_path / "lake"), tmp_path / "clips [new]"
    music = tmp_path / "music"
    paths = list(collection.samples)
    music.mkdir()
    clips.mkdir()

    def n_songs() -> int:
        return tables.read(spark, warehouse, SONGS).count()

    def put(number: int, *, age_days: float = 0.0) -> None:
        path = paths[number]
        shutil.copy(collection.folder / path, music / Path(path).name)
        samples = collection.samples[path][5 * RATE_HZ : 12 * RATE_HZ]
        soundfile.write(clips / f"clip {number}.wav", samples, RATE_HZ)
        written_s = time.time() - 86_400 * age_days
        for copy in (music / Path(path).name, clips / f"clip {number}.wav"):
            os.utime(copy, (written_s, written_s))

    put(0, age_days=-30)  # written with a wrong clock
    watch("index", music, warehouse)
    assert n_songs() == 1
    put(1, age_days=900)  # copied with its date
    watch("index", music, warehouse)
    watch("index", music, warehouse)  # nothing new
    assert n_songs() == 2

    def answered() -> list[str]:
        rows = tables.read(spark, warehouse, MATCHES).filter("accepted").collect()
        return sorted(Path(row.clip_path).name for row in rows)

    watch("identify", clips, warehouse)
    assert answered() == ["clip 0.wav", "clip 1.wav"]
    assert spark._jsparkSession.sharedState().cacheManager().isEmpty()

    # The last batch was written, but the watch died before recording it.
    [checkpoint] = Path(warehouse, "_watch").glob("identify-*")
    for name in ("0", ".0.crc"):
        (checkpoint / "commits" / name).unlink(missing_ok=True)
    watch("identify", clips, warehouse)
    assert answered() == ["clip 0.wav", "clip 1.wav"]
    put(2, age_days=900)
    watch("index", music, warehouse)
    watch("identify", clips, warehouse)
    assert answered() == ["clip 0.wav", "clip 1.wav", "clip 2.wav"]

    # Without its checkpoint, a watch identifies everything again, as another run.
    shutil.rmtree(checkpoint)
    (clips / "broken.wav").write_bytes(b"no audio" * 100)
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(clips / "clip 0.wav", tmp_path / "elsewhere" / "linked.wav")
    (clips / "link").symlink_to(tmp_path / "elsewhere")
    watch("identify", clips, warehouse, "once", "--strict", "--no-links", code=1)
    assert answered() == sorted(2 * ["clip 0.wav", "clip 1.wav", "clip 2.wav"])


def test_killed_watch_resumes(spark, collection, indexed, tmp_path):
    warehouse = str(tmp_path / "lake")
    shutil.copytree(indexed[0], warehouse)
    samples = next(iter(collection.samples.values()))
    soundfile.write(tmp_path / "clip.wav", samples[5 * RATE_HZ : 12 * RATE_HZ], RATE_HZ)
    clips = tmp_path / "clips"
    clips.mkdir()
    shutil.copy(tmp_path / "clip.wav", clips / "first.wav")

    environment = submit_environment()
    del environment["SPARK_CONF_DIR"]
    words = ["identify", str(clips), "--watch", "1", "--warehouse", warehouse]
    service = subprocess.Popen(
        [sys.executable, "-m", "sonic_lib.cli.main", *words],
        env=environment,
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log = Path(warehouse, "matches", "_delta_log")
    n_before, stop_at = len(list(log.glob("*.json"))), time.monotonic() + TIMEOUT_S
    try:
        while len(list(log.glob("*.json"))) == n_before and time.monotonic() < stop_at:
            assert service.poll() is None
            time.sleep(0.2)
    finally:
        os.killpg(service.pid, signal.SIGKILL)
        service.wait()
    shutil.copy(tmp_path / "clip.wav", clips / "second.wav")
    watch("identify", clips, warehouse)
    paths = [Path(row.clip_path) for row in tables.read(spark, warehouse, MATCHES).collect()]
    found = sorted(path.name for path in paths if path.parent == clips)  # others were there before
    assert found == ["first.wav", "second.wav"]


@pytest.mark.parametrize("when", ["0", "-1", "often", "1.5"])
def test_interval_is_once_or_seconds(when):

    with pytest.raises(UsageError, match="once"):
        check_watch(argparse.Namespace(watch=when))
