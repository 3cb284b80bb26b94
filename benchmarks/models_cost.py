"""Cost of training compared with the fits alone: CPU seconds and memory of all processes.

    make bench-models DATA=FOLDER

Genre is learned from FOLDER/spotify_train.csv, popularity from FOLDER/spotify_subset.csv; smaller
tables are samples, larger ones repeat the songs with slightly changed numbers.  For each table,
`sonic train` on its own warehouse is compared with XGBoost's Python package, with the settings of
our boosted trees, on the same rows: the same number of fits on the same number of rows, and nothing
else, on one thread, which costs the least CPU.  XGBoost gets numbers and dates, and a second time
also scikit-learn's TargetEncoder of all texts, which `sonic train` encodes as well; for up to
10,000 songs `sonic train` fits other learners, too.  `usage.measured` adds up all processes of each
command, including Spark's start.
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

# The largest have one number to predict: 22 classes cost 22 times as many trees.
SIZES = {"genre": (1_000, 30_000), "popularity": (8_698, 300_000, 3_000_000)}
FILES = {"genre": "spotify_train.csv", "popularity": "spotify_subset.csv"}
N_FOLDS = 5
HELD_OUT_SHARE = 0.2
LIMIT_S, MIN_FREE_GB = 3_600, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--most", type=int, default=300_000, help="skip larger tables")
    parser.add_argument("--fits", type=Path, help="only fit this table, as the rival")
    parser.add_argument("--target", help="of --fits")
    parser.add_argument("--with-texts", action="store_true", help="for --fits: encode texts")
    args = parser.parse_args()
    if args.fits:
        fit_alone(pd.read_csv(args.fits), args.target, with_texts=args.with_texts)
        return
    if missing := [file for file in FILES.values() if not (args.data / file).is_file()]:
        print(f"skipped: no {' and no '.join(missing)} in {args.data}")
        return
    here = machine()
    lines = [
        f"{here['cpu']}, {here['cores']} cores, {here['memory_gib']} GiB",
        "",
        "sonic train and the same fits by XGBoost alone: CPU s, wall s, peak memory",
        f"  {'model':12}{'songs':>9} {'':12} {'CPU s':>8} {'wall s':>8} {'GB':>6}"
        f"{'sonic / it':>12}",
    ]
    figures = []
    tables = [(model, n) for model, sizes in SIZES.items() for n in sizes if n <= args.most]
    for model, n in tables:
        figures.append(row := cost(model, pd.read_csv(args.data / FILES[model]), n))
        for who, usage in row["usages"].items():
            of_it = row["usages"]["sonic"]["cpu_s"] / usage["cpu_s"]
            ratio = "" if who == "sonic" or usage["stopped"] else f"{of_it:12.2f}"
            lines.append(
                f"  {model:12}{row['songs']:9,} {who:12} {usage['cpu_s']:8.1f} "
                f"{usage['wall_s']:8.1f} {usage['peak_gb']:6.2f}{ratio}  {usage['stopped']}"
            )
        # After each, as the largest take an hour.
        save("models_cost", "\n".join(lines), {"tables": figures})


def cost(model: str, songs: pd.DataFrame, n: int) -> dict:
    """Measure all commands on one table of n songs."""
    rows = made(songs, n) if n != len(songs) else songs
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "songs.csv"
        rows.to_csv(table, index=False)
        sonic = [sys.executable, "-m", "sonic_lib.cli.main", "train", model, "--csv", str(table)]
        fits = [sys.executable, __file__, "--fits", str(table), "--target", model]
        commands = {
            "sonic": [*sonic, "--warehouse", f"{folder}/warehouse"],
            "fits": fits,
            "with texts": [*fits, "--with-texts"],
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
    return {"model": model, "songs": len(rows), "usages": usages}


def made(songs: pd.DataFrame, n: int) -> pd.DataFrame:
    """Sample n songs, or repeat the songs with a little noise in the measured columns."""
    rng = np.random.default_rng(0)
    if n <= len(songs):
        return songs.sample(n, random_state=0)
    rows = songs.sample(n, replace=True, random_state=0)
    for name in ("danceability", "energy", "loudness", "valence", "tempo", "duration_ms"):
        rows[name] = rows[name] + rng.normal(0, 0.02 * songs[name].std(), n)
    return rows


def fit_alone(songs: pd.DataFrame, target: str, *, with_texts: bool) -> None:
    """Run the fits of `sonic train`: the folds, the held-out evaluation, and the final model."""
    import xgboost
    from sklearn.preprocessing import TargetEncoder

    from sonic_lib.models import estimators
    from sonic_lib.models.tabular.table import Layout

    is_class = target == "genre"
    labels = songs[target]
    names, numbered = np.unique(labels, return_inverse=True)
    dates = songs["release_date"].str.split("-", expand=True).astype(float)
    numbers = songs.drop(columns=target).select_dtypes(["number", "bool"]).astype(float)
    features = pd.concat([numbers, dates], axis=1).to_numpy(np.float32)
    texts = songs.drop(columns=target).select_dtypes("object").fillna("").to_numpy()
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
        known, asked = features[rows], features[~rows]
        if with_texts:
            encoder = TargetEncoder()
            known = np.hstack([known, encoder.fit_transform(texts[rows], target_values[rows])])
            asked = np.hstack([asked, encoder.transform(texts[~rows])]) if len(asked) else asked
        matrix = xgboost.QuantileDMatrix(known, target_values[rows], nthread=1, **bins)
        booster = xgboost.train(settings, matrix, n_rounds)
        if len(asked):
            booster.inplace_predict(asked)


if __name__ == "__main__":
    main()
