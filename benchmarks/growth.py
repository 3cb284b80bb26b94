"""Recall, false accepts and cost as the index grows (Linux only).

    make bench-growth SONGS=FOLDER [BENCH=FOLDER] [WORK=FOLDER]

The same clips are identified in four indexes, each of which contains the one before:

references  the songs that the clips were cut from, except the unknown songs
real        all songs of the corpus except the unknown songs
30M, 300M   those plus synthetic songs, up to so many rows (`synthetic.py`)

The benchmark also measures how closely the largest index resembles a real one
(`hash_growth.py`).  Every run is a command as a user would type it, in one process with its JVM
and Python workers:

top-1       share of clips, over all degradations, whose best answer is the right song
accepted    share with the right song accepted; wrong: with another song accepted
false acc.  share of clips of unknown songs with any song accepted, and the upper end of its
            95 % interval (Wilson), which treats clips of one song as independent; further such
            clips are identified apart, with the number of songs that the accepted ones were taken
            for and the commonest of them
wall, CPU   seconds, including the start of Spark; CPU per clip excludes it, estimated by
            one clip in the smallest index
peak        highest resident memory of the JVM and Python together
shuffled    bytes that Spark wrote for shuffles; spilled: bytes written for lack of memory
pairs       for a sample of clips, rows that share a hash with a clip in the first pass and, for
            uncertain clips, in the second, and how many hits are kept

WORK keeps all files.  Existing files made with the same settings are reused, and runs are repeated
only when the library's code has changed.  The largest index takes about 9 bytes per row, and
60 while it is built.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import hash_growth
import large_index
import synthetic
from common import machine, save, sonic
from corpus import audio_names, read_list, same_songs
from growth_report import clips_text, hash_growth_text, indexes_text, runs_text
from identify import link_references
from pairs_met import pairs_met
from usage import measured, spark_counts

import sonic_lib
from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.schemas import FINGERPRINTS
from sonic_lib.spark.session import spark_job
from sonic_lib.storage import tables

LENGTHS_S = (5, 10)
# Clips per condition and length, and unknown clips per length: 17 conditions make 1,000 clips.
CLIPS, UNKNOWN = 50, 150
MORE_UNKNOWN = 1000  # unknown clips per length in batches of their own, for a narrow interval
N_PAIRS_CLIPS = 40
BUILD_BYTES_PER_ROW = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--songs", required=True, type=Path)
    parser.add_argument("--bench", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path, help="keep all files in this folder")
    parser.add_argument("--refs", type=Path, help="list of references (default: dev/refs.txt)")
    parser.add_argument("--unknown", type=Path, help="list of unknown songs")
    parser.add_argument("--millions", type=int, nargs="*", default=[30, 300], help="large indexes")
    parser.add_argument("--clips", type=int, default=CLIPS, help="per condition and length")
    parser.add_argument("--unknown-clips", type=int, default=UNKNOWN, help="per length")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit-s", type=float, default=7200, help="stop longer runs")
    parser.add_argument("--min-free-gb", type=float, default=10, help="stop runs that spill more")
    parser.add_argument("--name", default="growth", help="name of the result files")
    args = parser.parse_args()
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    args.refs = args.refs or args.bench / "dev" / "refs.txt"
    args.unknown = args.unknown or args.bench / "dev" / "unknown.txt"
    if reason := why_not(args):
        print(f"skipped: {reason}")
        return
    os.environ["SPARK_CONF_DIR"] = str(spark_conf(args.work))
    unknown, refs = read_list(args.unknown), read_list(args.refs)
    lists = {"references": refs, "real": known_songs(args, unknown)}
    params = FingerprintParams().to_json()

    built = {}
    for name, songs in lists.items():
        made_of = {"songs": songs, "params": params}
        built[name] = once(
            args.work, name, made_of, lambda n=name, s=songs: index_songs(args, n, s)
        )
    for millions in args.millions:
        made_of = {"songs": lists["real"], "params": params, "model": synthetic.MODEL}
        made_of |= {"rows": millions * 1_000_000, "seed": args.seed}
        name = f"{millions}M"
        built[name] = once(args.work, name, made_of, lambda n=name: apart(build_large, args, n))
    asked = {"refs": refs, "unknown": unknown, "seed": args.seed}
    asked |= {"clips": args.clips, "unknown_clips": args.unknown_clips}
    asked |= {"more_unknown": MORE_UNKNOWN}
    once(args.work, "clips", asked, lambda: make_clips(args))

    code = {"code": code_digest(), "indexes": built, "clips": asked}
    runs = {name: measure_runs(args, name, code) for name in built}
    figures = {"indexes": built, "runs": runs}
    parts = [indexes_text(built), clips_text(runs), runs_text(runs)]
    if args.millions:
        # Last, with the runs saved first, because it takes as long as all of them.
        save(args.name, "\n\n".join([*parts, f"machine: {machine()}"]), figures)
        like = once(args.work, "like", made_of, lambda: apart(measure_likeness, args, name, built))
        figures["like"] = like
        parts.append(hash_growth_text(like))
    save(args.name, "\n\n".join([*parts, f"machine: {machine()}"]), figures)


def why_not(args: argparse.Namespace) -> str:
    """Return why nothing can be measured here, or an empty string."""
    if not Path("/proc/self/statm").exists():
        return "memory and CPU seconds are read from Linux's /proc"
    if not (args.bench / "make_queries.py").exists():
        return f"no benchmark kit in {args.bench}"
    rows = max(args.millions, default=0) * 1e6
    needed = rows * BUILD_BYTES_PER_ROW / 1e9 + args.min_free_gb
    free = shutil.disk_usage(args.work).free / 1e9
    if free < needed and not (args.work / f"{max(args.millions, default=0)}M.json").exists():
        return f"{args.work} has {free:.0f} GB free, {rows:,.0f} rows need {needed:.0f}"
    return ""


def spark_conf(work: Path) -> Path:
    """Make every Spark session log its reads and writes, and spill into `work`."""
    for name in ("conf", "events", "spill"):
        (work / name).mkdir(exist_ok=True)
    settings = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": (work / "events").as_uri(),
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.compress": "false",
        "spark.local.dir": str(work / "spill"),
    }
    lines = "".join(f"{key} {value}\n" for key, value in settings.items())
    (work / "conf" / "spark-defaults.conf").write_text(lines)
    return work / "conf"


def once(work: Path, stage: str, settings: dict, make: Callable[[], dict | None]) -> dict:
    """Run a stage unless it has run with these settings; return its result."""
    marker = work / f"{stage}.json"
    settings = json.loads(json.dumps(settings))
    if marker.exists():
        done = json.loads(marker.read_text())
        if done["settings"] == settings:
            return done["found"]
        marker.unlink()
    print(f"{stage} ...", file=sys.stderr)
    found = make() or {}
    marker.write_text(json.dumps({"settings": settings, "found": found}, indent=1))
    return found


def apart(function: Callable, *arguments) -> dict:
    """Run in a separate process: a JVM holds its memory until its process ends."""
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawning) as pool:
        return pool.submit(function, *arguments).result()


def code_digest() -> str:
    """Return a digest of the library's code."""
    digest = hashlib.sha256()
    for path in sorted(Path(sonic_lib.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


# ---- the indexes ----


def known_songs(args: argparse.Namespace, unknown: list[str]) -> list[str]:
    """Return all songs of the corpus except the unknown ones and their other copies."""
    same = same_songs(args.bench)
    apart_from = {same.get(song, song) for song in unknown}
    return [song for song in audio_names(args.songs) if same.get(song, song) not in apart_from]


def index_songs(args: argparse.Namespace, name: str, songs: list[str]) -> dict:
    for folder in (name, f"{name}-songs"):
        shutil.rmtree(args.work / folder, ignore_errors=True)
    listed = args.work / f"{name}.txt"
    listed.write_text("".join(f"{song}\n" for song in songs), encoding="utf-8")
    folder = link_references(listed, args.songs, args.work / f"{name}-songs")
    print(sonic("index", str(folder), "--warehouse", str(args.work / name)))
    return apart(describe, str(args.work / name))


def describe(warehouse: str) -> dict:
    with spark_job(app_name="describe") as spark:
        return large_index.describe(spark, warehouse)


def build_large(args: argparse.Namespace, name: str) -> dict:
    real, large = (str(args.work / folder) for folder in ("real", name))
    return large_index.build(real, large, rows=int(name[:-1]) * 1_000_000, seed=args.seed)


def measure_likeness(args: argparse.Namespace, name: str, built: dict) -> dict:
    """Compare the hashes of the largest index with those of real songs."""
    n_real, n_large = built["real"]["rows"], built[name]["rows"]
    # Subsets of the table, down to the size of all real songs.
    n_halvings = round(math.log2(n_large / n_real))
    parts = [2**k for k in range(n_halvings, 0, -2)] + [1]
    with spark_job(app_name="growth of hashes") as spark:
        real, table = (
            tables.read(spark, str(args.work / folder), FINGERPRINTS) for folder in ("real", name)
        )
        prefix_bits = tables.prefix_bits(spark, str(args.work / "real"))
        probes = hash_growth.probes(spark, real, prefix_bits=prefix_bits).persist()
        return {
            "real": hash_growth.curve(real, n_rows=n_real, parts=(8, 4, 2, 1)),
            "table": hash_growth.curve(table, n_rows=n_large, parts=tuple(parts)),
            "met_real": hash_growth.rows_met(real, probes=probes, n_rows=n_real),
            "met_table": hash_growth.rows_met(table, probes=probes, n_rows=n_large),
        }


# ---- the clips ----


def make_clips(args: argparse.Namespace) -> None:
    """Cut the clips, and link them into one folder per batch."""
    shutil.rmtree(args.work / "batches", ignore_errors=True)
    cut_clips(args, "clips", ["--seed", str(args.seed), "--unknown-clips", str(args.unknown_clips)])
    cut_clips(
        *(args, "unknown"),
        ["--seed", str(args.seed + 1), "--unknown-clips", str(MORE_UNKNOWN), "--only", "unknown"],
    )
    for length_s in LENGTHS_S:
        names = clip_names(args.work / "clips", length_s)
        link_batch(args.work, "clips", f"{length_s} s", names)
        more = clip_names(args.work / "unknown", length_s)
        link_batch(args.work, "unknown", f"unknown {length_s} s", more)
    one = [x for x in clip_names(args.work / "clips", LENGTHS_S[0]) if x.startswith("clean")][:1]
    link_batch(args.work, "clips", "one", one)


def cut_clips(args: argparse.Namespace, name: str, options: list[str]) -> None:
    folder = args.work / name
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(
        [sys.executable, args.bench / "make_queries.py", "--songs", args.songs]
        + ["--refs", args.refs, "--unknown", args.unknown, "--noise", args.bench / "noise"]
        + ["--rir", args.bench / "rir", "--out", folder, "--clips", str(args.clips)]
        + ["--lengths", ",".join(map(str, LENGTHS_S)), *options],
        check=True,
    )


def link_batch(work: Path, clips: str, batch: str, names: list[str]) -> None:
    folder = work / "batches" / batch
    folder.mkdir(parents=True)
    for name in names:
        os.symlink(work / clips / "queries" / name, folder / name)


def clip_names(clips: Path, length_s: float) -> list[str]:
    return [row["clip"] for row in truth(clips) if float(row["length_s"]) == length_s]


def truth(clips: Path) -> list[dict]:
    with open(clips / "truth.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# ---- the runs ----


def measure_runs(args: argparse.Namespace, index: str, settings: dict) -> dict[str, dict]:
    """Identify one clip with and without Spark, and the clips of each length."""
    on_spark = ("--engine", "spark")
    runs = {"one": (), "one, Spark": on_spark}
    runs |= {f"{s} s": () for s in LENGTHS_S} | {"5 s, Spark": on_spark}
    runs |= {f"unknown {s} s": () for s in LENGTHS_S}
    found = {
        name: once(
            *(args.work, f"run {index} {name}", settings),
            lambda n=name, o=options: measure_run(args, index, n.partition(",")[0], o),
        )
        for name, options in runs.items()
    }
    clips = sorted((args.work / "batches" / "5 s").iterdir())
    sample = [str(path) for path in clips[:: max(1, len(clips) // N_PAIRS_CLIPS)]]
    found["pairs"] = once(
        args.work,
        f"pairs {index}",
        settings,
        lambda: apart(pairs_met, sample, str(args.work / index)),
    )
    return found


def measure_run(args: argparse.Namespace, index: str, batch: str, options: tuple) -> dict:
    folder = args.work / "batches" / batch
    matches = args.work / "matches.csv"
    matches.unlink(missing_ok=True)
    shutil.rmtree(args.work / "events")
    (args.work / "events").mkdir()
    read_once(args.work / index)
    used = measured(
        [sys.executable, "-m", "sonic_lib.cli.main", "identify", str(folder), *options]
        + ["--warehouse", str(args.work / index), "--output", str(matches)],
        env=dict(os.environ),
        limit_s=args.limit_s,
        folder=args.work,
        min_free_gb=args.min_free_gb,
    )
    shutil.rmtree(args.work / "spill")  # left behind by a stopped run
    (args.work / "spill").mkdir()
    n_clips = len(list(folder.iterdir()))
    run = {"clips": n_clips, **used, **spark_counts(args.work / "events")}
    if not used["stopped"]:
        clips = args.work / ("unknown" if batch.startswith("unknown") else "clips")
        names = {path.name for path in folder.iterdir()}
        run |= judged(
            matches, [r for r in truth(clips) if r["clip"] in names], same_songs(args.bench)
        )
    return run


def read_once(warehouse: Path) -> None:
    """Read all files into the page cache, so that every run starts alike."""
    for path in (warehouse / FINGERPRINTS.name).rglob("*.parquet"):
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 24):
                pass


def judged(matches: Path, clips: list[dict], same: dict[str, str]) -> dict:
    """Count clips per condition: all, right at rank 1, right accepted, another song accepted.

    `strangers` counts accepted clips of unknown songs by the song that they were taken for.
    """
    best: dict[str, dict] = {}
    with open(matches, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            # Of several segments, take the one with the best score; a synthetic song has no path.
            if row["title"] or row["song"]:
                held = best.setdefault(row["clip"], row)
                if float(row["score"]) > float(held["score"]):
                    best[row["clip"]] = row
    counts: dict[str, Counter] = {}
    strangers: Counter = Counter()
    for row in clips:
        counted = counts.setdefault(
            row["condition"], Counter(clips=0, top1=0, accepted=0, wrong=0, synthetic=0)
        )
        counted["clips"] += 1
        answer = best.get(row["clip"])
        if answer is None:
            continue
        song = answer["song"]
        right = bool(song) and same.get(song, song) == same.get(row["song"], row["song"])
        accepted = answer["accepted"].lower() in ("1", "true")
        counted["top1"] += right
        counted["accepted"] += right and accepted
        counted["wrong"] += accepted and not right
        counted["synthetic"] += not song
        if row["condition"] == "unknown" and accepted:
            strangers[song or answer["title"]] += 1
    return {"conditions": counts, "strangers": strangers}


if __name__ == "__main__":
    main()
