"""`sonic predict`: what the champions say of the songs of a source."""

from __future__ import annotations

import argparse
import time

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.cli.writers import check_output, write_output
from sonic_lib.config import Config
from sonic_lib.console import say, show
from sonic_lib.errors import ModelError, UsageError
from sonic_lib.features.spark import KEYS, profile, wide
from sonic_lib.models.columns import Columns
from sonic_lib.models.conformal import sets as conformal
from sonic_lib.models.conformal.intervals import intervals
from sonic_lib.models.registry import directory as registry
from sonic_lib.schemas import PREDICTIONS
from sonic_lib.storage import runs, tables
from sonic_lib.workflows.sources import read_source, registry_of, sql_text

HELP = "predict genre and popularity by the champions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("--source", metavar="NAME", help="which features, if there are several")
    parser.add_argument(
        "--model", choices=("all", *registry.NAMES), default="all", help="default: all there are"
    )
    parser.add_argument(
        "--confidence",
        type=float,
        default=0.9,
        metavar="C",
        help="share of sets and intervals that hold the truth (default 0.9)",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="the table completed, as .csv, .json or .parquet"
    )


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before Spark starts."""
    if not 0 < args.confidence < 1:
        raise UsageError(f"--confidence {args.confidence:g}: expected a share between 0 and 1.")
    check_output(args.output)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Predict by every champion, and replace what the table said of the source before."""
    started_s = time.monotonic()
    source, features = read_source(spark, config.warehouse, args.source)
    tables.create_for_models(spark, config.warehouse)
    kept, root = registry_of(config)
    names = _champions(spark, config, args.model)
    known = {row.name for row in profile(features).collect()}  # a row a column
    with runs.recorded(spark, config.warehouse, job="predict", config=config) as this_run:
        said = {}
        for name in names:
            model, card = kept.load(spark, root, name)
            if missing := missing_columns(card, known, source):
                show(f"  {name:10}  without {', '.join(missing)}, which {source} lacks")
            rows = predictions(features, model=model, card=card, confidence=args.confidence)
            stamped = rows.withColumns(
                {"run_id": F.lit(this_run.run_id), "predicted_at": F.current_timestamp()}
            )
            where = f"model = {sql_text(name)} AND source = {sql_text(source)}"
            tables.replace(stamped, config.warehouse, PREDICTIONS, where=where)
            said[card["columns"]["target"]] = (name, card["version"])
        n = features.count()
        this_run.counts.update(songs=n, models=len(names), seconds=time.monotonic() - started_s)
    say(
        f"Predicted {n} songs of {source}, sets and intervals of {args.confidence:.0%}",
        **this_run.counts,
        source=source,
        confidence=args.confidence,
        versions={name: version for name, version in said.values()},
        output=args.output,
    )
    for target, (name, version) in said.items():
        show(f"  {name:10}  {target} by {version}")
    if args.output:
        table = tables.read(spark, config.warehouse, PREDICTIONS)
        write_output(
            completed(features, table.filter(F.col("source") == source), said), args.output
        )
        show(f"  {args.output}")
    return 0


def predictions(features: DataFrame, *, model, card: dict, confidence: float) -> DataFrame:
    """Apply a model to features.

    Parameters
    ----------
    features : DataFrame [schemas.FEATURES]
    model : PipelineModel
    card : dict
        From the registry.
    confidence : float
        One of those that the card has thresholds for.

    Returns
    -------
    DataFrame
        The columns of schemas.PREDICTIONS without run_id and predicted_at.

    Raises
    ------
    ModelError
        If the card has no threshold for the confidence.
    """
    numbers, texts = Columns.from_card(card["columns"]).needed
    answered = model.transform(wide(features, numbers=numbers, texts=texts))
    threshold = _threshold(card, confidence)
    if card["columns"]["task"] == "classification":
        answered = _with_genres(answered, card, threshold)
    else:
        limits = card["conformal"].get("limits")
        answered = answered.transform(
            intervals, threshold=threshold, limits=tuple(limits) if limits else None
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
    stamps = ("run_id", "predicted_at")
    filled = {*answered.columns, *own, *stamps}
    return answered.withColumns(
        own
        | {f.name: F.lit(None).cast(f.dataType) for f in PREDICTIONS.schema if f.name not in filled}
    )


# What is told of a prediction beside the table: by model, the new column and that of PREDICTIONS.
ADDED = {
    "genre": {
        "genre_predicted": "genre",
        "genre_probability": "genre_probability",
        "genre_set": "genre_set",
    },
    "popularity": {
        "popularity_predicted": "popularity",
        "popularity_low": "popularity_low",
        "popularity_high": "popularity_high",
    },
}


def completed(
    features: DataFrame, predicted: DataFrame, said: dict[str, tuple[str, str]]
) -> DataFrame:
    """Give the table as it was brought in, the gaps of its targets filled.

    What a row says of a target stands; what the model says stands beside it, in columns of ADDED.

    Parameters
    ----------
    features : DataFrame [schemas.FEATURES]
        Of one source.
    predicted : DataFrame [schemas.PREDICTIONS]
        Of the same.
    said : dict
        By target, the name and version of its model.
    """
    described = profile(features).collect()  # as few rows as columns
    added = {column for name, _ in said.values() for column in ADDED[name]}
    columns = {
        kind: sorted({r.name for r in described if r.kind == kind and r.name not in added})
        for kind in ("number", "text")
    }
    both = set(columns["number"]) & set(columns["text"])
    columns["number"] = [name for name in columns["number"] if name not in both]
    table = wide(features, numbers=columns["number"], texts=columns["text"])
    for target, (name, _) in said.items():
        answers = predicted.filter(F.col("model") == name).select(
            "song_id", *(F.col(given).alias(column) for column, given in ADDED[name].items())
        )
        table = table.join(answers, "song_id", "left")
        filled = F.col(f"{name}_predicted")
        if target in table.columns:
            own = F.col(f"`{target}`")
            given = own.cast("string") if name == "genre" else own.try_cast("double")
            filled = F.coalesce(given, filled)
        table = table.withColumn(target, filled)
    others = [name for name in table.columns if name not in {*KEYS, *said, *added}]
    told = [name for name in table.columns if name in added]
    return table.orderBy("source_key").select(
        *(F.col(f"`{name}`") for name in ("source_key", *others, *said, *told))
    )


def _champions(spark: SparkSession, config: Config, asked: str) -> list[str]:
    kept, root = registry_of(config)
    if asked != "all":
        return [asked]
    names = [name for name in registry.NAMES if kept.aliases(spark, root, name).get("champion")]
    if not names:
        raise ModelError(
            f"There is no champion in {root} yet. Train one with `sonic train genre` or "
            "`sonic train popularity`."
        )
    return names


def missing_columns(card: dict, known: set[str], source: str) -> list[str]:
    """Name the columns that a model reads and a source lacks; lacking all is an error."""
    numbers, texts = Columns.from_card(card["columns"]).needed
    missing = [name for name in (*numbers, *texts) if name not in known]
    if len(missing) == len(numbers) + len(texts):
        raise ModelError(
            f"The source {source} has none of the columns that {card['name']} {card['version']} "
            f"learned from ({', '.join(missing)}). Name another --source, or train a model on it "
            f"with `sonic train {card['name']} --source {source}`."
        )
    return missing


def _threshold(card: dict, confidence: float):
    """Give the number, or for Mondrian sets the mapping of labels to numbers."""
    by_confidence = {round(c, 6): t for c, t in card["conformal"]["thresholds"]}
    if round(confidence, 6) not in by_confidence:
        raise ModelError(
            f"--confidence {confidence:g}: the model {card['name']} {card['version']} was "
            f"calibrated for {', '.join(f'{c:g}' for c in sorted(by_confidence))}."
        )
    threshold = by_confidence[round(confidence, 6)]
    if isinstance(threshold, dict):  # JSON has made texts of the labels
        return {int(label): value for label, value in threshold.items()}
    return threshold


def _with_genres(answered: DataFrame, card: dict, threshold) -> DataFrame:
    genres = F.array(*(F.lit(name) for name in card["classes"]))
    return answered.transform(
        conformal.prediction_sets, method=card["conformal"]["method"], threshold=threshold
    ).select(
        *KEYS,
        F.transform("labels", lambda label: F.element_at(genres, label + 1)).alias("genre_set"),
        F.element_at(
            genres,
            F.array_position("probabilities", F.array_max("probabilities")).cast("int"),
        ).alias("genre"),
        F.array_max("probabilities").alias("genre_probability"),
    )
