"""Latency of `sonic identify CLIP` on a small index, as a user sees it.

make bench-one-clip

The index has synthetic songs.  The two clips of 5 to 10 s are one of an indexed song, and one of
another song, which is looked up at all speeds and pitches before it is rejected.  Each is
identified repeatedly, each time in a new process, after a first run that fills the caches.  CPU
seconds cover all processes of one run and hardly depend on the load of the machine; wall time
does, so the load before the runs is printed too.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from common import machine, save, sonic
from usage import measured

from sonic_lib.synth.collection import write_demo

LIMIT_S = 600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--songs", type=int, default=60)
    parser.add_argument("--times", type=int, default=15, help="runs of each clip")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sonic-bench-") as scratch:
        folder = Path(scratch)
        write_demo(folder, n_songs=args.songs, n_clips=2, n_unknown_songs=1)
        warehouse = str(folder / "warehouse")
        index = sonic("index", str(folder / "songs"), "--warehouse", warehouse)
        load = os.getloadavg()[0]
        clips = {
            name: timed(path, warehouse, engine="local", times=args.times)
            for name, path in chosen_clips(folder)
        }
        known = dict(chosen_clips(folder))["known"]
        clips["known, with Spark"] = timed(known, warehouse, engine="spark", times=1)
    figures = {"songs": args.songs, "load": load, "clips": clips}
    save("one_clip", text(figures, index.replace(scratch, "").strip()), figures)


def chosen_clips(folder: Path) -> list[tuple[str, Path]]:
    """Return a clip of an indexed song, and one of a song that the truth does not list."""
    with open(folder / "truth.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        ("known" if row["song"] else "unknown", folder / "clips" / row["clip"])
        for row in sorted(rows, key=lambda row: row["song"] == "")
    ]


def timed(clip: Path, warehouse: str, *, engine: str, times: int) -> dict:
    """Identify a clip several times; return the wall seconds of each, and the usage of one more."""
    words = ["identify", str(clip), "--warehouse", warehouse, "--engine", engine]
    command = [sys.executable, "-m", "sonic_lib.cli.main", *words]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    wall_s = []
    for _ in range(times):
        start_s = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        wall_s.append(time.perf_counter() - start_s)
    used = measured(
        command, env=dict(os.environ), limit_s=LIMIT_S, folder=clip.parent, min_free_gb=0
    )
    return {
        "identified": " 1 identified" in said,
        "wall_s": wall_s,
        "cpu_s": used["cpu_s"],
        "peak_gb": used["peak_gb"],
        "starts_java": used["peak_java_gb"] > 0,
    }


def text(figures: dict, index: str) -> str:
    rows = [
        f"{name:<17}  {'yes' if clip['identified'] else 'no':<10}  {min(clip['wall_s']):6.2f}  "
        f"{median(clip['wall_s']):6.2f}  {clip['cpu_s']:6.2f}  {1000 * clip['peak_gb']:6.0f}  "
        f"{'yes' if clip['starts_java'] else 'no'}"
        for name, clip in figures["clips"].items()
    ]
    n_runs = max(len(clip["wall_s"]) for clip in figures["clips"].values())
    return "\n".join(
        [
            index,
            f"`sonic identify CLIP`, {n_runs} times; with Spark once; load before: "
            f"{figures['load']:.1f} of {os.cpu_count()} cores",
            "clip               identified   least  median   CPU s      MB  a JVM",
            *rows,
            f"machine: {machine()}",
        ]
    )


if __name__ == "__main__":
    main()
