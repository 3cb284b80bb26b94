"""Predict genre and popularity for the songs of a source, with the champions."""

from __future__ import annotations

import time
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.config import Config
from sonic_lib.errors import ModelError, UsageError
from sonic_lib.features.spark import KEYS, profile, wide
from sonic_lib.models.columns import CLASSIFICATION, Columns
from sonic_lib.models.conformal import sets as conformal
from sonic_lib.models.conformal.intervals import intervals
from sonic_lib.models.limits import from_card
from sonic_lib.models.metrics import predicted
from sonic_lib.models.registry import NAMES, ModelRegistry
from sonic_lib.schemas import PREDICTIONS
from sonic_lib.spark.columns import sql_text
from sonic_lib.storage import creation, runs, tables, writes
from sonic_lib.workflows.known_songs import known_songs, marked
from sonic_lib.workflows.remarks import Remark
from sonic_lib.workflows.sources import read_source, registry_of


class Predictor(NamedTuple):
    """A champion that made predictions.

    Attributes
    ----------
    name, version : str
    n_known : int
        Songs of the source that it was trained on.
    """

    name: str
    version: str
    n_known: int


class Predictions(NamedTuple):
    """Result of `predict_songs`.

    Attributes
    ----------
    rows : DataFrame [schemas.PREDICTIONS]
        The new predictions.
    source : str
    predictors : dict of str to Predictor
        By the column that they predict.
    classes : list of str
        Genres whose probabilities are included; empty if they were not requested.
    remarks : list of Remark
        By model: columns missing in the source, purged training rows.
    counts : dict of str to float
        songs, models, seconds.
    """

    rows: DataFrame
    source: str
    predictors: dict[str, Predictor]
    classes: list[str]
    remarks: list[Remark]
    counts: dict[str, float]


def predict_songs(
    spark: SparkSession,
    config: Config,
    *,
    source: str | None,
    model: str | None,
    confidence: float,
    probabilities: bool,
) -> Predictions:
    """Predict with every champion, and replace earlier predictions for the source.

    Parameters and errors are those of `Warehouse.predict`.
    """
    check_confidence(confidence)
    started_s = time.monotonic()
    source, features = read_source(spark, config.warehouse, source)
    creation.create_for_models(spark, config.warehouse)
    registry = registry_of(spark, config)
    names = _champions(registry) if model is None else [model]
    columns = {(row.kind, row.name) for row in profile(features).collect()}  # few rows
    predictors: dict[str, Predictor] = {}
    classes: list[str] = []
    remarks: list[Remark] = []
    with runs.recorded(spark, config.warehouse, job="predict", config=config) as this_run:
        for name in names:
            fitted, card = registry.load(name)
            if missing := missing_columns(card, columns, source):
                remarks.append(Remark(name, f"predicts without {'; '.join(missing)}"))
            rows = predictions(
                features,
                model=fitted,
                card=card,
                confidence=confidence,
                with_probabilities=probabilities,
            )
            known = known_songs(
                spark, config.warehouse, features=features, card=card, source=source
            )
            remarks += [known.remark] if known.remark else []
            n_known = known.songs.join(features, "song_id", "left_semi").count()
            if probabilities:
                classes = card["classes"] or classes
            stamped = rows.transform(marked, known=known.songs).transform(
                runs.stamped, run_id=this_run.run_id, when="predicted_at"
            )
            where = f"model = {sql_text(name)} AND source = {sql_text(source)}"
            writes.replace(stamped, config.warehouse, PREDICTIONS, where=where)
            known.songs.unpersist()
            target = card["columns"]["target"]
            predictors[target] = Predictor(name, card["version"], n_known)
        n_songs = features.count()
        seconds = time.monotonic() - started_s
        this_run.counts.update(songs=n_songs, models=len(names), seconds=seconds)
    stored = tables.read(spark, config.warehouse, PREDICTIONS).filter(
        (F.col("source") == source) & F.col("model").isin(names)
    )
    return Predictions(stored, source, predictors, classes, remarks, dict(this_run.counts))


def check_confidence(confidence: float) -> None:
    """Check a confidence.

    Raises
    ------
    UsageError
        If it is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise UsageError(
            f"confidence {confidence:g} (--confidence): expected a number between 0 and 1."
        )


def predictions(
    features: DataFrame, *, model, card: dict, confidence: float, with_probabilities: bool
) -> DataFrame:
    """Apply a model to features.

    Parameters
    ----------
    features : DataFrame [schemas.FEATURES]
    model : PipelineModel
    card : dict
        From the registry.
    confidence : float
        One of those that the card has a threshold for.
    with_probabilities : bool
        Include the probability of every genre.

    Returns
    -------
    DataFrame
        The columns of schemas.PREDICTIONS without in_training, run_id and predicted_at.

    Raises
    ------
    ModelError
        If the card has no threshold for the confidence.
    """
    numbers, texts = Columns.from_card(card["columns"]).needed
    answered = model.transform(wide(features, numbers=numbers, texts=texts))
    threshold = _threshold(card, confidence)
    if card["columns"]["task"] == CLASSIFICATION:
        answered = _with_genres(answered, card, threshold, with_probabilities)
    else:
        answered = answered.transform(
            intervals, threshold=threshold, limits=from_card(card["conformal"].get("limits"))
        ).select(
            *KEYS,
            F.col("prediction").alias("popularity"),
            F.col("low").alias("popularity_low"),
            F.col("high").alias("popularity_high"),
        )
    own = {
        "model": F.lit(card["name"]),
        "model_version": F.lit(card["version"]),
        "confidence": F.lit(float(confidence)),
    }
    stamps = ("in_training", "run_id", "predicted_at")
    filled = {*answered.columns, *own, *stamps}
    return answered.withColumns(
        own
        | {f.name: F.lit(None).cast(f.dataType) for f in PREDICTIONS.schema if f.name not in filled}
    )


def _champions(registry: ModelRegistry) -> list[str]:
    names = [name for name in NAMES if registry.aliases(name).get("champion")]
    if not names:
        raise ModelError(
            f"There is no champion in {registry.root} yet. Train one with `sonic train genre` or "
            "`sonic train popularity`."
        )
    return names


def missing_columns(card: dict, known: set[tuple[str, str]], source: str) -> list[str]:
    """Say which columns a model needs and a source lacks, or has of another kind.

    Parameters
    ----------
    known : set of (str, str)
        Kind, ``number`` or ``text``, and name of the source's columns.

    Raises
    ------
    ModelError
        If these are all.
    """
    numbers, texts = Columns.from_card(card["columns"]).needed
    needed = [*(("number", name) for name in numbers), *(("text", name) for name in texts)]
    lacking = [column for column in needed if column not in known]
    if len(lacking) == len(needed):
        raise ModelError(
            f"The source {source} has none of the columns that {card['name']} {card['version']} "
            f"was trained on ({', '.join(name for _, name in lacking)}), or has texts in place of "
            "numbers. Choose another source (--source), or train a model on this one with "
            f"`sonic train {card['name']} --source {source}`."
        )
    other = {"number": "text", "text": "number"}
    odd = [(kind, name) for kind, name in lacking if (other[kind], name) in known]
    missing = ", ".join(name for kind, name in lacking if (kind, name) not in odd)
    return [
        *([f"{missing}, missing in {source}"] if missing else []),
        *(f"{name}, of {other[kind]}s in {source} and {kind}s in training" for kind, name in odd),
    ]


def _threshold(card: dict, confidence: float):
    """Return the threshold of a confidence, or one per label for Mondrian sets."""
    by_confidence = {round(c, 6): t for c, t in card["conformal"]["thresholds"]}
    if round(confidence, 6) not in by_confidence:
        raise ModelError(
            f"confidence {confidence:g} (--confidence): the model {card['name']} "
            f"{card['version']} was calibrated for "
            f"{', '.join(f'{c:g}' for c in sorted(by_confidence))}."
        )
    threshold = by_confidence[round(confidence, 6)]
    if isinstance(threshold, dict):  # keys are strings in JSON
        return {int(label): value for label, value in threshold.items()}
    return threshold


def _with_genres(answered: DataFrame, card: dict, threshold, with_probabilities: bool) -> DataFrame:
    genres = F.array(*(F.lit(name) for name in card["classes"]))
    all_genres = F.map_from_arrays(genres, "probabilities")
    return answered.transform(
        conformal.prediction_sets, method=card["conformal"]["method"], threshold=threshold
    ).select(
        *KEYS,
        F.transform("labels", lambda label: F.element_at(genres, label + 1)).alias("genre_set"),
        F.get(genres, predicted()).alias("genre"),
        F.array_max("probabilities").alias("genre_probability"),
        *([all_genres.alias("genre_probabilities")] if with_probabilities else []),
    )
