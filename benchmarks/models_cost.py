"""Cost of training compared with the fits alone: CPU seconds and memory of all processes.

    make bench-models DATA=FOLDER

Tables of 1,000, 30,000 and 300,000 songs are made from FOLDER/spotify_train.csv, by sampling it or
by repeating it with slightly changed numbers; popularity is learned from FOLDER/spotify_subset.csv.
For each table, `sonic train` on its own warehouse is compared with XGBoost's Python package, with
the settings of our boosted trees, on the numbers and dates of the same rows: the same number of
fits on the same number of rows, and nothing else, on one thread, which costs the least CPU.
`usage.measured` adds up all processes of both commands, including Spark's start.
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
    parser.add_argument("--target", help="of --fits")
    args = parser.parse_args()
    if args.fits:
        fit_alone(pd.read_csv(args.fits), args.target)
        return
    file = args.data / "spotify_train.csv"
    if not file.is_file():
        print(f"skipped: no {file.name} in {args.data}")
        return
    here = machine()
    lines = [
        f"{here['cpu']}, {here['cores']} cores, {here['memory_gib']} GiB",
        "",
        "sonic train and the same fits by XGBoost alone: CPU s, wall s, peak memory",
        f"  {'model':12}{'songs':>9} {'':8} {'CPU s':>8} {'wall s':>8} {'GB':>6}"
        f"{'ratio of CPU':>14}",
    ]
    print("\n".join(lines), flush=True)
    figures = []
    tables = [("genre", file, n) for n in args.sizes]
    if (whole := args.data / "spotify_subset.csv").is_file():
        tables.append(("popularity", whole, 0))
    for model, given, n in tables:
        figures.append(row := cost(model, pd.read_csv(given), n))
        for who in ("sonic", "fits"):
            usage = row[who]
            ratio = f"{row['ratio']:14.2f}" if who == "sonic" and not usage["stopped"] else ""
            lines.append(
                f"  {model:12}{row['songs']:9,} {who:8} {usage['cpu_s']:8.1f} "
                f"{usage['wall_s']:8.1f} {usage['peak_gb']:6.2f}{ratio}  {usage['stopped']}"
            )
            print(lines[-1], flush=True)
    save("models_cost", "\n".join(lines), {"tables": figures})


def cost(model: str, songs: pd.DataFrame, n: int) -> dict:
    """Measure both commands on one table of n songs, or of all songs if n is 0."""
    rows = made(songs, n) if n else songs
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "songs.csv"
        rows.to_csv(table, index=False)
        sonic = [sys.executable, "-m", "sonic_lib.cli.main", "train", model, "--csv", str(table)]
        commands = {
            "sonic": [*sonic, "--warehouse", f"{folder}/warehouse"],
            "fits": [sys.executable, __file__, "--fits", str(table), "--target", model],
        }
        usages = {
            who: measured(
                command,
                env=dict(os.environ),
                limit_s=LIMIT_S,
                folder=Path(folder),
                min_free_gb=MIN_FREE_GB,
            )
            for who, command in commands.items()
        }
    ratio = usages["sonic"]["cpu_s"] / usages["fits"]["cpu_s"]
    return {"model": model, "songs": len(rows), **usages, "ratio": ratio}


def made(songs: pd.DataFrame, n: int) -> pd.DataFrame:
    """Sample n songs, or repeat the songs with a little noise in the measured columns."""
    rng = np.random.default_rng(0)
    if n <= len(songs):
        return songs.sample(n, random_state=0)
    rows = songs.sample(n, replace=True, random_state=0)
    for name in ("danceability", "energy", "loudness", "valence", "tempo", "duration_ms"):
        rows[name] = rows[name] + rng.normal(0, 0.02 * songs[name].std(), n)
    return rows


def fit_alone(songs: pd.DataFrame, target: str) -> None:
    """Run the fits of `sonic train`: the folds, the held-out evaluation, and the final model."""
    import xgboost

    from sonic_lib.models import estimators
    from sonic_lib.models.tabular.table import Layout

    is_class = target == "genre"
    labels = songs[target]
    names, numbered = np.unique(labels, return_inverse=True)
    dates = songs["release_date"].str.split("-", expand=True).astype(float)
    numbers = songs.drop(columns=target).select_dtypes(["number", "bool"]).astype(float)
    features = pd.concat([numbers, dates], axis=1).to_numpy(np.float32)
    n_classes = len(names) if is_class else 0
    asked = estimators.in_one_task(
        estimators.BOOSTED,
        n_rows=len(songs),
        n_classes=n_classes,
        seed=0,
        weighted=False,
        layout=Layout((), 0),
    )
    task = {"objective": "multi:softprob", "num_class": n_classes} if is_class else {}
    settings = dict(asked.boosted) | task | {"nthread": 1}
    n_rounds = settings.pop("num_boost_round")
    bins = {"max_bin": settings["max_bin"]} if "max_bin" in settings else {}
    target_values = numbered if is_class else labels.to_numpy()
    fold = np.random.default_rng(0).integers(0, N_FOLDS, len(songs))
    is_held_out = np.random.default_rng(1).uniform(size=len(songs)) < HELD_OUT_SHARE
    every = np.ones(len(songs), bool)
    for rows in (*(~is_held_out & (fold != k) for k in range(N_FOLDS)), ~is_held_out, every):
        known = xgboost.QuantileDMatrix(features[rows], target_values[rows], nthread=1, **bins)
        booster = xgboost.train(settings, known, n_rounds)
        booster.inplace_predict(features[~rows])


if __name__ == "__main__":
    main()
