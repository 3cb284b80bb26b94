"""Speed of `sonic features` compared with plain decoding, and the error of using excerpts.

OMP_NUM_THREADS=1 python benchmarks/features.py --songs FOLDER [--most 60]

one core  CPU seconds of decoding a song to 22,050 Hz, and of computing descriptors of its excerpts
job       songs per second of the whole command on all cores, without Spark's start
excerpts  for songs longer than two minutes: RMS difference of each descriptor from that of the
          whole song (at most ten minutes of it), over its standard deviation among the songs;
          median and 90th percentile over all descriptors
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from pathlib import Path

import numpy as np
from common import machine, save, sonic

from sonic_lib.audio.decode import open_audio, stream_mono
from sonic_lib.audio.listing import SUFFIXES
from sonic_lib.features.descriptors import (
    EXCERPT_S,
    N_EXCERPTS,
    SAMPLE_RATE_HZ,
    describe,
    pick_excerpts,
)

EXCERPTS = ((1, 30.0), (1, 60.0), (3, 10.0), (3, 20.0), (6, 10.0), (3, 30.0), (6, 20.0))
MIN_S, MAX_S = 120, 600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--songs", required=True, type=Path)
    parser.add_argument("--most", type=int, default=60, help="songs, evenly from the folder")
    args = parser.parse_args()
    paths = sorted(p for p in args.songs.rglob("*") if p.suffix[1:].lower() in SUFFIXES)
    if not paths:
        print(f"skipped: no audio in {args.songs}")
        return
    paths = paths[:: -(-len(paths) // args.most)]
    describe(np.zeros(SAMPLE_RATE_HZ, np.float32))  # compile
    decode_cpu_s = describe_cpu_s = audio_s = 0.0
    whole, parts = [], {excerpts: [] for excerpts in EXCERPTS}
    for path in paths:
        start_s = time.process_time()
        samples = decode(path)
        decode_cpu_s += time.process_time() - start_s
        duration_s = len(samples) / SAMPLE_RATE_HZ
        audio_s += duration_s
        start_s = time.process_time()
        describe(pick_excerpts([samples], duration_s=duration_s))
        describe_cpu_s += time.process_time() - start_s
        if duration_s > MIN_S:
            song = samples[: MAX_S * SAMPLE_RATE_HZ]
            whole.append(values(song))
            for n_excerpts, excerpt_s in EXCERPTS:
                picked = pick_excerpts(
                    [song],
                    duration_s=len(song) / SAMPLE_RATE_HZ,
                    n_excerpts=n_excerpts,
                    excerpt_s=excerpt_s,
                )
                parts[n_excerpts, excerpt_s].append(values(picked))
    job_s, report = run_job(paths)
    missed = {key: missing(np.array(found), np.array(whole)) for key, found in parts.items()}
    figures = {
        "songs": len(paths),
        "audio_h": audio_s / 3600,
        "decode_cpu_s": decode_cpu_s,
        "describe_cpu_s": describe_cpu_s,
        "songs_per_cpu_s": len(paths) / (decode_cpu_s + describe_cpu_s),
        "job_s": job_s,
        "job_songs_per_s": len(paths) / job_s,
        "excerpts": {f"{n} x {s:g} s": share for (n, s), share in missed.items()},
        "long_songs": len(whole),
    }
    save("features", text(figures, report), figures)


def text(figures: dict, report: str) -> str:
    n_songs = figures["songs"]
    ours = f"{N_EXCERPTS} x {EXCERPT_S:g} s"
    rows = [
        f"  {name:<10}  {median:6.2f}  {upper:6.2f}" + ("  ours" if name == ours else "")
        for name, (median, upper) in figures["excerpts"].items()
    ]
    return "\n".join(
        [
            report,
            f"one core  {figures['songs_per_cpu_s']:.1f} songs per CPU second: decoding "
            f"{1000 * figures['decode_cpu_s'] / n_songs:.0f} ms per song, descriptors "
            f"{1000 * figures['describe_cpu_s'] / n_songs:.0f} ms, "
            f"{figures['describe_cpu_s'] / figures['decode_cpu_s']:.2f} of decoding",
            f"job       {figures['job_songs_per_s']:.1f} songs per second on "
            f"{os.cpu_count()} cores ({n_songs} songs, {figures['audio_h']:.1f} h)",
            f"excerpts  error on {figures['long_songs']} songs, in standard deviations",
            "  excerpts    median    90 %",
            *rows,
            f"machine: {machine()}",
        ]
    )


def decode(path: Path) -> np.ndarray:
    with open_audio(str(path)) as file:
        return np.concatenate(list(stream_mono(file, sample_rate_hz=SAMPLE_RATE_HZ)[1]))


def values(samples: np.ndarray) -> list[float]:
    return list(describe(samples).values())


def missing(found: np.ndarray, whole: np.ndarray) -> tuple[float, float]:
    """Return median and 90th percentile of the descriptors' relative errors."""
    errors = np.sqrt(np.mean((found - whole) ** 2, axis=0)) / whole.std(axis=0)
    return float(np.median(errors)), float(np.quantile(errors, 0.9))


def run_job(paths: list[Path]) -> tuple[float, str]:
    """Run the command on the songs; return seconds and the output."""
    with tempfile.TemporaryDirectory(prefix="sonic-bench-") as scratch:
        songs = Path(scratch, "songs")
        songs.mkdir()
        for i, path in enumerate(paths):
            (songs / f"{i}{path.suffix}").symlink_to(path.resolve())
        report = sonic("features", str(songs), "--warehouse", f"{scratch}/warehouse")
    said = report.replace(scratch, "").strip()
    return float(re.search(r"time\s+([\d.]+) s", said)[1]), said


if __name__ == "__main__":
    main()
