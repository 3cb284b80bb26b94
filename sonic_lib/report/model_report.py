"""Write tables and figures of one model to a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sonic_lib.models import metrics
from sonic_lib.models.columns import CLASSIFICATION
from sonic_lib.models.conformal import sets as conformal
from sonic_lib.report.figures import conformal as conformal_plots
from sonic_lib.report.figures import models as model_plots
from sonic_lib.report.figures.style import save
from sonic_lib.storage.whole_file import whole_file, write_csv

_N_BINS = 50
_SHOWN_CONFIDENCE = 0.9


def write(held_out: DataFrame, card: dict, folder: Path) -> None:
    """Write the report of a model on its held-out rows.

    Parameters
    ----------
    held_out : DataFrame
        The scored frame of docs/models.md; cached.
    card : dict
        The model's card.
    folder : Path
        Created if necessary.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / "card.json") as (file, _):
        file.write(json.dumps(card, indent=1) + "\n")
    if importances := [(name, share) for name, share in card["importances"]]:
        figure = model_plots.importance_bars(importances, title="Feature importances")
        save(figure, folder / "importances.png")
    if card["task"] == CLASSIFICATION:
        _write_genres(held_out, card, folder)
    else:
        _write_numbers(held_out, card, folder)


def _write_genres(held_out: DataFrame, card: dict, folder: Path) -> None:
    classes = card["classes"]
    counts = held_out.transform(metrics.confusion).toPandas()
    matrix = metrics.confusion_matrix(counts, n_classes=len(classes))
    scores = metrics.class_scores(matrix, classes=classes)
    confusion = pd.DataFrame(matrix, index=classes, columns=classes)
    write_csv(confusion, folder / "confusion.csv", index=True)
    write_csv(scores, folder / "genres.csv", float_format="%.4f")
    sizes, by_genre = _coverages(held_out, card)
    write_csv(sizes, folder / "sets.csv", float_format="%.4f")
    by_genre["genre"] = [classes[label] for label in by_genre["label"]]
    write_csv(by_genre, folder / "sets_by_genre.csv", float_format="%.4f")
    n = int(matrix.sum())
    figures = {
        "confusion": model_plots.confusion_heatmap(
            matrix, classes=classes, title=f"Confusion matrix, {n:,} held-out songs"
        ),
        "genres": model_plots.class_bars(scores, title=f"Scores by genre, {n:,} held-out songs"),
        "set_sizes": conformal_plots.set_sizes(
            sizes, n_genres=len(classes), title="Genres in a set against confidence"
        ),
        "coverage": conformal_plots.coverages(sizes, title="Coverage against confidence"),
        "coverage_by_genre": conformal_plots.genre_coverages(
            by_genre, confidence=_SHOWN_CONFIDENCE, title=f"Coverage at {_SHOWN_CONFIDENCE:.0%}"
        ),
    }
    for name, figure in figures.items():
        save(figure, folder / f"{name}.png")


def _coverages(held_out: DataFrame, card: dict) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the coverage by confidence, and by genre at one confidence."""
    levels = {
        confidence: conformal.limits_of(threshold, n_genres=len(card["classes"]))
        for confidence, threshold in card["conformal"]["thresholds"]
    }
    shown = [(_SHOWN_CONFIDENCE, levels[_SHOWN_CONFIDENCE])]
    method = card["conformal"]["method"]
    curve = held_out.transform(conformal.coverage_curve, method=method, levels=list(levels.items()))
    by_genre = held_out.transform(
        conformal.coverage_curve, method=method, levels=shown, by=["label"]
    )
    return curve.toPandas(), by_genre.toPandas()


def _write_numbers(held_out: DataFrame, card: dict, folder: Path) -> None:
    low, high = held_out.agg(
        F.least(F.min("target"), F.min("prediction")),
        F.greatest(F.max("target"), F.max("prediction")),
    ).first()
    counts = held_out.transform(
        metrics.residual_counts, low=low, high=high, n_bins=_N_BINS
    ).toPandas()
    figure = model_plots.residual_map(
        counts,
        low=low,
        high=high,
        n_bins=_N_BINS,
        unit=card["columns"]["target"],
        title=f"Predicted and true, {int(counts['n'].sum()):,} held-out songs",
    )
    save(figure, folder / "residuals.png")
