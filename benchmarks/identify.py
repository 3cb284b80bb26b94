"""How well clips are identified: recall, offsets, false accepts, bytes per second of audio.

    make bench-identify SONGS=FOLDER [BENCH=FOLDER]

SONGS is the music corpus; BENCH is the benchmark kit with make_queries.py, score.py, the fixed
sample of references (dev/refs.txt), noises and rooms.  Only the references are indexed; clips
of other songs serve as unknown clips.  Making the queries needs ffmpeg for codecs, tempo and pitch.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import soundfile
from common import counts_of, machine, save, sonic

from sonic_lib.schemas import FINGERPRINTS
from sonic_lib.spark.session import spark_job
from sonic_lib.storage import tables, writes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--songs", required=True, type=Path)
    parser.add_argument("--bench", required=True, type=Path)
    parser.add_argument("--refs", type=Path, help="list of references (default: dev/refs.txt)")
    parser.add_argument("--unknown", type=Path, help="list of unknown songs")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--clips", default="25", help="clips per condition and length")
    parser.add_argument("--lengths", default="3:10,5,10", help="clip lengths in s")
    parser.add_argument("--name", default="identify", help="name of the result files")
    args = parser.parse_args()
    if not (args.bench / "make_queries.py").exists():
        print(f"skipped: no benchmark kit in {args.bench}")
        return
    refs = args.refs or args.bench / "dev" / "refs.txt"
    unknown = args.unknown or args.bench / "dev" / "unknown.txt"

    with tempfile.TemporaryDirectory(prefix="sonic-bench-") as scratch:
        work = Path(scratch)
        subprocess.run(
            [sys.executable, args.bench / "make_queries.py", "--songs", args.songs]
            + ["--refs", refs, "--unknown", unknown, "--noise", args.bench / "noise"]
            + ["--rir", args.bench / "rir", "--out", work, "--seed", args.seed]
            + ["--clips", args.clips, "--lengths", args.lengths],
            check=True,
        )
        songs = link_references(refs, args.songs, work / "songs")
        warehouse = str(work / "warehouse")
        print(sonic("index", str(songs), "--warehouse", warehouse))
        table_bytes = optimized_bytes(warehouse)
        matches = work / "matches.csv"
        run = sonic(
            *["identify", str(work / "queries"), "--warehouse", warehouse, "--output", str(matches)]
        )
        scored = subprocess.run(
            [sys.executable, args.bench / "score.py", work / "truth.csv", matches]
            + ["--same", args.bench / "dev" / "same.csv", "--json", work / "score.json"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        score = json.loads((work / "score.json").read_text())
        audio_s = sum(soundfile.info(p).duration for p in songs.rglob("*") if p.is_file())
    kb_per_s = table_bytes / 1000 / audio_s
    text = (
        f"{scored}\n{counts_of(run)}\n"
        f"fingerprint table, optimised: {table_bytes / 1e6:.1f} MB for {audio_s / 3600:.2f} h, "
        f"{kb_per_s:.3f} kB per second of audio\n"
        f"machine: {machine()}"
    )
    save(args.name, text, {"kb_per_audio_s": kb_per_s, "score": score})


def link_references(refs: Path, songs: Path, folder: Path) -> Path:
    """Make a folder that holds only the references, under their relative paths."""
    for name in filter(None, map(str.strip, refs.read_text(encoding="utf-8").splitlines())):
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        os.symlink((songs / name).resolve(), link)
    return folder


def optimized_bytes(warehouse: str) -> int:
    """Compact the fingerprint table and return the size of its live files."""
    with spark_job(app_name="optimize") as spark:
        writes.optimize(spark, warehouse, FINGERPRINTS)
        return tables.live_bytes(spark, warehouse, FINGERPRINTS)


if __name__ == "__main__":
    main()
