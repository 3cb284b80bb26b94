"""What training costs beside the fits alone: CPU seconds and memory of all processes, in one run.

    make bench-models DATA=FOLDER

Tables of 1,000, 30,000 and 300,000 songs are made from FOLDER/spotify_train.csv: drawn from it,
or repeated with numbers that differ a little. For each, `sonic train genre` on a warehouse of its
own stands beside XGBoost's Python package with the same settings on numbers and date of the same
rows: as many fits to as many rows, on all cores, and nothing else. Both are commands whose
processes `usage.measured` adds up, Spark's start included.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from common import machine, save
from usage import measured

SIZES = (1_000, 30_000, 300_000)
N_FOLDS = 5
HELD_OUT_SHARE = 0.2
LIMIT_S, MIN_FREE_GB = 3_600, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--fits", type=Path, help="only fit this table, as the rival")
    args = parser.parse_args()
    if args.fits:
        fit_alone(pd.read_csv(args.fits))
        return
    file = args.data / "spotify_train.csv"
    if not file.is_file():
        print(f"skipped: no {file.name} in {args.data}")
        return
    here = machine()
    lines = [
        f"{here['cpu']}, {here['cores']} cores, {here['memory_gib']} GiB",
        "",
        "sonic train genre and the same fits by XGBoost alone: CPU s, wall s, peak memory",
        f"  {'songs':>9} {'':12} {'CPU s':>8} {'wall s':>8} {'GB':>6} {'ratio of CPU':>14}",
    ]
    figures = [cost(pd.read_csv(file), n) for n in args.sizes]
    for row in figures:
        for who in ("sonic", "fits"):
            told = row[who]
            ratio = f"{row['ratio']:14.2f}" if who == "sonic" and not told["stopped"] else ""
            lines.append(
                f"  {row['songs']:9,} {who:12} {told['cpu_s']:8.1f} {told['wall_s']:8.1f} "
                f"{told['peak_gb']:6.2f}{ratio}  {told['stopped']}"
            )
    save("models_cost", "\n".join(lines), {"sizes": figures})


def cost(songs: pd.DataFrame, n: int) -> dict:
    """Measure both on one table."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "songs.csv"
        made(songs, n).to_csv(table, index=False)
        sonic = [sys.executable, "-m", "sonic_lib.cli.main", "train", "genre", "--csv", str(table)]
        commands = {
            "sonic": [*sonic, "--warehouse", f"{folder}/warehouse"],
            "fits": [sys.executable, __file__, "--fits", str(table)],
        }
        told = {
            who: measured(
                command,
                env=dict(os.environ),
                limit_s=LIMIT_S,
                folder=Path(folder),
                min_free_gb=MIN_FREE_GB,
            )
            for who, command in commands.items()
        }
    return {"songs": n, **told, "ratio": told["sonic"]["cpu_s"] / told["fits"]["cpu_s"]}


def made(songs: pd.DataFrame, n: int) -> pd.DataFrame:
    """Draw n songs, or repeat them with a little noise in what is measured."""
    rng = np.random.default_rng(0)
    if n <= len(songs):
        return songs.sample(n, random_state=0)
    rows = songs.sample(n, replace=True, random_state=0)
    for name in ("danceability", "energy", "loudness", "valence", "tempo", "duration_ms"):
        rows[name] = rows[name] + rng.normal(0, 0.02 * songs[name].std(), n)
    return rows


def fit_alone(songs: pd.DataFrame) -> None:
    """Fit what `sonic train` fits: the folds, the judge of the held-out rows, what serves."""
    import xgboost

    from sonic_lib.models import estimators

    request = estimators._for_train(estimators._BOOSTED | estimators._BOOSTED_CLASSES)
    names, labels = np.unique(songs["genre"], return_inverse=True)
    dates = songs["release_date"].str.split("-", expand=True).astype(float)
    features = songs.drop(columns=["genre", "release_date"]).astype(float)
    features = pd.concat([features, dates], axis=1).to_numpy(np.float32)
    settings = request | {"objective": "multi:softprob", "num_class": len(names)}
    n_rounds = settings.pop("num_boost_round")
    fold = np.random.default_rng(0).integers(0, N_FOLDS, len(songs))
    is_held_out = np.random.default_rng(1).uniform(size=len(songs)) < HELD_OUT_SHARE
    every = np.ones(len(songs), bool)
    for rows in (*(~is_held_out & (fold != k) for k in range(N_FOLDS)), ~is_held_out, every):
        known = xgboost.QuantileDMatrix(features[rows], labels[rows])
        booster = xgboost.train(settings | {"nthread": os.cpu_count()}, known, n_rounds)
        booster.inplace_predict(features[~rows])


if __name__ == "__main__":
    main()
