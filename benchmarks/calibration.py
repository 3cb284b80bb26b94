"""Compare how often clips of unknown songs are accepted with the requested rate.

    make bench-calibration SONGS=FOLDER [BENCH=FOLDER]

Only the references are indexed.  Clips of all other songs of the corpus serve as unknown clips,
including songs by the same composers; near duplicates of references are excluded.  A clip counts
as accepted at every `identify.false_accept_rate` that is not below its smallest p-value.  With
--larger, half of the unknown songs are then added to the index and the clips of the other half
are identified again, to see whether the rate holds as the index grows.  Intervals are 95 % Wilson
intervals that treat clips of one song as independent; the number after each is how many songs the
accepted clips come from.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
from common import RESULTS, machine, save, sonic
from corpus import audio_names, read_list, same_songs
from identify import link_references
from matplotlib.figure import Figure

ASKED = (0.1, 0.05, 0.02, 0.01, 0.005, 0.001)
N_LISTED = 30
COLOURS = ("black", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--songs", required=True, type=Path)
    parser.add_argument("--bench", required=True, type=Path)
    parser.add_argument("--index-songs", type=Path, help="list to index (default: dev/refs.txt)")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--clips", type=int, default=600, help="clips per length of 3, 5 and 10 s")
    parser.add_argument("--long-clips", type=int, default=200, help="clips of 60 s")
    parser.add_argument("--larger", action="store_true", help="also measure a larger index")
    parser.add_argument("--name", default="calibration", help="name of the result files")
    args = parser.parse_args()
    if not (args.bench / "make_queries.py").exists():
        print(f"skipped: no benchmark kit in {args.bench}")
        return
    refs = args.index_songs or args.bench / "dev" / "refs.txt"
    same = same_songs(args.bench)
    taken = {same.get(song, song) for song in read_list(refs)}
    unknown = [s for s in audio_names(args.songs) if same.get(s, s) not in taken]
    joining = [s for s in unknown if zlib.crc32(same.get(s, s).encode()) % 2]

    with tempfile.TemporaryDirectory(prefix="sonic-bench-") as scratch:
        work = Path(scratch)
        clips = make_clips(work, refs, unknown, args)
        n_songs = len(read_list(refs))
        print(index(refs, args.songs, work, "references"))
        answers = [ask(clips, work, n_songs, packages(read_list(refs)))]
        if args.larger:
            stays = ~clips["song"].isin(joining)
            for clip in clips.index[~stays]:
                (work / "queries" / clip).unlink()
            print(index(write_list(work / "joining.txt", joining), args.songs, work, "joining"))
            known = packages(read_list(refs) + joining)
            answers.append(ask(clips[stays], work, n_songs + len(joining), known))

    first = answers[0]
    titles = [f"{n_songs} songs indexed", f"{n_songs + len(joining)} songs indexed"]
    charts = dict(zip(titles, answers, strict=False))
    results = {title: observed(answer) for title, answer in charts.items()}
    if args.larger:
        stayed = observed(first[first.index.isin(answers[1].index)])
        grown = results.pop(titles[1])
        results["the same clips, before and after the index grew"] = {
            f"{group}, {n}": result[group]
            for group in grown
            for n, result in ((n_songs, stayed), (n_songs + len(joining), grown))
            if group in result
        }
    figures = {
        "seed": args.seed,
        "unknown_songs": len(unknown),
        "observed": results,
        # This would reveal a song that the index holds under another name.
        "smallest_p_values": {title: smallest(answer) for title, answer in charts.items()},
    }
    text = "\n\n".join(table(title, result) for title, result in results.items())
    save(args.name, f"{text}\n\nmachine: {machine()}", figures)
    chart(charts).savefig(RESULTS / f"{args.name}.png", dpi=100)


def make_clips(work: Path, refs: Path, unknown: list[str], args) -> pd.DataFrame:
    """Cut the clips into work/queries; return the length_s, level and song of each by name."""
    subprocess.run(
        [sys.executable, args.bench / "make_queries.py", "--songs", args.songs]
        + ["--refs", refs, "--unknown", write_list(work / "unknown.txt", unknown)]
        + ["--noise", args.bench / "noise", "--rir", args.bench / "rir", "--out", work]
        + ["--only", "unknown", "--seed", args.seed, "--clips", str(args.clips)]
        + ["--unknown-clips", str(args.clips), "--lengths", f"3,5,10,60:{args.long_clips}"],
        check=True,
    )
    truth = pd.read_csv(work / "truth.csv").set_index("clip")
    # Details: the song and, if any, the noise.
    noisy = truth["level"] != "clean"
    song = truth["details"].where(~noisy, truth["details"].str.rpartition(" ")[0])
    return truth[["length_s", "level"]].assign(song=song)


def write_list(path: Path, names: list[str]) -> Path:
    path.write_text("\n".join(names) + "\n", encoding="utf-8")
    return path


def index(names: Path, songs: Path, work: Path, folder: str) -> str:
    """Index the songs of a list."""
    links = link_references(names, songs, work / "indexed" / folder)
    return sonic("index", str(links), "--warehouse", str(work / "warehouse"))


def ask(clips: pd.DataFrame, work: Path, n_songs: int, known: set[str]) -> pd.DataFrame:
    """Identify the clips; add the smallest p-value, the song, and whether its game is known."""
    matches = work / f"matches_{n_songs}.csv"
    print(
        sonic(
            *["identify", str(work / "queries"), "--warehouse", str(work / "warehouse")],
            *["--output", str(matches)],
        )
    )
    rows = pd.read_csv(matches)
    rows = rows[(rows["rank"] == 1) & rows["error"].isna()]
    best = rows.sort_values("p_value").groupby("clip").first()
    answers = clips.join(best[["p_value"]].assign(match=best["song"]), how="inner")
    return answers.assign(neighbours=answers["song"].str.partition("/")[0].isin(known))


def packages(names: list[str]) -> set[str]:
    """Return the game each song comes from."""
    return {name.partition("/")[0] for name in names}


def observed(answers: pd.DataFrame) -> dict:
    """Return the share of clips accepted at each rate, with its interval, per group of clips."""
    groups = {"all": answers}
    groups |= {f"{length:g} s": group for length, group in answers.groupby("length_s")}
    groups |= {level: group for level, group in answers.groupby("level")}
    groups["game has indexed songs"] = answers[answers["neighbours"]]
    groups["game has none"] = answers[~answers["neighbours"]]
    return {
        name: {
            "clips": len(group),
            "songs": group["song"].nunique(),
            "rates": {f"{asked:g}": rate(group, asked) for asked in ASKED},
        }
        for name, group in groups.items()
        if len(group)
    }


def rate(group: pd.DataFrame, asked: float) -> dict:
    accepted = group[group["p_value"] <= asked]
    low, high = wilson(len(accepted), len(group))
    return {
        "observed": len(accepted) / len(group),
        "interval": [low, high],
        "accepted": len(accepted),
        "of_songs": accepted["song"].nunique(),
    }


def wilson(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval for a share of k in n (Wilson, 1927)."""
    centre = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * np.sqrt(k * (n - k) / n + z * z / 4)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def smallest(answers: pd.DataFrame) -> list[dict]:
    rows = answers.sort_values("p_value").head(N_LISTED).reset_index()
    return rows[["clip", "song", "match", "p_value"]].fillna("").to_dict("records")


def table(name: str, result: dict) -> str:
    """Tabulate observed rates in per cent, with intervals, and the songs of accepted clips."""
    head = f"{'asked, %':28}{'clips':>6}{'songs':>6}"
    lines = [name, head + "".join(f"{100 * asked:>25g}" for asked in ASKED)]
    for group, r in result.items():
        cells = [
            f"{100 * s['observed']:.2f} [{100 * s['interval'][0]:.2f}-{100 * s['interval'][1]:.2f}]"
            f"{s['of_songs']:>4}"
            for s in r["rates"].values()
        ]
        line = f"{group:28}{r['clips']:>6}{r['songs']:>6}"
        lines.append(line + "".join(f"{cell:>25}" for cell in cells))
    return "\n".join(lines)


def chart(charts: dict[str, pd.DataFrame]) -> Figure:
    """Plot requested against observed rates, one panel per index."""
    figure = Figure(figsize=(4.5 * len(charts), 4.2), layout="constrained")
    asked = np.logspace(-4, 0, 161)
    panels = figure.subplots(1, len(charts), squeeze=False, sharey=True)[0]
    for axes, (title, answers) in zip(panels, charts.items(), strict=True):
        groups = {"all": answers}
        groups |= {f"{length:g} s": group for length, group in answers.groupby("length_s")}
        for (name, group), colour in zip(groups.items(), COLOURS, strict=False):
            accepted = np.searchsorted(np.sort(group["p_value"]), asked, side="right")
            share = np.where(accepted > 0, accepted / len(group), np.nan)
            axes.plot(asked, share, color=colour, lw=2 if name == "all" else 1, label=name)
            if name == "all":
                low, high = np.transpose([wilson(k, len(group)) for k in accepted])
                axes.fill_between(asked, low, high, color=colour, alpha=0.15, lw=0)
        axes.plot(asked, asked, color="#595959", ls=":", label="as asked")
        axes.set(xscale="log", yscale="log", xlim=(1e-4, 1), ylim=(1e-4, 1.1), title=title)
        axes.set_xlabel("false-accept rate asked for")
    panels[0].set_ylabel("share of unknown clips accepted")
    panels[0].legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
