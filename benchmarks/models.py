"""Genre and popularity models compared with the original project's figures and scikit-learn.

    make bench-models DATA=FOLDER

FOLDER holds spotify_train.csv and spotify_subset.csv.  Everything runs in this process on the same
folds: for genre scikit-learn's KFold (shuffled, random_state 42) and GroupKFold by release date;
for popularity train_test_split(test_size=0.2, random_state=42), as in the original, and GroupKFold
by artist.  scikit-learn's models get the inputs it supports for such a table: numbers; year, month
and day; and its own cross-fitted TargetEncoder for text columns with many values.  Its forest has
300 trees, and its boosting stops early.  Sets and intervals are calibrated on one half (by hash)
of the rows scored by cross-validation and evaluated on the other.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import machine, save
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy.stats import betabinom
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.model_selection import GroupKFold, KFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import TargetEncoder

from sonic_lib.features.spark import DATE, LIST
from sonic_lib.models import metrics, one_task, targets, training
from sonic_lib.models.columns import ColumnProfile, Columns, choose_columns
from sonic_lib.models.conformal import intervals
from sonic_lib.models.conformal import sets as conformal
from sonic_lib.models.estimators import AUTO, BOOSTED, FOREST, members
from sonic_lib.models.splits import is_held_out
from sonic_lib.models.stages import FOLD
from sonic_lib.models.tabular import stage
from sonic_lib.models.tabular.crossfit import HELD_OUT_FOLD
from sonic_lib.spark.session import spark_job

SEED = 42
N_FOLDS = 5
MONDRIAN = 0.9
CONFIDENCES = (0.8, 0.9, 0.95, 0.99)
ORIGINAL = {"genre": 0.44, "popularity": 0.21}
ORIGINAL_SETS = "the original: 14 to 16 genres at 95 %, 8 to 10 at 80 %"
SPLITS = {
    "genre": ("random", "by release date"),
    "popularity": ("original", "random", "by artist"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, type=Path)
    args = parser.parse_args()
    files = {"genre": "spotify_train.csv", "popularity": "spotify_subset.csv"}
    if missing := [file for file in files.values() if not (args.data / file).is_file()]:
        print(f"skipped: no {' and no '.join(missing)} in {args.data}")
        return
    lines, figures = [_machine_line()], {}
    with spark_job(app_name="bench") as spark:
        for name, file in files.items():
            rows = pd.read_csv(args.data / file)
            text_lines, found = judge(spark, name, rows)
            lines += text_lines
            figures[name] = found
    save("models", "\n".join(lines), figures)


def judge(spark: SparkSession, name: str, rows: pd.DataFrame) -> tuple[list[str], dict]:
    """Score all models on all splits of one table."""
    frame, columns, classes = as_frame(spark, name, rows)
    measure = "F1-micro" if name == "genre" else "R2"
    lines = [
        "",
        f"{name} of {len(rows):,} songs, {measure}; the original: {ORIGINAL[name]:.2f}",
        f"  {'split':16} {'model':34} {measure:>8}",
    ]
    figures: dict[str, Any] = {"original": ORIGINAL[name], "scores": []}
    for split in SPLITS[name]:
        folds = folds_of(rows, split)
        group = {"by release date": "release_date", "by artist": "artist_name"}.get(split)
        folded = _with_folds(frame, folds)
        # Where auto chooses boosted trees only, its score is the line above.
        several = len(members(AUTO, n_rows=len(rows))) > 1
        kinds = (FOREST, BOOSTED, AUTO) if several else (FOREST, BOOSTED)
        for kind in kinds:
            recipe = training.Recipe(replace(columns, group=group), classes, kind, SEED)
            scored = _score(folded, recipe, only=0 if split == "original" else None)
            score, more = _evaluated(scored, recipe)
            entry = {"split": split, "model": f"ours, {kind}", "score": score, **more}
            figures["scores"].append(entry)
            lines.append(_printed(_score_line(entry)))
            if kind == kinds[-1] and split != "original":
                text_lines, found = coverage(scored, recipe)
                figures[f"coverage {split}"] = found
                figures[f"text {split}"] = text_lines
                if classes and split == "random":
                    text_lines, figures["mondrian"] = by_genre(scored, recipe)
                    figures[f"text {split}"] += text_lines
            scored.unpersist()
        for model, entry in sklearn_scores(name, rows, columns, folds, split).items():
            figures["scores"].append({"split": split, "model": f"scikit-learn, {model}", **entry})
            lines.append(_printed(_score_line(figures["scores"][-1])))
    for split in SPLITS[name]:
        lines += figures.pop(f"text {split}", [])
    folded.unpersist()
    return lines, figures


def as_frame(
    spark: SparkSession, name: str, rows: pd.DataFrame
) -> tuple[DataFrame, Columns, tuple[str, ...]]:
    """Return the table as a wide frame keyed by row number, its columns, and its classes."""
    texts = [column for column in rows if rows[column].dtype == object]
    given = rows.assign(**{c: rows[c].astype(float) for c in rows if c not in texts})
    given.insert(0, "song_id", np.arange(len(rows)))
    frame = spark.createDataFrame(given).persist()
    described = [
        ColumnProfile(
            column,
            "text" if column in texts else "number",
            int(rows[column].notna().sum()),
            rows[column].nunique(),
            *(
                (int(rows[column].str.strip().str.match(pattern).sum()) for pattern in (DATE, LIST))
                if column in texts
                else ()
            ),
        )
        for column in rows
    ]
    columns = choose_columns(described, model=name)
    classes = tuple(sorted(rows["genre"].unique())) if name == "genre" else ()
    frame = frame.transform(targets.labelled, columns=columns, classes=classes)
    return frame, columns, classes


def folds_of(rows: pd.DataFrame, split: str) -> np.ndarray:
    """Return the fold of each row; in the original's split, test rows are fold 0, others 1."""
    folds = np.ones(len(rows), dtype=int)
    if split == "original":
        folds[train_test_split(np.arange(len(rows)), test_size=0.2, random_state=SEED)[1]] = 0
        return folds
    groups = rows.get({"by release date": "release_date", "by artist": "artist_name"}.get(split))
    if groups is None:
        parts = KFold(N_FOLDS, shuffle=True, random_state=SEED).split(rows)
    else:
        parts = GroupKFold(N_FOLDS).split(rows, groups=groups)
    for fold, (_, test) in enumerate(parts):
        folds[test] = fold
    return folds


def sklearn_scores(
    name: str, rows: pd.DataFrame, columns: Columns, folds: np.ndarray, split: str
) -> dict[str, dict[str, float]]:
    """Score scikit-learn's forest and boosting on the same folds."""
    dates = rows["release_date"].str.split("-", expand=True).astype(float)
    numbers = rows[list(columns.numbers)].astype(float)
    encoded = [*columns.encoded, *columns.lists]
    given = pd.concat([numbers, dates.set_axis(["year", "month", "day"], axis=1).fillna(0)], axis=1)
    plain = list(given)
    given[encoded] = rows[encoded].fillna("")
    target = rows[columns.target].to_numpy()
    is_genre = name == "genre"
    forest = RandomForestClassifier if is_genre else RandomForestRegressor
    boosting = HistGradientBoostingClassifier if is_genre else HistGradientBoostingRegressor
    models = {
        "RandomForest": lambda: forest(
            300, min_samples_leaf=2, max_features=0.3, n_jobs=-1, random_state=SEED
        ),
        "HistGradientBoosting": lambda: boosting(early_stopping=True, random_state=SEED),
    }
    found = {}
    for model, make in models.items():
        predicted = np.empty(len(rows), dtype=target.dtype if is_genre else float)
        tested = [0] if split == "original" else range(folds.max() + 1)
        for fold in tested:
            training_rows, test_rows = folds != fold, folds == fold
            kind = "multiclass" if is_genre else "continuous"
            pipeline = make_pipeline(
                make_column_transformer(
                    ("passthrough", plain), (TargetEncoder(target_type=kind), encoded)
                ),
                make(),
            ).fit(given[training_rows], target[training_rows])
            predicted[test_rows] = pipeline.predict(given[test_rows])
        judged = np.isin(folds, list(tested))
        truth, predicted = target[judged], predicted[judged]
        score = (
            np.mean(truth == predicted)
            if is_genre
            else 1 - np.mean((truth - predicted) ** 2) / truth.var()
        )
        found[model] = {"score": float(score)}
    return found


def coverage(scored: DataFrame, recipe: training.Recipe) -> tuple[list[str], list[dict]]:
    """Calibrate on half of the scored rows and evaluate on the other half."""
    first = is_held_out(share=0.5, seed=SEED)
    known, new = scored.filter(first), scored.filter(~first)
    if recipe.classes:
        scores = known.transform(conformal.calibration_scores, method="lac")
    else:
        scores = known.transform(intervals.error_scores)
    found = scores.transform(conformal.thresholds, confidences=CONFIDENCES).collect()
    n_known = known.count()
    group = recipe.columns.group
    kind = f"sets (LAC; {ORIGINAL_SETS})" if recipe.classes else "intervals"
    lines = ["", f"  {kind}, folds {'by ' + group if group else 'random'}"]
    figures = []
    for row in found:
        if recipe.classes:
            sets = new.transform(
                conformal.prediction_sets,
                method="lac",
                threshold=row.threshold,
                allow_empty=True,
            )
            stats = sets.transform(conformal.coverage).first().asDict()
            size = f"{stats['mean_size']:.2f} genres on average, "
            size += f"{stats['share_single']:.0%} of one, {stats['share_empty']:.1%} empty"
        else:
            ranges = new.transform(
                intervals.intervals, threshold=row.threshold, limits=(0.0, 100.0)
            )
            stats = ranges.transform(intervals.coverage).first().asDict()
            size = f"{stats['mean_width']:.1f} wide on average"
        low, high = plausible(n_known, stats["n"], row.confidence)
        stats |= {"confidence": row.confidence, "low": low, "high": high}
        figures.append(stats)
        lines.append(
            f"    {row.confidence:.0%}: {stats['n_covered'] / stats['n']:.2%} covered "
            f"(95 % of such samples: {stats['low']:.2%} to {stats['high']:.2%}), {size}"
        )
    return lines, figures


def plausible(n_known: int, n: int, confidence: float) -> tuple[float, float]:
    """Return the shares of n songs that 95 % of samples cover.

    They are beta-binomial: the threshold itself is from a sample, of n_known songs (V. Vovk,
    Conditional validity of inductive conformal predictors, 2012).
    """
    place = int(np.ceil(round((n_known + 1) * confidence, 9)))
    low, high = betabinom.interval(0.95, n, place, n_known + 1 - place)
    return low / n, high / n


def by_genre(scored: DataFrame, recipe: training.Recipe) -> tuple[list[str], list[dict]]:
    """Coverage per genre at 90 %, with one threshold for all and with one per genre."""
    first = is_held_out(share=0.5, seed=SEED)
    known, new = scored.filter(first), scored.filter(~first)
    scores = known.transform(conformal.calibration_scores, method="lac")
    one = scores.transform(conformal.thresholds, confidences=[MONDRIAN]).first().threshold
    each = scores.transform(conformal.thresholds, confidences=[MONDRIAN], by=["label"]).collect()
    lines = [
        "",
        f"  each genre at {MONDRIAN:.0%}: coverage and mean number of genres per set",
    ]
    lines.append(
        f"    {'genre':18} {'songs':>6} {'one threshold':>16} {'one each (Mondrian)':>22}"
        "   95 % of such samples"
    )
    figures: list[dict] = [{"genre": name} for name in recipe.classes]
    thresholds = {"marginal": one, "mondrian": {row.label: row.threshold for row in each}}
    for kind, threshold in thresholds.items():
        sets = new.transform(
            conformal.prediction_sets, method="lac", threshold=threshold, allow_empty=True
        )
        for row in sets.transform(conformal.coverage, by=["label"]).collect():
            figures[row.label] |= {"n": row.n, kind: row.n_covered / row.n}
            figures[row.label][f"{kind}_size"] = row.mean_size
    for stats in figures:
        n_known = sum(row.n for row in each if recipe.classes[row.label] == stats["genre"])
        low, high = plausible(n_known, stats["n"], MONDRIAN)
        stats |= {"low": low, "high": high}
        lines.append(
            f"    {stats['genre']:18} {stats['n']:6} {stats['marginal']:8.1%}"
            f" {stats['marginal_size']:7.2f}"
            f" {stats['mondrian']:14.1%} {stats['mondrian_size']:7.2f}"
            f"   {stats['low']:.1%} to {stats['high']:.1%}"
        )
    within = sum(stats["low"] <= stats["mondrian"] <= stats["high"] for stats in figures)
    lines.append(f"    Mondrian coverage is within for {within} of {len(figures)} genres")
    return lines, figures


def _with_folds(frame: DataFrame, folds: np.ndarray) -> DataFrame:
    numbered = pd.DataFrame({"song_id": np.arange(len(folds)), stage.OUTER: folds.astype(np.int32)})
    return frame.join(frame.sparkSession.createDataFrame(numbered), "song_id").persist()


def _score(folded: DataFrame, recipe: training.Recipe, *, only: int | None) -> DataFrame:
    folded = training.with_inner_folds(folded, recipe)
    if only is not None:  # the other rows in three parts, to weight learners and measure errors
        parts = F.pmod(F.col(FOLD), F.lit(3)).cast("int")
        is_asked = F.col(stage.OUTER) == only
        folded = folded.withColumn(stage.OUTER, F.when(is_asked, HELD_OUT_FOLD).otherwise(parts))
    trained = one_task.train(folded, recipe=recipe, n_rows=folded.count())
    if only is not None:
        trained = trained.filter(F.col("fold") == HELD_OUT_FOLD)
    return one_task.scores_of(trained, recipe)


def _evaluated(scored: DataFrame, recipe: training.Recipe) -> tuple[float, dict[str, float]]:
    if recipe.classes:
        counts = scored.transform(metrics.confusion).toPandas()
        found = metrics.class_metrics(counts, classes=recipe.classes)
        return found["f1_micro"], found
    found = scored.transform(metrics.regression_metrics).first().asDict()
    return found["r2"], found


def _printed(line: str) -> str:
    print(line, flush=True)
    return line


def _score_line(entry: dict) -> str:
    line = f"  {entry['split']:16} {entry['model']:34} {entry['score']:8.3f}"
    more = [f"{name} {entry[name]:.3f}" for name in ("f1_macro", "log_loss") if name in entry]
    more += [f"{name} {entry[name]:.1f}" for name in ("rmse", "mae") if name in entry]
    return line + (f"  {', '.join(more)}" if more else "")


def _machine_line() -> str:
    here = machine()
    return f"{here['cpu']}, {here['cores']} cores, {here['memory_gib']} GiB"


if __name__ == "__main__":
    main()
