"""Precision and recall of `sonic duplicates`, counted in pairs of songs.

    make bench-duplicates SONGS=FOLDER [BENCH=FOLDER]

The library consists of the songs in BENCH's corpus/near_duplicates.csv, other songs drawn from
SONGS, and copies of some of them: re-encoded as Opus, MP3 and Ogg Vorbis at low bitrates, quieter,
2 % faster and slower, trimmed, retagged, and songs with an excerpt of another song spliced in.
Expected pairs are each song and its copies, two copies of one song that share content, and the
known pairs.  Any other pair counts against precision and is listed, though some may be real.  For
the known pairs the spectral similarity (`alike`) is also printed, since that list was made by
another method and may contain errors.  The thresholds were set with seed 1.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr
from alike import alike
from common import machine, save, sonic
from corpus import audio_names, near_duplicates

from sonic_lib.matching.duplicates import PASSAGE, SAME

MIN_SONG_S, MAX_SONG_S = 60.0, 300.0
PASSAGES_S = (12.0, 15.0, 20.0, 30.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--songs", required=True, type=Path)
    parser.add_argument("--bench", required=True, type=Path)
    parser.add_argument("--others", type=int, default=60, help="songs without known duplicates")
    parser.add_argument("--copied", type=int, default=24, help="songs to make copies of")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="keep library and tables in this folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sonic-bench-") as scratch:
        work = args.keep or Path(scratch)
        known = near_duplicates(args.bench)
        rng = np.random.default_rng(args.seed)
        expected = make_library(work / "library", args, known=known, rng=rng)
        warehouse = str(work / "warehouse")
        print(sonic("index", str(work / "library"), "--warehouse", warehouse))
        found = work / "pairs.csv"
        report = sonic("duplicates", "--warehouse", warehouse, "--output", str(found))
        text, figures = score(read_pairs(found), expected)
        figures["spectra_alike"] = {
            " | ".join(p): alike(*(args.songs / x for x in p)) for p in known
        }
    text += "".join(
        f"\n    spectral similarity of the known pair {share:.2f}: {pair}"
        for pair, share in figures["spectra_alike"].items()
    )
    save("duplicates", f"{report}\n{text}\nmachine: {machine()}", figures)


def make_library(
    folder: Path, args: argparse.Namespace, *, known: list[tuple[str, str]], rng
) -> dict[frozenset[str], tuple[str, str]]:
    """Write songs and copies; return (how the pair was made, kind) for each expected pair."""
    names = audio_names(args.songs)
    doubles = {name for pair in known for name in pair}
    others = [
        name
        for name in rng.permutation([n for n in names if n not in doubles]).tolist()
        if MIN_SONG_S < soundfile.info(args.songs / name).duration < MAX_SONG_S
    ][: args.others]
    for name in [*sorted(doubles), *others]:
        link = folder / "songs" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        os.symlink((args.songs / name).resolve(), link)
    expected = {
        frozenset(f"songs/{name}" for name in pair): ("known pair", "any") for pair in known
    }
    (folder / "copies").mkdir()
    kinds = itertools.cycle(COPIES.items())
    copied = others[: args.copied]
    for i, name in enumerate(copied):
        made = [f"songs/{name}"]
        for _ in range(1 + i % 3):  # groups of two to four
            kind, make = next(kinds)
            copy = f"copies/{i:02} {kind}"
            made.append(f"copies/{make(args.songs / name, folder / copy, rng).name}")
        for pair in itertools.combinations(made, 2):
            kind = "far apart" if {_kind(x) for x in pair} == {"faster", "slower"} else SAME
            expected[frozenset(pair)] = (_how(*pair), kind)
    for i in range(len(PASSAGES_S) * 2):
        source, host = others[-2 * i - 1], others[-2 * i - 2]
        name = splice(args.songs, source, host, folder / f"copies/spliced {i:02}.flac", i, rng)
        expected[frozenset((f"songs/{source}", name))] = ("passage", PASSAGE)
        expected[frozenset((f"songs/{host}", name))] = ("host of excerpt", SAME)
    return expected


def _how(first: str, second: str) -> str:
    kinds = [_kind(path) for path in (first, second) if path.startswith("copies/")]
    return kinds[0] if len(kinds) == 1 else "two copies"


def _kind(path: str) -> str:
    return Path(path).stem.partition(" ")[2] if path.startswith("copies/") else ""


def opus(song: Path, copy: Path, rng) -> Path:
    samples, rate_hz = soundfile.read(song, dtype="float32", always_2d=True)
    return write(copy, ".opus", soxr.resample(samples, rate_hz, 48_000), 48_000, "OGG", "OPUS", 0.9)


def mp3(song: Path, copy: Path, rng) -> Path:
    return write(copy, ".mp3", *decoded(song), "MP3", None, 0.9)


def vorbis(song: Path, copy: Path, rng) -> Path:
    return write(copy, ".ogg", *decoded(song), "OGG", "VORBIS", 0.9)


def quieter(song: Path, copy: Path, rng) -> Path:
    samples, rate_hz = soundfile.read(song, always_2d=True)
    return write(copy, ".flac", 0.2 * samples, rate_hz)


def faster(song: Path, copy: Path, rng) -> Path:
    return resampled(song, copy, 1.02)


def slower(song: Path, copy: Path, rng) -> Path:
    return resampled(song, copy, 0.98)


def resampled(song: Path, copy: Path, speed: float) -> Path:
    samples, rate_hz = soundfile.read(song, always_2d=True)
    return write(copy, ".flac", soxr.resample(samples, speed, 1.0), rate_hz)


def cut(song: Path, copy: Path, rng) -> Path:
    samples, rate_hz = soundfile.read(song, always_2d=True)
    start = int(rng.uniform(0.15, 0.25) * len(samples))
    return write(copy, ".flac", samples[start : start + int(0.6 * len(samples))], rate_hz)


def retagged(song: Path, copy: Path, rng) -> Path:
    samples, rate_hz = soundfile.read(song, always_2d=True)
    path = copy.with_suffix(".flac")
    with soundfile.SoundFile(path, "w", rate_hz, samples.shape[1], "PCM_16") as file:
        file.title, file.artist = "Another title", "Somebody else"
        file.write(samples)
    return path


COPIES: dict[str, Callable] = {
    "opus": opus,
    "mp3": mp3,
    "vorbis": vorbis,
    "quieter": quieter,
    "faster": faster,
    "slower": slower,
    "cut": cut,
    "retagged": retagged,
}


def splice(songs: Path, source: str, host: str, path: Path, i: int, rng) -> str:
    """Overwrite part of one song with an excerpt of another."""
    passage, from_hz = soundfile.read(songs / source, dtype="float32", always_2d=True)
    samples, rate_hz = soundfile.read(songs / host, dtype="float32", always_2d=True)
    passage = soxr.resample(passage.mean(axis=1), from_hz, rate_hz)
    n = int(PASSAGES_S[i % len(PASSAGES_S)] * rate_hz)
    start = int(rng.uniform(0.2, 0.8) * (len(passage) - n))
    at = int(rng.uniform(0.2, 0.8) * (len(samples) - n))
    samples[at : at + n] = passage[start : start + n, np.newaxis]
    soundfile.write(path, samples, rate_hz)
    return f"copies/{path.name}"


def decoded(song: Path) -> tuple[np.ndarray, int]:
    return soundfile.read(song, always_2d=True)


def write(
    copy: Path, suffix: str, samples, rate_hz: int, kind="FLAC", subtype="PCM_16", level=None
) -> Path:
    path = copy.with_name(copy.name + suffix)
    channels = samples.shape[1]
    with soundfile.SoundFile(
        path, "w", rate_hz, channels, subtype, format=kind, compression_level=level
    ) as file:
        for start in range(0, len(samples), 65_536):  # libsndfile overflows on long Ogg writes
            file.write(samples[start : start + 65_536])
    return path


def read_pairs(path: Path) -> dict[frozenset[str], dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return {frozenset((row["song"], row["other_song"])): row for row in csv.DictReader(file)}


def score(found: dict, expected: dict) -> tuple[str, dict]:
    """Count pairs by kind of copy; two copies 4 % apart in speed are neither expected nor wrong."""
    apart = {pair for pair, (_, kind) in expected.items() if kind == "far apart"}
    expected = {pair: kind for pair, kind in expected.items() if pair not in apart}
    found = {pair: row for pair, row in found.items() if pair not in apart}
    lines, figures = [], {"by_kind": {}}
    for how in sorted({how for how, _ in expected.values()}):
        pairs = {pair: kind for pair, (was, kind) in expected.items() if was == how}
        hit = [pair for pair in pairs if pair in found]
        right = [pair for pair in hit if pairs[pair] in ("any", found[pair]["kind"])]
        figures["by_kind"][how] = {"pairs": len(pairs), "found": len(hit), "right_kind": len(right)}
        lines.append(f"{how:<18}{len(hit)} of {len(pairs)} found, {len(right)} of the right kind")
        lines += [f"    missed: {' | '.join(sorted(pair))}" for pair in pairs if pair not in found]
    n_right = sum(pair in expected for pair in found)
    figures |= {
        "expected": len(expected),
        "found": len(found),
        "recall": n_right / len(expected),
        "precision": n_right / max(len(found), 1),
        "unexpected": [
            {"songs": sorted(pair), **{k: found[pair][k] for k in ("kind", "overlap_s", "p_value")}}
            for pair in found
            if pair not in expected
        ],
    }
    lines.append(
        f"recall {figures['recall']:.3f} ({n_right} of {len(expected)} pairs), "
        f"precision {figures['precision']:.3f} ({n_right} of {len(found)})"
    )
    lines += [
        f"    not expected: {row['kind']}, {row['overlap_s']} s: {' | '.join(row['songs'])}"
        for row in figures["unexpected"]
    ]
    return "\n".join(lines), figures


if __name__ == "__main__":
    main()
