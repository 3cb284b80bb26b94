"""Segments of long recordings: which song, from when to when, and where in the song.

    make bench-segments SONGS=FOLDER [BENCH=FOLDER]

The recordings resemble a DJ set, a radio programme and a film (see recordings.py).  A segment is
right if its song is audible there and the two intervals share at least 70 % of each.  Precision is
right segments over found ones, recall right segments over true ones; "not heard" counts songs that
are not audible there at all.  Errors are those of the right segments: start, end, position in the
song, and speed.  Songs repeat themselves, so a position may be wrong and sound the same.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from common import counts_of, machine, save, sonic
from corpus import read_list, same_songs
from identify import link_references
from recordings import make_recordings

MIN_SHARED = 0.7
N_LISTED = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--songs", required=True, type=Path)
    parser.add_argument("--bench", required=True, type=Path)
    parser.add_argument("--refs", type=Path, help="list of references (default: dev/refs.txt)")
    parser.add_argument("--unknown", type=Path, help="list of unknown songs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hours", type=float, default=2.0, help="length of a recording")
    parser.add_argument("--recordings", type=int, default=3, help="the kinds take turns")
    parser.add_argument("--name", default="segments", help="name of the results file")
    args = parser.parse_args()
    if not (args.bench / "noise").is_dir():
        print(f"skipped: no benchmark kit in {args.bench}")
        return
    refs = args.refs or args.bench / "dev" / "refs.txt"
    unknown = args.unknown or args.bench / "dev" / "unknown.txt"
    same = same_songs(args.bench)

    with tempfile.TemporaryDirectory(prefix="sonic-bench-") as scratch:
        work = Path(scratch)
        truth = make_recordings(
            work / "recordings",
            songs=args.songs,
            known=read_list(refs),
            unknown=read_list(unknown),
            noise=args.bench / "noise",
            hours=args.hours,
            n_recordings=args.recordings,
            seed=args.seed,
        )
        songs = link_references(refs, args.songs, work / "songs")
        warehouse, matches = str(work / "warehouse"), work / "matches.csv"
        print(sonic("index", str(songs), "--warehouse", warehouse))
        run = sonic(
            *["identify", str(work / "recordings"), "--warehouse", warehouse],
            *["--output", str(matches)],
        )
        found = pd.read_csv(matches)
    indexed = {same.get(song, song) for song in read_list(refs)}
    heard = pd.DataFrame(truth)
    heard["group"] = heard["song"].map(lambda song: same.get(song, song))
    known = heard[heard["group"].isin(indexed)].reset_index(drop=True)
    found = found[(found["rank"] == 1) & found["accepted"]].reset_index(drop=True)
    found = found.rename(columns={"clip": "recording"})
    found["group"] = found["song"].map(lambda song: same.get(song, song))
    pairs = pair_up(found, known)

    kinds = sorted(set(heard["recording"].str.partition("_")[0]))
    results = {kind: measure(found, known, pairs, kind) for kind in kinds}
    results["all"] = measure(found, known, pairs, "")
    false = found.drop(index=pairs["found"].unique())
    missed = known.drop(index=pairs["known"].unique())
    figures = {
        "seed": args.seed,
        "hours": args.hours,
        "recordings": args.recordings,
        "results": results,
        "false": [describe(row, heard) for row in false.head(N_LISTED).itertuples()],
        "missed": [describe(row, found) for row in missed.head(N_LISTED).itertuples()],
    }
    n_unknown = len(heard) - len(known)
    text = (
        f"{table(results)}\n\n{args.recordings} recordings of {args.hours:g} h, "
        f"{len(read_list(refs))} songs indexed; {n_unknown} passages of unknown songs\n"
        f"{counts_of(run)}\nmachine: {machine()}"
    )
    save(args.name, text, figures)


def shared_s(a, b) -> float:
    """Seconds that two intervals of a recording have in common."""
    a_start, a_end = interval(a)
    b_start, b_end = interval(b)
    return max(0.0, min(a_end, b_end) - max(a_start, b_start))


def interval(row) -> tuple[float, float]:
    """The interval of a row of the truth or of the matches."""
    if hasattr(row, "start_s"):
        return row.start_s, row.end_s
    return row.clip_start_s, row.clip_end_s


def pair_up(found: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Pair every right segment with its true one, and compute the errors."""
    pairs = []
    for f in found.itertuples():
        here = known[(known["recording"] == f.recording) & (known["group"] == f.group)]
        for k in here.itertuples():
            longer_s = max(f.clip_end_s - f.clip_start_s, k.end_s - k.start_s)
            if shared_s(f, k) < MIN_SHARED * longer_s:
                continue
            true_offset_s = k.song_start_s + (f.clip_start_s - k.start_s) * k.speed
            errors = {
                "start_s": f.clip_start_s - k.start_s,
                "end_s": f.clip_end_s - k.end_s,
                "offset_s": f.offset_s - true_offset_s,
                "speed": f.speed - k.speed,
            }
            pairs.append({"found": f.Index, "known": k.Index, **errors})
    return pd.DataFrame(pairs, columns=["found", "known", "start_s", "end_s", "offset_s", "speed"])


def measure(found: pd.DataFrame, known: pd.DataFrame, pairs: pd.DataFrame, kind: str) -> dict:
    """Precision, recall and errors for one kind of recording."""
    found = found[found["recording"].str.startswith(kind)]
    known = known[known["recording"].str.startswith(kind)]
    pairs = pairs[pairs["known"].isin(known.index)]
    n_found, n_right = len(found), pairs["found"].nunique()
    strangers = 0
    for f in found.itertuples():
        here = known[(known["recording"] == f.recording) & (known["group"] == f.group)]
        strangers += not any(shared_s(f, k) for k in here.itertuples())
    errors = pairs.abs()

    def of(column: str, measure, *how) -> float | None:
        return float(measure(errors[column], *how)) if len(errors) else None

    return {
        "known": len(known),
        "found": n_found,
        "strangers": strangers,
        "precision": n_right / n_found if n_found else None,
        "recall": pairs["known"].nunique() / len(known) if len(known) else None,
        "start_error_s": [of("start_s", np.quantile, q) for q in (0.5, 0.9)],
        "end_error_s": [of("end_s", np.quantile, q) for q in (0.5, 0.9)],
        # Signed, to distinguish bias from spread.
        "start_bias_s": float(pairs["start_s"].median()) if len(pairs) else None,
        "end_bias_s": float(pairs["end_s"].median()) if len(pairs) else None,
        "offset_error_s": of("offset_s", np.median),
        "offset_within_0.1_s": of("offset_s", lambda x: (x <= 0.1).mean()),
        "offset_within_0.5_s": of("offset_s", lambda x: (x <= 0.5).mean()),
        "speed_error": of("speed", np.median),
    }


def describe(row, others: pd.DataFrame) -> dict:
    """Describe a false or missed segment, and what else overlaps it."""
    start_s, end_s = interval(row)
    there = others[others["recording"] == row.recording].itertuples()
    there = [(o.song, *interval(o)) for o in there if shared_s(row, o) > 1]
    more = {"p_value": row.p_value} if hasattr(row, "p_value") else {"speed": round(row.speed, 4)}
    return {
        "recording": row.recording,
        "song": row.song,
        "start_s": round(start_s, 1),
        "end_s": round(end_s, 1),
        **more,
        "there": [f"{song} {a:.1f}-{b:.1f}" for song, a, b in there[:5]],
    }


def table(results: dict) -> str:
    head = ["known", "found", "not heard", "precision", "recall", "start error", "end error"]
    head += ["place", "<=0.1 s", "<=0.5 s", "speed error"]
    lines = [" " * 6 + "".join(f"{name:>13}" for name in head)]
    for kind, r in results.items():
        start, end = (
            "-" if r[name][0] is None else "{:.1f} / {:.1f} s".format(*r[name])
            for name in ("start_error_s", "end_error_s")
        )
        cells = [r["known"], r["found"], r["strangers"], percent(r["precision"])]
        cells += [percent(r["recall"]), start, end]
        cells += ["-" if r["offset_error_s"] is None else f"{r['offset_error_s']:.3f} s"]
        cells += [percent(r["offset_within_0.1_s"]), percent(r["offset_within_0.5_s"])]
        cells += ["-" if r["speed_error"] is None else f"{100 * r['speed_error']:.3f} %"]
        lines.append(f"{kind:6}" + "".join(f"{cell:>13}" for cell in cells))
    return "\n".join([*lines, "errors: median, of start and end also the 90th percentile"])


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


if __name__ == "__main__":
    main()
