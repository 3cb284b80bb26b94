"""How the point pairs of the descriptor, and the weights of its distances, were chosen.

    .venv/bin/python benchmarks/descriptor.py --songs FOLDER --bench FOLDER

The songs are neither references nor unknown songs of the dev corpus, so no published figure is
measured on them.  The kit degrades clips of them.  A hit is true if its song and offset are
right, and a chance hit if it is in another song.  Points near the corners of the triangles, and
pairs of points, are drawn at random.  Pairs are then selected greedily: each is the one that, with
those already selected, separates true hits from chance hits best, by the difference of the mean
Hamming distances in units of their standard deviation.

Half of the songs are used for the selection, the other half to measure the result.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common import machine, save
from corpus import audio_names, read_list
from numpy.typing import NDArray

from sonic_lib.audio.decode import open_audio, stream_mono
from sonic_lib.fingerprint import hashes as hashing
from sonic_lib.fingerprint.descriptor import DESCRIPTOR_BITS, REACH_FRAMES
from sonic_lib.fingerprint.landmarks import BIN, FRAME, analyse
from sonic_lib.fingerprint.params import FRAME_S, SAMPLE_RATE_HZ, FingerprintParams
from sonic_lib.fingerprint.triangles import landmark_triangles

PARAMS = FingerprintParams()
REACH_BINS = 24
SPEEDS = {"speed2": 1.02, "tempo5": 1.05}
CONDITIONS = (
    *("clean", "noise0", "noise-5", "noise5", "phone", "reverb", "mp3_32k", "gsm", "eq"),
    *("opus_16k", *SPEEDS),
)
MAX_TRUE, MAX_CHANCE = 250, 120  # hits per clip
STEPS = np.concatenate([np.zeros((1, 5)), np.eye(5), -np.eye(5)])


class Triangles(NamedTuple):
    """Triangles of a song (stored) or of a clip (looked up), and where they are."""

    hashes: NDArray[np.int64]
    frames: NDArray[np.int32]
    corner_frames: NDArray[np.float32]  # (n, 3), rows of the saliency
    corner_bins: NDArray[np.float32]  # (n, 3), columns of the saliency
    saliency: NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--songs", required=True, type=Path)
    parser.add_argument("--bench", required=True, type=Path)
    parser.add_argument("--clips", default="40", help="clips per condition")
    parser.add_argument("--points", type=int, default=700)
    parser.add_argument("--pairs", type=int, default=6000, help="pairs to choose from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="descriptor", help="name of the result files")
    args = parser.parse_args()
    if not (args.bench / "make_queries.py").exists():
        print(f"skipped: no benchmark kit in {args.bench}")
        return
    dev = {s for n in ("refs", "unknown") for s in read_list(args.bench / "dev" / f"{n}.txt")}
    songs = [name for name in audio_names(args.songs) if name not in dev]
    with tempfile.TemporaryDirectory(prefix="sonic-bench-") as scratch:
        clips = make_clips(args, songs, Path(scratch))
        with get_context("spawn").Pool(os.cpu_count()) as pool:
            stored = pool.map(triangles_of_song, [args.songs / name for name in songs], 1)
            asked = pool.map(triangles_of_clip, [clip["path"] for clip in clips], 1)
    rng = np.random.default_rng(args.seed)
    points = np.column_stack(
        [
            rng.integers(0, 3, args.points),
            rng.integers(-REACH_FRAMES, REACH_FRAMES + 1, args.points),
            rng.integers(-REACH_BINS, REACH_BINS + 1, args.points),
        ]
    )
    hits = Hits(*collect(clips, asked, stored, songs, points, rng))
    chosen = choose(hits, n_candidates=args.pairs, rng=rng)
    text, figures = evaluated(hits, chosen)
    pairs = np.column_stack([points[chosen[:, 0]], points[chosen[:, 1]]])
    text += f"\n\npairs: {pairs.tolist()}\n\nmachine: {machine()}"
    save(args.name, text, figures | {"pairs": pairs.tolist()})


def make_clips(args: argparse.Namespace, songs: Sequence[str], work: Path) -> list[dict]:
    """Degrade clips of the songs; return the rows of the kit's truth.csv, with paths."""
    (work / "songs.txt").write_text("\n".join(songs), encoding="utf-8")
    subprocess.run(
        [sys.executable, args.bench / "make_queries.py", "--songs", args.songs]
        + ["--refs", work / "songs.txt", "--noise", args.bench / "noise"]
        + ["--rir", args.bench / "rir", "--out", work, "--seed", "5", "--clips", args.clips]
        + ["--lengths", "5", "--only", ",".join(CONDITIONS)],
        check=True,
    )
    with open(work / "truth.csv", newline="", encoding="utf-8") as file:
        return [row | {"path": work / "queries" / row["clip"]} for row in csv.DictReader(file)]


def samples_of(path: Path) -> NDArray[np.float32]:
    with open_audio(str(path)) as file:
        _, blocks = stream_mono(file, sample_rate_hz=SAMPLE_RATE_HZ)
        return np.concatenate(list(blocks))


def triangles_of_song(path: Path) -> Triangles:
    return _triangles(samples_of(path), STEPS[:1])


def triangles_of_clip(path: Path) -> Triangles:
    return _triangles(samples_of(path), STEPS)


def _triangles(samples: NDArray[np.float32], steps: NDArray) -> Triangles:
    landmarks, saliency = analyse(samples, params=PARAMS)
    corners = landmark_triangles(landmarks, PARAMS.densities_per_s)
    hashes, frames = hashing.triangle_hashes(landmarks, corners)
    numbers = (hashing.unpack(hashes)[:, np.newaxis] + steps).reshape(-1, 5)
    known = (numbers[:, 0] >= 1) & (numbers[:, 0] <= 255)
    triangle = np.repeat(np.arange(len(corners)), len(steps))[known]
    return Triangles(
        hashing.pack(numbers[known]),
        frames[triangle],
        landmarks[:, FRAME][corners[triangle]].astype(np.float32),
        landmarks[:, BIN][corners[triangle]].astype(np.float32) - PARAMS.first_bin,
        saliency,
    )


class Hits(NamedTuple):
    """Hits, and the saliency at all points on both sides, of shape (n_hits, n_points)."""

    condition: NDArray[np.int64]
    chooses: NDArray[np.bool_]
    is_true: NDArray[np.bool_]
    asked: NDArray[np.float16]
    stored: NDArray[np.float16]


def collect(clips, asked, stored, songs, points, rng) -> tuple[NDArray, ...]:
    """Sample true hits and chance hits of every clip, with the points around both."""
    column = np.concatenate([song.hashes for song in stored])
    song = np.repeat(np.arange(len(stored)), [len(s.hashes) for s in stored])
    row = np.concatenate([np.arange(len(s.hashes)) for s in stored])
    order = np.argsort(column, kind="stable")
    column, song, row = column[order], song[order], row[order]
    places = np.concatenate([s.frames for s in stored])[order]
    parts: list[tuple] = []
    for clip, found in zip(clips, asked, strict=True):
        number = songs.index(clip["song"])
        first = np.searchsorted(column, found.hashes)
        count = np.searchsorted(column, found.hashes, "right") - first
        query = np.repeat(np.arange(len(count)), count)
        place = np.arange(len(query)) + np.repeat(first - (np.cumsum(count) - count), count)
        speed = SPEEDS.get(clip["condition"], 1.0)
        expected = float(clip["offset_s"]) / FRAME_S + speed * found.frames[query]
        own = song[place] == number
        kinds = (own & (np.abs(places[place] - expected) <= 2), ~own)
        for kind, most in zip(kinds, (MAX_TRUE, MAX_CHANCE), strict=True):
            drawn = np.flatnonzero(kind)
            drawn = rng.choice(drawn, min(most, len(drawn)), replace=False)
            n = len(drawn)
            parts.append(
                (
                    np.full(n, CONDITIONS.index(clip["condition"])),
                    np.full(n, number % 2 == 0),
                    np.full(n, kind is kinds[0]),
                    looked_at(found, query[drawn], points),
                    np.concatenate([*around(stored, song[place[drawn]], row[place[drawn]], points)])
                    if n
                    else np.zeros((0, len(points)), np.float16),
                )
            )
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def around(stored, songs, rows, points) -> Iterator[NDArray[np.float16]]:
    for song, row in zip(songs, rows, strict=True):
        yield looked_at(stored[song], np.array([row]), points)


def looked_at(found: Triangles, rows: NDArray, points: NDArray) -> NDArray[np.float16]:
    """Return the saliency at the points around some triangles, clamped at the edges."""
    frames = found.corner_frames[rows][:, points[:, 0]] + points[:, 1]
    bins = found.corner_bins[rows][:, points[:, 0]] + points[:, 2]
    places = [
        np.clip(np.floor(x + 0.5).astype(int), 0, n - 1)
        for x, n in zip((frames, bins), found.saliency.shape, strict=True)
    ]
    return found.saliency[tuple(places)].astype(np.float16)


def choose(hits: Hits, *, n_candidates: int, rng) -> NDArray[np.int64]:
    """Select pairs of points greedily; shape (DESCRIPTOR_BITS, 2)."""
    candidates = rng.integers(0, hits.asked.shape[1], (n_candidates, 2))
    candidates = candidates[candidates[:, 0] != candidates[:, 1]]
    means, covariance = [], 0.0
    for kind in (False, True):
        rows = np.flatnonzero(hits.chooses & (hits.is_true == kind))
        rows = rng.choice(rows, min(13_000, len(rows)), replace=False)
        errors = differing_bits(hits, candidates, rows).astype(np.float32)
        means.append(errors.mean(axis=0))
        covariance = covariance + errors.T @ errors / len(rows) - np.outer(means[-1], means[-1])
    gain = means[0] - means[1]
    chosen: list[int] = []
    total, variance, shared = 0.0, 0.0, np.zeros(len(candidates))
    for _ in range(DESCRIPTOR_BITS):
        spread = variance + 2 * shared + np.diag(covariance)
        score = (total + gain) ** 2 / np.maximum(spread, 1e-9)
        score[chosen] = -1.0
        score[total + gain < 0] = -1.0
        best = int(np.argmax(score))
        chosen.append(best)
        variance += 2 * shared[best] + covariance[best, best]
        total += gain[best]
        shared += covariance[:, best]
    return candidates[chosen]


def differing_bits(hits: Hits, pairs: NDArray, rows: NDArray) -> NDArray[np.bool_]:
    """Return whether clip and song differ in each bit."""
    first, second = pairs.T
    bits = [side[rows][:, first] > side[rows][:, second] for side in (hits.asked, hits.stored)]
    return bits[0] != bits[1]


def evaluated(hits: Hits, pairs: NDArray) -> tuple[str, dict]:
    """Summarise the distances measured on the other half of the songs."""
    rows = np.flatnonzero(~hits.chooses)
    distance = differing_bits(hits, pairs, rows).sum(axis=1)
    is_true, condition = hits.is_true[rows], hits.condition[rows]
    of = [distance[is_true & (condition == c)] for c in range(len(CONDITIONS))]
    shares = [np.bincount(d, minlength=DESCRIPTOR_BITS + 1) / max(len(d), 1) for d in of]
    true = np.mean(shares, axis=0)
    chance = np.bincount(distance[~is_true], minlength=DESCRIPTOR_BITS + 1) / (~is_true).sum()
    differing = {c: d.mean() / DESCRIPTOR_BITS for c, d in zip(CONDITIONS, of, strict=True)}
    both = (true > 5e-4) & (chance > 5e-5)
    steps = np.arange(DESCRIPTOR_BITS + 1)
    fit = np.polyfit(
        steps[both], np.log(true / np.maximum(chance, 1e-9))[both], 2,
        w=np.sqrt(np.minimum(true, chance)[both]),
    )  # fmt: skip
    ratio = np.minimum.accumulate(np.polyval(fit, steps))
    lines = [
        "share of bits that differ: " + ", ".join(f"{c} {s:.3f}" for c, s in differing.items())
    ]
    lines.append(f"of chance hits {distance[~is_true].mean() / DESCRIPTOR_BITS:.3f}")
    lines.append("distance at most   true hits   chance hits   log-likelihood ratio of it")
    for d in steps[:20]:
        lines.append(
            f"{d:16} {true[: d + 1].sum():10.1%} {chance[: d + 1].sum():12.2%} {ratio[d]:20.1f}"
        )
    figures = {"differing": differing, "true": true.tolist(), "chance": chance.tolist()}
    return "\n".join(lines), figures | {"log_likelihood_ratio": ratio.tolist()}


if __name__ == "__main__":
    main()
