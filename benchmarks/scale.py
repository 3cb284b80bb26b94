"""What identification costs in a table of hundreds of millions of rows (Linux only).

    make bench-scale SONGS=FOLDER [BENCH=FOLDER] [WORK=FOLDER] [ROWS=300000000]

The references are indexed as they are (the small index), and once more in one table with
synthetic songs that stand in for a far larger collection (the big index, `synthetic.py`).
How like one the table is, is measured first (`growth.py`).  Then folders of 1, 10, 100 and 1,000
clips of the references, and one of clips of unknown songs, are identified in both, by the
command that a user would run, as one process with its JVM and Python workers:

wall, CPU   seconds, with the start of Spark
peak        most resident memory at one time, of the JVM and of Python
read        bytes of the table files that Spark scanned, as often as it did, from its event log
shuffled    bytes that Spark wrote for shuffles; spilled: to disk, for want of memory
top-1       share of clips whose best answer is the right song
accepted    share of clips with the right song accepted; wrong: with another song accepted

WORK keeps everything; what is there and was made with the same settings is used again, and
runs are measured again only when the code of the product has changed.  The big index takes
about 12 bytes a row in the end, and 60 while it is made.
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

import growth
import large_index
import synthetic
from common import machine, save, sonic
from corpus import read_list, same_songs
from identify import link_references
from scale_report import growth_text, runs_text
from usage import measured, spark_counts

import sonic_lib
from sonic_lib import tables
from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.schemas import FINGERPRINTS
from sonic_lib.session import spark_job

CONDITIONS = ("clean", "noise0", "phone", "mp3_32k")
BATCHES = (1, 10, 100, 1000)
UNKNOWN = 100
LENGTH_S = 5
BUILD_BYTES_PER_ROW = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--songs", required=True, type=Path)
    parser.add_argument("--bench", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path, help="what is made stays here")
    parser.add_argument("--refs", type=Path, help="list of references (default: dev/refs.txt)")
    parser.add_argument("--unknown", type=Path, help="list of unknown songs")
    parser.add_argument("--rows", type=int, default=300_000_000, help="rows of the big index")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="clips a run")
    parser.add_argument("--unknown-clips", type=int, default=UNKNOWN, help="0 for none")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit-s", type=float, default=7200, help="stop longer runs")
    parser.add_argument("--min-free-gb", type=float, default=10, help="stop runs that spill more")
    parser.add_argument("--name", default="scale", help="name of the results file")
    args = parser.parse_args()
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    args.refs = args.refs or args.bench / "dev" / "refs.txt"
    args.unknown = args.unknown or args.bench / "dev" / "unknown.txt"
    if reason := why_not(args):
        print(f"skipped: {reason}")
        return
    os.environ["SPARK_CONF_DIR"] = str(spark_conf(args.work))
    made_of = {"refs": read_list(args.refs), "params": FingerprintParams().to_json()}
    in_table = made_of | {"rows": args.rows, "seed": args.seed, "model": synthetic.MODEL}
    asked = made_of | {"batches": [*args.batches], "unknown": args.unknown_clips}

    once(args.work, "small", made_of, lambda: index_references(args))
    built = once(args.work, "big", in_table, lambda: apart(build_big, args))
    once(args.work, "clips", asked | {"seed": args.seed}, lambda: make_clips(args))
    grown = once(args.work, "growth", in_table, lambda: apart(measure_growth, args, built))
    code = {"code": code_digest()}
    runs = {name: measure_runs(args, name, in_table | asked | code) for name in ("small", "big")}
    figures = {"built": built, "growth": grown, "runs": runs}
    clips = f"clips of {LENGTH_S} s ({', '.join(CONDITIONS)})"
    parts = [growth_text(grown, built), runs_text(runs, built, clips=clips)]
    text = "\n\n".join([*parts, f"machine: {machine()}"])
    save(args.name, text, figures)


def why_not(args: argparse.Namespace) -> str:
    """Say why nothing can be measured here, if so."""
    if not Path("/proc/self/statm").exists():
        return "memory and CPU seconds are read from Linux's /proc"
    if not (args.bench / "make_queries.py").exists():
        return f"no benchmark kit in {args.bench}"
    needed = args.rows * BUILD_BYTES_PER_ROW / 1e9 + args.min_free_gb
    free = shutil.disk_usage(args.work).free / 1e9
    if free < needed and not (args.work / "big.json").exists():
        return f"{args.work} has {free:.0f} GB free, {args.rows} rows need {needed:.0f}"
    return ""


def spark_conf(work: Path) -> Path:
    """Let every Spark of this benchmark log what it reads and writes, and spill in `work`."""
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
    """Do a stage unless it was done with these settings; return what it found."""
    marker = work / f"{stage}.json"
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
    """Run in a process of its own: a JVM stays, with all its memory, as long as its process."""
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawning) as pool:
        return pool.submit(function, *arguments).result()


def code_digest() -> str:
    """Digest of the product's code."""
    digest = hashlib.sha256()
    for path in sorted(Path(sonic_lib.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


# ---- the two indexes ----


def index_references(args: argparse.Namespace) -> None:
    for name in ("small", "songs"):
        shutil.rmtree(args.work / name, ignore_errors=True)
    songs = link_references(args.refs, args.songs, args.work / "songs")
    print(sonic("index", str(songs), "--warehouse", str(args.work / "small")))


def build_big(args: argparse.Namespace) -> dict:
    small, big = (str(args.work / name) for name in ("small", "big"))
    return large_index.build(small, big, rows=args.rows, seed=args.seed)


def measure_growth(args: argparse.Namespace, built: dict) -> dict:
    small, big = (str(args.work / name) for name in ("small", "big"))
    n_real, n_big = built["small"]["rows"], built["big"]["rows"]
    # Parts of the table down to the size of all real songs.
    n_halvings = round(math.log2(n_big / n_real))
    parts = [2**k for k in range(n_halvings, 0, -2)] + [1]
    with spark_job(app_name="growth") as spark:
        real = tables.read(spark, small, FINGERPRINTS)
        table = tables.read(spark, big, FINGERPRINTS)
        probes = growth.probes(spark, real, prefix_bits=tables.prefix_bits(spark, small))
        probes = probes.persist()
        return {
            "real": growth.curve(real, n_rows=n_real, parts=(8, 4, 2, 1)),
            "table": growth.curve(table, n_rows=n_big, parts=tuple(parts)),
            "met_real": growth.rows_met(real, probes=probes, n_rows=n_real),
            "met_table": growth.rows_met(table, probes=probes, n_rows=n_big),
        }


# ---- the clips ----


def make_clips(args: argparse.Namespace) -> None:
    """Cut the clips, and link them into a folder a batch; small batches have some of each kind."""
    clips = args.work / "clips"
    shutil.rmtree(clips, ignore_errors=True)
    n_each = -(-max(args.batches) // len(CONDITIONS))
    conditions = [*CONDITIONS, "unknown"] if args.unknown_clips else CONDITIONS
    subprocess.run(
        [sys.executable, args.bench / "make_queries.py", "--songs", args.songs]
        + ["--refs", args.refs, "--unknown", args.unknown, "--noise", args.bench / "noise"]
        + ["--rir", args.bench / "rir", "--out", clips, "--seed", str(args.seed)]
        + ["--clips", str(n_each), "--unknown-clips", str(args.unknown_clips)]
        + ["--lengths", str(LENGTH_S), "--only", ",".join(conditions)],
        check=True,
    )
    by_number = sorted(truth(args.work), key=lambda row: row["clip"].rpartition("_")[::-1])
    known = [row["clip"] for row in by_number if row["condition"] != "unknown"]
    batches = {str(n): known[:n] for n in args.batches}
    if args.unknown_clips:
        batches["unknown"] = [r["clip"] for r in by_number if r["condition"] == "unknown"]
    for batch, names in batches.items():
        folder = clips / "batches" / batch
        folder.mkdir(parents=True)
        for name in names:
            os.symlink(clips / "queries" / name, folder / name)


def truth(work: Path) -> list[dict]:
    with open(work / "clips" / "truth.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# ---- the runs ----


def measure_runs(args: argparse.Namespace, index: str, settings: dict) -> list[dict]:
    """Identify every batch, the smaller first; larger ones than one that failed are left out."""
    runs = []
    batches = [*map(str, sorted(args.batches)), *(["unknown"] if args.unknown_clips else [])]
    for batch in batches:
        if runs and runs[-1]["stopped"] and batch != "unknown":
            continue
        stage = f"run-{index}-{batch}"
        runs.append(once(args.work, stage, settings, lambda b=batch: measure_run(args, index, b)))
    return runs


def measure_run(args: argparse.Namespace, index: str, batch: str) -> dict:
    folder = args.work / "clips" / "batches" / batch
    matches = args.work / "matches.csv"
    matches.unlink(missing_ok=True)
    shutil.rmtree(args.work / "events")
    (args.work / "events").mkdir()
    read_once(args.work / index)
    used = measured(
        [sys.executable, "-m", "sonic_lib.cli", "identify", str(folder)]
        + ["--warehouse", str(args.work / index), "--output", str(matches)],
        env=dict(os.environ),
        limit_s=args.limit_s,
        folder=args.work,
        min_free_gb=args.min_free_gb,
    )
    shutil.rmtree(args.work / "spill")  # a stopped run leaves it
    (args.work / "spill").mkdir()
    n_clips = len(list(folder.iterdir()))
    run = {"batch": batch, "clips": n_clips, **used, **spark_counts(args.work / "events")}
    if not used["stopped"]:
        run |= judged(args, {path.name for path in folder.iterdir()}, matches)
    return run


def read_once(warehouse: Path) -> None:
    """Have all files in the page cache, as far as it goes, for every run alike."""
    for path in (warehouse / FINGERPRINTS.name).rglob("*.parquet"):
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 24):
                pass


def judged(args: argparse.Namespace, clips: set[str], matches: Path) -> dict[str, float]:
    """Shares of clips: right at rank 1, right and accepted, wrong and accepted."""
    same = same_songs(args.bench)
    best: dict[str, dict] = {}
    with open(matches, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            # Of several segments the one with the best score; a synthetic song has no path.
            if row["title"] or row["song"]:
                held = best.setdefault(row["clip"], row)
                if float(row["score"]) > float(held["score"]):
                    best[row["clip"]] = row
    counts = Counter(top1=0, accepted=0, wrong=0, synthetic=0)
    for row in (row for row in truth(args.work) if row["clip"] in clips):
        answer = best.get(row["clip"])
        if answer is None:
            continue
        song = answer["song"]
        right = bool(song) and same.get(song, song) == same.get(row["song"], row["song"])
        accepted = answer["accepted"].lower() in ("1", "true")
        counts["top1"] += right
        counts["accepted"] += right and accepted
        counts["wrong"] += accepted and not right
        counts["synthetic"] += not song
    return {key: n / len(clips) for key, n in counts.items()}


if __name__ == "__main__":
    main()
