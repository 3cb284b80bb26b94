"""Concurrent commands on one local warehouse lose nothing, duplicate nothing, and stay readable.

Each round runs two to four of index, remove, maintain and features on Spark, and identify with
delta-rs, at once.  The expected tables after each round are known row by row.  A round is
identified by its number, which is its seed; `make test-faults LONG=1` runs 200.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.rounds import record_round

deltalake = pytest.importorskip("deltalake")

ROOT = Path(__file__).parents[2]
RATE_HZ = 22_050
IS_LONG = os.environ.get("SONIC_LONG_TESTS", "") not in ("", "0")
FIRST = int(os.environ.get("SONIC_FIRST_ROUND", "0"))
N_ROUNDS = int(os.environ.get("SONIC_ROUNDS", "200" if IS_LONG else "2"))
N_CSV_ROWS = 6


class Writer:
    """A process that runs one command at a time."""

    def __init__(self, engine: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.commands", engine],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._words: list[str] = []

    def start(self, *words: object) -> None:
        self._words = [*map(str, words)]
        print(json.dumps(self._words), file=self._process.stdin, flush=True)

    def end(self) -> str:
        """Wait for the command, which must succeed; return its output."""
        answer = json.loads(self._process.stdout.readline())
        assert answer["code"] == 0, (self._words, answer)
        return answer["output"]

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


@dataclass
class Lake:
    """A warehouse, its writers, and the expected content of its tables."""

    folder: Path
    on_spark: list[Writer]
    by_delta_rs: list[Writer]
    clip: Path
    base: set[str] = field(default_factory=set)
    songs: set[str] = field(default_factory=set)  # paths
    rows: Counter[str] = field(default_factory=Counter)  # feature rows per source
    n_identified: int = 0
    n_runs: Counter[str] = field(default_factory=Counter)

    @property
    def warehouse(self) -> str:
        return str(self.folder / "lake")

    def table(self, name: str, *columns: str):
        table = deltalake.DeltaTable(f"{self.warehouse}/{name}")
        return table.to_pyarrow_table(columns=list(columns))


def write_song(path: Path, seed: int) -> None:
    """Write six seconds of notes over noise that depend on the seed."""
    rng = np.random.default_rng(seed)
    t_s = np.arange(6 * RATE_HZ) / RATE_HZ
    pitches_hz = rng.uniform(400, 3000, 50)[(t_s * 8).astype(int)]
    samples = 0.3 * np.sin(2 * np.pi * pitches_hz * t_s) + rng.normal(0, 0.02, t_s.size)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.astype(np.float32), RATE_HZ)


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Iterator[Lake]:
    folder = tmp_path_factory.mktemp("rounds")
    spark, rs = ([Writer(engine) for _ in range(2)] for engine in ("spark", "delta-rs"))
    made = Lake(folder, spark, rs, folder / "base" / "0.wav")
    for number in range(4):
        write_song(folder / "base" / f"{number}.wav", 10**6 + number)
        made.base.add(str(folder / "base" / f"{number}.wav"))
    made.songs |= made.base
    try:
        spark[0].start("index", folder / "base", "--warehouse", made.warehouse)
        spark[0].end()
        made.n_runs["index"] += 1
        yield made
    finally:
        for writer in (*spark, *rs):
            writer.close()


def plan(lake: Lake, seed: int) -> list[tuple[Writer, list[object]]]:
    """Draw the commands of a round and record their expected effect."""
    rng = np.random.default_rng(seed)
    n_on_spark = int(rng.integers(1, 3))
    n_by_delta_rs = int(rng.integers(1, 3))
    verbs = [str(verb) for verb in rng.permutation(["index", "remove", "maintain", "features"])]
    if n_on_spark == 2 and rng.random() < 0.2:
        verbs = ["index", "index"]  # both on the same folder
    old = sorted(lake.songs - lake.base)
    commands: list[tuple[Writer, list[object]]] = []
    new = lake.folder / "new" / str(seed)
    for writer, verb in zip(lake.on_spark[:n_on_spark], verbs, strict=False):
        if verb == "remove" and not old:
            verb = "index"
        lake.n_runs[verb] += 1
        if verb == "index":
            for number in range(2):
                write_song(new / f"{number}.wav", 10 * seed + number)
                lake.songs.add(str(new / f"{number}.wav"))
            commands.append((writer, ["index", new]))
        elif verb == "remove":
            gone = [str(path) for path in rng.choice(old, min(2, len(old)), replace=False)]
            lake.songs -= set(gone)
            commands.append((writer, ["remove", *gone]))
        elif verb == "maintain":
            bits = ["--prefix-bits", rng.integers(0, 5)] if rng.random() < 0.3 else []
            commands.append((writer, ["maintain", *bits]))
        else:
            table = lake.folder / f"csv{seed}.csv"
            values = rng.normal(size=N_CSV_ROWS)
            lines = [f"{place},{value:.6f}" for place, value in enumerate(values)]
            table.write_text("\n".join(["id,beat", *lines, ""]))
            lake.rows[table.stem] += N_CSV_ROWS
            commands.append((writer, ["features", "--csv", table]))
    for writer in lake.by_delta_rs[:n_by_delta_rs]:
        commands.append((writer, ["identify", lake.clip, "--engine", "local"]))
        lake.n_identified += 1
        lake.n_runs["identify"] += 1
    return commands


@pytest.mark.parametrize("seed", range(FIRST, FIRST + N_ROUNDS))
def test_concurrent_commands_lose_nothing(seed, lake, record_property):
    record_round(record_property, "two to four commands at once", seed)
    rng = np.random.default_rng([seed, 1])
    commands = plan(lake, seed)
    order = rng.permutation(len(commands))
    for place in order:
        writer, words = commands[place]
        writer.start(*words, "--warehouse", lake.warehouse)
        time.sleep(rng.uniform(0, 1.0))
    outputs = [(words, writer.end()) for writer, words in commands]
    assert len(outputs) == len(commands)
    check(lake)
    if seed % 10 == 9:
        # First sorts the files of songs that two runs have found at once.
        lake.n_runs["maintain"] += 1
        for words in (["maintain"], ["maintain", "--check"]):
            lake.on_spark[0].start(*words, "--warehouse", lake.warehouse)
            lake.on_spark[0].end()


def check(lake: Lake) -> None:
    """Check that every expected row is stored once, and no other row."""
    files = lake.table("song_files", "path", "song_id", "status").to_pylist()
    assert Counter(row["path"] for row in files if row["status"] == "indexed") == Counter(
        lake.songs
    )
    songs = lake.table("songs", "song_id", "n_fingerprints").to_pylist()
    assert Counter(row["song_id"] for row in songs) == Counter(row["song_id"] for row in files)
    found = lake.table("fingerprints", "song_id", "hash", "offset_frames")
    counted = found.group_by(["song_id", "hash", "offset_frames"]).aggregate([([], "count_all")])
    assert set(counted["count_all"].to_pylist()) == {1}
    by_song = found.group_by("song_id").aggregate([([], "count_all")]).to_pylist()
    assert {row["song_id"]: row["count_all"] for row in by_song} == {
        row["song_id"]: row["n_fingerprints"] for row in songs
    }
    runs = lake.table("runs", "run_id", "job", "status").to_pylist()
    assert Counter(row["job"] for row in runs) == lake.n_runs
    assert {row["status"] for row in runs} == {"done"}
    assert len({row["run_id"] for row in runs}) == len(runs)
    if lake.n_identified:
        matches = lake.table("matches", "run_id", "song_id", "accepted").to_pylist()
        assert Counter(Counter(row["run_id"] for row in matches).values()) == {1: lake.n_identified}
        [song_id] = {row["song_id"] for row in matches}
        paths = {row["song_id"]: row["path"] for row in files}
        assert paths[song_id] == str(lake.clip)
        assert all(row["accepted"] for row in matches)
    if lake.rows:
        keys = lake.table("features", "source", "source_key").to_pylist()
        assert Counter(row["source"] for row in keys) == lake.rows
        assert len({(row["source"], row["source_key"]) for row in keys}) == len(keys)
