"""`sonic predict`: what the champions say of the songs of a source."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.cli.commands.completing import completed
from sonic_lib.cli.writers import check_output, write_output
from sonic_lib.config import Config
from sonic_lib.console import say, show
from sonic_lib.errors import ModelError, UsageError
from sonic_lib.features.spark import KEYS, profile, wide
from sonic_lib.models.columns import Columns
from sonic_lib.models.conformal import sets as conformal
from sonic_lib.models.conformal.intervals import intervals
from sonic_lib.models.limits import from_card
from sonic_lib.models.membership import training_songs
from sonic_lib.models.registry import directory as registry
from sonic_lib.schemas import FEATURE_CELLS, FEATURE_REJECTS, FEATURES, PREDICTIONS
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
    parser.add_argument(
        "--probabilities", action="store_true", help="tell the probability of every genre, too"
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
    there = {row.name for row in profile(features).collect()}  # a row a column
    n_known: dict[str, int] = {}
    classes: list[str] = []
    with runs.recorded(spark, config.warehouse, job="predict", config=config) as this_run:
        said = {}
        for name in names:
            model, card = kept.load(spark, root, name)
            if missing := missing_columns(card, there, source):
                show(f"  {name:10}  without {', '.join(missing)}, which {source} lacks")
            rows = predictions(
                features,
                model=model,
                card=card,
                confidence=args.confidence,
                with_probabilities=args.probabilities,
            )
            known = known_songs(
                spark, config.warehouse, features=features, card=card, source=source
            )
            n_known[name] = known.join(features, "song_id", "left_semi").count()
            if args.probabilities:
                classes = card["classes"] or classes
            stamped = rows.transform(marked, known=known).withColumns(
                {"run_id": F.lit(this_run.run_id), "predicted_at": F.current_timestamp()}
            )
            where = f"model = {sql_text(name)} AND source = {sql_text(source)}"
            tables.replace(stamped, config.warehouse, PREDICTIONS, where=where)
            known.unpersist()
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
        if n_known[name]:
            show(
                f"              it learned from {n_known[name]} of them (in_training), and is "
                "surer of those than of others"
            )
    if args.output:
        _write_completed(
            spark,
            config.warehouse,
            features,
            said,
            source=source,
            output=args.output,
            classes=classes,
        )
    return 0


def predictions(
    features: DataFrame, *, model, card: dict, confidence: float, with_probabilities: bool = False
) -> DataFrame:
    """Apply a model to features.

    Parameters
    ----------
    features : DataFrame [schemas.FEATURES]
    model : PipelineModel
    card : dict
        From the registry.
    confidence : float
        One of those that the card has thresholds for.
    with_probabilities : bool
        Tell the probability of every genre, too.

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
    if card["columns"]["task"] == "classification":
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


def _write_completed(
    spark: SparkSession,
    warehouse: str,
    features: DataFrame,
    said: dict[str, tuple[str, str]],
    *,
    source: str,
    output: str,
    classes: Sequence[str],
) -> None:
    of_source = F.col("source") == source
    cells = tables.read(spark, warehouse, FEATURE_CELLS).filter(of_source)
    predicted = tables.read(spark, warehouse, PREDICTIONS).filter(of_source)
    table = completed(
        features,
        predicted,
        said,
        cells=cells,
        as_texts=output.lower().endswith(".csv"),
        classes=classes,
    )
    write_output(table, output, all_digits=True)
    show(f"  {output}")
    n_rejected = tables.read(spark, warehouse, FEATURE_REJECTS).filter(of_source).count()
    if n_rejected:
        show(
            f'  without {n_rejected} rows that were rejected: sonic sql "SELECT record, error '
            f'FROM sonic.feature_rejects WHERE source = {sql_text(source)}"'
        )


def known_songs(
    spark: SparkSession,
    warehouse: str,
    *,
    features: DataFrame,
    card: dict,
    source: str,
    by_judge: bool = False,
) -> DataFrame:
    """Songs of a source that a model learned from: song_id.

    They are those of the snapshot that its card names. Once that has been purged, they are those of
    the present rows which a training would take: some may have come later. `by_judge` as in
    `membership.training_songs`.
    """
    snapshot = card["snapshot"]
    if snapshot["source"] != source:
        return features.select("song_id").limit(0)
    version = snapshot["features_version"]
    try:
        of_then = tables.read(spark, warehouse, FEATURES, version=version)
        found = _training_songs(of_then, card, by_judge).persist()
        found.count()
    except (PySparkException, Py4JJavaError):  # of the log, or of files that are gone
        show(
            f"  {card['name']:10}  the rows it learned from are purged: in_training is as of today"
        )
        found = _training_songs(tables.read(spark, warehouse, FEATURES), card, by_judge)
    return found


def _training_songs(stored: DataFrame, card: dict, by_judge: bool) -> DataFrame:
    snapshot = card["snapshot"]
    labels = snapshot.get("labels")
    return training_songs(
        stored.filter(F.col("source") == snapshot["source"]),
        card=card,
        labels=stored.filter(F.col("source") == labels) if labels else None,
        by_judge=by_judge,
    )


def marked(predicted: DataFrame, *, known: DataFrame) -> DataFrame:
    """Add `in_training`: whether the song is among those that the model learned from."""
    return predicted.join(
        known.select("song_id", F.lit(True).alias("in_training")), "song_id", "left"
    ).withColumn("in_training", F.coalesce("in_training", F.lit(False)))


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


def _with_genres(answered: DataFrame, card: dict, threshold, with_probabilities: bool) -> DataFrame:
    genres = F.array(*(F.lit(name) for name in card["classes"]))
    all_genres = F.map_from_arrays(genres, "probabilities")
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
        *([all_genres.alias("genre_probabilities")] if with_probabilities else []),
    )
