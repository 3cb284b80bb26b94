"""Draw the pictures of the pages that explain: python docs/pictures.py.

They are of songs that are made up from a seed, and of benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sonic_lib.audio.degradations import add_noise, cut
from sonic_lib.fingerprint.hashes import query_hashes, reference_hashes
from sonic_lib.fingerprint.landmarks import analyse
from sonic_lib.fingerprint.params import FRAME_S, SAMPLE_RATE_HZ, FingerprintParams
from sonic_lib.report.figures.conformal import set_sizes
from sonic_lib.report.figures.identification import constellation, explanation
from sonic_lib.report.figures.style import BLUE, GREY, STYLE
from sonic_lib.synth.composer import synth_song

HERE = Path(__file__).parent
RESULTS = HERE.parent / "benchmarks" / "results"
PARAMS = FingerprintParams()
START_S, LENGTH_S, CLIP_SNR_DB = 20.0, 8.0, 6.0
DPI = 80


def main() -> None:
    """Draw all pictures into a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=HERE / "pictures", metavar="DIR")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    told = json.loads((RESULTS / "models.json").read_text(encoding="utf-8"))
    for name, figure in [*identification(), *conformal(told), comparison()]:
        # Without the version of the library: equal pictures are equal files.
        figure.savefig(folder / f"{name}.png", dpi=DPI, metadata={"Software": None})


def identification() -> Iterator[tuple[str, Figure]]:
    """Draw a passage as landmarks, and a noisy clip of it beside two songs."""
    right, wrong = (
        synth_song(seed, style="folk", duration_s=60.0, sample_rate_hz=SAMPLE_RATE_HZ).mean(axis=1)
        for seed in (1, 2)
    )
    place = {"start_s": START_S, "length_s": LENGTH_S}
    yield "constellation", constellation(right, params=PARAMS, **place, title="A passage of a song")
    clip = add_noise(
        cut(right, **place, sample_rate_hz=SAMPLE_RATE_HZ),
        snr_db=CLIP_SNR_DB,
        sample_rate_hz=SAMPLE_RATE_HZ,
        rng=np.random.default_rng(1),
    )
    hits = pd.concat(
        [hits_of(clip, song).assign(song_id=i) for i, song in enumerate((right, wrong))]
    )
    answers = pd.DataFrame(
        {
            "rank": [1, 2],
            "song_id": [0, 1],
            "title": ["the song of the clip", "another song of the style"],
            "clip_start_s": 0.0,
            "clip_end_s": LENGTH_S,
            "offset_s": [START_S, best_offset_s(hits[hits["song_id"] == 1])],
            "speed": 1.0,
        }
    )
    yield (
        "hits",
        explanation(
            hits, answers, title=f"Hashes that a clip with noise at {CLIP_SNR_DB:g} dB shares"
        ),
    )


def hits_of(clip: NDArray[np.float32], song: NDArray[np.float32]) -> pd.DataFrame:
    """Places in clip and song of each hash that they share."""
    hashes, frames, _ = reference_hashes(*analyse(song, params=PARAMS), params=PARAMS)
    asked, asked_frames, *_ = query_hashes(*analyse(clip, params=PARAMS), params=PARAMS)
    pairs = pd.DataFrame({"hash": asked, "clip_s": asked_frames * FRAME_S}).merge(
        pd.DataFrame({"hash": hashes, "song_s": frames * FRAME_S}), on="hash"
    )
    return pairs.drop_duplicates(["clip_s", "song_s"])


def best_offset_s(hits: pd.DataFrame) -> float:
    """Where most hits of a song would have the clip start."""
    return float((hits["song_s"] - hits["clip_s"]).round(1).mode()[0])


def conformal(told: dict) -> Iterator[tuple[str, Figure]]:
    """Draw how sets of genres grow with the confidence asked for."""
    curve = pd.DataFrame(told["genre"]["coverage random"])
    yield "set_sizes", set_sizes(curve, n_genres=22, title="Sets of up to 22 genres")


def comparison() -> tuple[str, Figure]:
    """Draw the table of docs/comparison.md: right answers of clips of 5 s, by system."""
    lines = (HERE / "comparison.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip(" *") for cell in line.split("|")[1:3]] for line in lines if "|" in line]
    systems = [(name, float(top1.split("/")[0])) for name, top1 in cells[2:]]
    with rc_context(STYLE):
        figure = Figure(figsize=(8, 0.32 * len(systems) + 0.9), layout="constrained")
        axes = figure.subplots()
        names, shares = zip(*reversed(systems), strict=True)
        is_ours = [name == "Sonic Signature" for name in names]
        bars = axes.barh(names, shares, color=[BLUE if ours else GREY for ours in is_ours])
        axes.bar_label(bars, fmt="%.1f", padding=3)
        axes.set_xlim(0, 106)
        axes.set_xlabel("clips of 5 s with the right song first, %; mean of 17 kinds of damage")
        for edge in ("top", "right"):
            axes.spines[edge].set_visible(False)
    return "comparison", figure


if __name__ == "__main__":
    main()
