"""Present the models and their predictions as sections of a page; no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pandas as pd

from sonic_lib.models import metrics
from sonic_lib.models.columns import CLASSIFICATION
from sonic_lib.report.data import Findings, ModelRecord
from sonic_lib.report.figures import conformal as conformal_plots
from sonic_lib.report.figures import models as model_plots
from sonic_lib.report.figures import runs as run_plots
from sonic_lib.report.page import Column, Picture, Section, Table, rows_of
from sonic_lib.report.page import picture as draw

_MAX_VERSIONS = 50
_SCORES = {
    "f1_micro": ("F1-micro", 3),
    "f1_macro": ("F1-macro", 3),
    "log_loss": ("Log loss", 3),
    "r2": ("R²", 3),
    "rmse": ("RMSE", 2),
    "mae": ("MAE", 2),
}
_MAIN = {True: "f1_micro", False: "r2"}


def model_sections(found: Findings) -> Iterator[Section]:
    """Return one section for all models, if there are models or features."""
    records = {name: record for name, record in found.models.items() if record.cards}
    tiles: list[tuple[str, str]] = []
    pictures: list[Picture] = []
    tables: list[Table] = []
    for row in rows_of(found.sources):
        tiles.append((f"Songs in {row['source']}", f"{row['n_songs']:,}"))
    for name, record in records.items():
        pictures += _pictures(name, record)
        tables += _tables(name, record)
    if found.predictions is not None and len(found.predictions):
        tables.append(_predictions(found.predictions))
    if tiles or tables:
        intro = (
            "Scores are on held-out songs; those marked “cross” are from cross-validation on "
            "the others."
            if records
            else "No model has been trained yet."
        )
        yield Section("models", "Models", intro, tiles, pictures, tables)


def training_section(found: Findings) -> Section:
    """List champions over time, and the results of every training."""
    entries = [
        {"model": name, "at": datetime.fromisoformat(entry["at"])}
        | {key: entry.get(key) for key in ("champion", "challenger", "why")}
        for name, record in found.models.items()
        for entry in record.history[-_MAX_VERSIONS:]
    ]
    tables = []
    if entries:
        columns = (
            Column("at", "When (UTC)", "time"),
            Column("model", "Model"),
            Column("champion", "Champion"),
            Column("challenger", "Challenger"),
            Column("why", "Why"),
        )
        latest_first = sorted(entries, key=lambda entry: str(entry["at"] or "~"), reverse=True)
        tables.append(Table("promotions", "Champions and challengers", columns, latest_first))
    if found.trainings is not None and len(found.trainings):
        tables.append(_trainings(found.trainings))
    pictures = [
        picture
        for name, record in found.models.items()
        for picture in _score_pictures(name, record)
    ]
    return Section("retraining", "Retraining", "", (), pictures, tables)


def _pictures(name: str, record: ModelRecord) -> Iterator[Picture]:
    card = record.champion or record.cards[-1]
    if card.get("confusion"):
        counts = pd.DataFrame(card["confusion"], columns=["label", "predicted", "n"])
        matrix = metrics.confusion_matrix(counts, n_classes=len(card["classes"]))
        n = int(matrix.sum())
        yield draw(
            model_plots.confusion_heatmap(
                matrix, classes=card["classes"], title=f"{name}: {n:,} held-out songs"
            ),
            alt=f"Confusion matrix of {name}: {int(matrix.trace()):,} of {n:,} held-out songs "
            "lie on the diagonal.",
        )
    if card.get("importances"):
        first, share = card["importances"][0]
        yield draw(
            model_plots.importance_bars(
                card["importances"], title=f"Feature importances of {name}"
            ),
            alt=f"Importances of the features of {name}; the largest is {first} with {share:.0%}.",
        )
    if card.get("coverage"):
        coverage = pd.DataFrame(card["coverage"])
        row = coverage.loc[(coverage["confidence"] - 0.9).abs().idxmin()]
        yield draw(
            conformal_plots.coverages(coverage, title=f"{name}: coverage against confidence"),
            alt=f"Coverage of {name}: at a confidence of {row['confidence']:.0%}, "
            f"{int(row['n_covered'])} of {int(row['n'])} held-out songs were covered.",
        )


def _tables(name: str, record: ModelRecord) -> Iterator[Table]:
    cards = list(record.cards)[-_MAX_VERSIONS:]
    known = [key for key in _SCORES if any(key in card.get("metrics", {}) for card in cards)]
    scores = [(prefix + key, _SCORES[key]) for key in known for prefix in ("", "cv_")]
    columns = [
        Column("version", "Version"),
        Column("role", "Role"),
        Column("kind", "Kind"),
        Column("created_at", "Created (UTC)", "time"),
        *(
            Column(key, f"{'Cross ' if key.startswith('cv_') else ''}{title}", "number", digits)
            for key, (title, digits) in scores
        ),
        Column("n", "Held-out songs", "number"),
        Column("source", "Trained on"),
    ]
    now = record.history[-1] if record.history else {}
    roles = {now.get("challenger"): "challenger", now.get("champion"): "champion"}
    rows = []
    for card in cards[::-1]:
        metrics = card.get("metrics", {})
        rows.append(
            {key: metrics.get(key) for key, _ in scores}
            | {
                "version": card["version"],
                "role": roles.get(card["version"]),
                "kind": card.get("kind"),
                "created_at": datetime.fromisoformat(card["created_at"]),
                "n": metrics.get("n"),
                "source": card.get("snapshot", {}).get("source"),
            }
        )
    yield Table(f"versions-{name}", f"Versions of {name}", columns, rows)
    card = record.champion or cards[-1]
    if card.get("coverage"):
        yield _coverage(name, card)


def _coverage(name: str, card: dict) -> Table:
    width = (
        Column("mean_size", "Genres in a set", "number", 2)
        if card["task"] == CLASSIFICATION
        else Column("mean_width", "Width of an interval", "number", 1)
    )
    rows = [row | {"share": row["n_covered"] / row["n"]} for row in card["coverage"] if row["n"]]
    columns = (
        Column("confidence", "Confidence", "share"),
        Column("share", "Truth inside", "share", 1),
        width,
        Column("n", "Held-out songs", "number"),
    )
    return Table(f"coverage-{name}", f"Conformal prediction of {name}", columns, rows)


def _predictions(frame: pd.DataFrame) -> Table:
    columns = (
        Column("model", "Model"),
        Column("model_version", "Version"),
        Column("source", "Source"),
        Column("n_songs", "Songs", "number"),
        Column("confidence", "Confidence", "share"),
        Column("mean_set_size", "Genres in a set", "number", 2),
        Column("share_single", "Sets of one", "share"),
        Column("mean_popularity", "Mean popularity", "number", 1),
        Column("mean_width", "Width of an interval", "number", 1),
        Column("last_at", "Predicted (UTC)", "time"),
    )
    return Table("predictions", "Predictions in the tables", columns, rows_of(frame))


def _trainings(frame: pd.DataFrame) -> Table:
    counts = [dict(metrics) for metrics in frame["counts"]]
    known = [key for key in _SCORES if any(key in metrics for metrics in counts)]
    rows = [
        {key: metrics.get(key) for key in (*known, "p_value", "seconds")}
        | {name: row[name] for name in ("job", "status", "started_at")}
        | {"promoted": {1.0: "yes", 0.0: "no"}.get(metrics.get("promoted", -1.0))}
        for metrics, row in zip(counts, rows_of(frame), strict=True)
    ]
    columns = (
        Column("started_at", "Started (UTC)", "time"),
        Column("job", "Job"),
        Column("status", "Status"),
        *(Column(key, _SCORES[key][0], "number", _SCORES[key][1]) for key in known),
        Column("p_value", "p against the champion", "p"),
        Column("promoted", "Promoted"),
        Column("seconds", "Time (s)", "number", 1),
    )
    return Table("trainings", "Trainings, latest first", columns, rows)


def _score_pictures(name: str, record: ModelRecord) -> Iterator[Picture]:
    """Plot scores over time, if there are at least two versions."""
    cards = [card for card in record.cards if card.get("metrics")][-_MAX_VERSIONS:]
    if len(cards) < 2:
        return
    key = _MAIN[cards[-1].get("task") == CLASSIFICATION]
    been = {entry.get("champion") for entry in record.history}
    scores = {
        label: [card["metrics"].get(prefix + key, float("nan")) for card in cards]
        for label, prefix in (("held-out songs", ""), ("cross-validation", "cv_"))
    }
    figure = run_plots.score_lines(
        [datetime.fromisoformat(card["created_at"]) for card in cards],
        scores,
        champions=[card["version"] in been for card in cards],
        unit=_SCORES[key][0],
        title=f"Versions of {name}",
    )
    latest = scores["held-out songs"][-1]
    alt = f"{_SCORES[key][0]} of {len(cards)} versions of {name}; the latest has {latest:.3f}."
    yield draw(figure, alt=alt)
