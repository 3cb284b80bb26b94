"""`sonic retrain`: challengers from a snapshot; the better one serves, beyond noise."""

from __future__ import annotations

import argparse
import time

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.cli.commands import train_recommendations
from sonic_lib.cli.commands.examining import examine, limits_of
from sonic_lib.cli.commands.predict import known_songs
from sonic_lib.cli.commands.train import RECOMMENDATIONS, report_lines
from sonic_lib.config import Config
from sonic_lib.console import say, show
from sonic_lib.errors import ModelError, UsageError
from sonic_lib.models import metrics, significance, training
from sonic_lib.models.columns import CLASSIFICATION, Columns
from sonic_lib.models.estimators import BOOSTED, KINDS, check_kind
from sonic_lib.models.recipe import Recipe
from sonic_lib.models.registry import directory as registry
from sonic_lib.storage import runs, tables
from sonic_lib.workflows.sources import registry_of
from sonic_lib.workflows.training import (
    TrainedModel,
    TrainingSet,
    figures,
    train_and_evaluate,
    training_set,
)

HELP = "train challengers on a snapshot and promote those that are better beyond noise"
MAX_P = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    names = (*registry.NAMES, RECOMMENDATIONS)
    parser.add_argument(
        "names", nargs="*", metavar="MODEL", help=f"some of {', '.join(names)} (default: all)"
    )
    parser.add_argument("--source", metavar="NAME", help="which features, if there are several")
    parser.add_argument("--model", choices=KINDS, help="default: that of the champion")
    parser.add_argument("--folds", type=int, metavar="N", help="default: those of the champion")
    parser.add_argument("--seed", type=int, metavar="N", help="default: that of the champion")
    parser.add_argument(
        "--dry-run", action="store_true", help="compare, but keep nothing and promote nothing"
    )


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before Spark starts."""
    known = (*registry.NAMES, RECOMMENDATIONS)
    if unknown := sorted(set(args.names) - set(known)):
        raise UsageError(f"MODEL {', '.join(unknown)}: expected some of {', '.join(known)}.")
    if args.folds is not None and args.folds < 2:
        raise UsageError(f"--folds {args.folds}: expected 2 or more.")
    if args.model is not None:
        check_kind(args.model)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Retrain one model after the other; one that has nothing to learn from is passed over."""
    asked = args.names or [*registry.NAMES, RECOMMENDATIONS]
    for name in asked:
        if name == RECOMMENDATIONS:
            if not args.dry_run:
                _repeat_recommendations(spark, config, args.source)
            continue
        try:
            _retrain(spark, config, args, name)
        except UsageError as error:
            if args.names:
                raise
            say(f"Model {name}: passed over. {error}", **{name: {"passed_over": str(error)}})
    return 0


def _repeat_recommendations(spark: SparkSession, config: Config, source: str | None) -> None:
    """Make them anew, as they were asked for the last time."""
    tables.create_for_models(spark, config.warehouse)
    job = train_recommendations.JOB
    asked = runs.last_options(spark, config.warehouse, job=job, source=source)
    default = {"source": source, "columns": None, "count": 10, "clusters": None}
    train_recommendations.run(spark, config, argparse.Namespace(**default | asked))


def _retrain(spark: SparkSession, config: Config, args: argparse.Namespace, name: str) -> None:
    started_s = time.monotonic()
    kept, root = registry_of(config)
    has_champion = kept.aliases(spark, root, name).get("champion") is not None
    model, card = kept.load(spark, root, name) if has_champion else (None, {})
    # What a person chose for the champion holds for its challengers.
    chosen = card.get("columns", {})
    conformal = card.get("conformal", {})
    n_folds = args.folds or card.get("n_folds", 5)
    with (
        runs.recorded(spark, config.warehouse, job=f"retrain {name}", config=config) as this_run,
        training_set(
            spark,
            config.warehouse,
            name=name,
            source=args.source or card.get("snapshot", {}).get("source"),
            labels=card.get("snapshot", {}).get("labels"),
            target=chosen.get("target"),
            group=chosen.get("group"),
            drop=[c for c, why in chosen.get("dropped", {}).items() if why == "not wanted"],
            keep=chosen.get("kept", ()),
            kind=args.model or card.get("kind", BOOSTED),
            seed=card.get("seed", 0) if args.seed is None else args.seed,
            class_weights=card.get("class_weights", False),
        ) as given,
    ):
        trained = train_and_evaluate(
            given,
            n_folds=n_folds,
            method=conformal.get("method", "lac") if given.recipe.classes else "lac",
            mondrian=conformal.get("mondrian", False),
            limits=limits_of(given, card.get("limits_given")),
        )
        trained.card.update(n_folds=n_folds, limits_given=card.get("limits_given"))
        examined = examine(spark, config.warehouse, given, trained)
        p_value, told = 0.0, "there was no champion"
        if model is not None:
            known = known_songs(
                spark,
                config.warehouse,
                features=given.rows,
                card=card,
                source=given.source,
                by_judge=True,
            )
            p_value, told = compared(model, card, given=given, trained=trained, known=known)
            known.unpersist()
        is_better = p_value < MAX_P
        this_run.counts.update(trained.card["metrics"])
        this_run.counts.update(
            p_value=p_value,
            promoted=float(is_better and not args.dry_run),
            seconds=time.monotonic() - started_s,
        )
        version = "(not kept)"
        if not args.dry_run:
            version = kept.save(spark, root, name, model=trained.model, card=trained.card)
            appoint = kept.promote if is_better else kept.challenge
            appoint(spark, root, name, version, why=f"retrained: {told}")
        training.release(trained.model)
    show("\n".join([*report_lines(trained), *examined]))
    say(
        f"  champion  {told}\n"
        f"  {'promoted ' if is_better else 'not better'} {version}; "
        f"{time.monotonic() - started_s:.0f} s",
        **{name: {"version": version, **this_run.counts}},
    )


def compared(
    champion: PipelineModel,
    card: dict,
    *,
    given: TrainingSet,
    trained: TrainedModel,
    known: DataFrame,
) -> tuple[float, str]:
    """Let the champion answer for the held-out rows that it has not learned from, either.

    Parameters
    ----------
    known : DataFrame with song_id
        Songs that the champion learned from. Another --group, or songs that came since, may have
        changed which rows are held out.

    Returns
    -------
    p_value : float
    told : str
        What it comes from.
    """
    columns = Columns.from_card(card["columns"])
    if columns.target != given.recipe.columns.target or columns.task != given.recipe.columns.task:
        raise ModelError(
            f"The champion {card['version']} of {given.name} learned {columns.target}, the "
            f"challenger {given.recipe.columns.target}; they cannot be compared. Train it with the "
            f"other --target, or promote it: `sonic models --promote {given.name} VERSION`."
        )
    recipe = Recipe(columns, tuple(card["classes"]), card["kind"], card["seed"])
    missing = set(columns.needed[0] + columns.needed[1]) - set(given.rows.columns)
    if missing:
        return 0.0, f"{card['version']} needs {', '.join(sorted(missing))}, which are gone"
    new_to_both = given.held_out_rows.join(known, "song_id", "left_anti")
    rows = training.labelled(new_to_both, columns=columns, classes=recipe.classes)
    if rows.isEmpty():
        return 1.0, f"{card['version']} has learned from all held-out songs: nothing to compare by"
    before = training.scored(rows, model=champion, recipe=recipe).persist()
    try:
        old = figures(before, recipe=recipe)
        if card["task"] == CLASSIFICATION:
            others = _right(trained.held_out)
            row = (
                _right(before)
                .transform(significance.classifier_differences, challenger=others)
                .first()
            )
            p_value = significance.classifier_p_value(
                n_only_champion=row.n_only_champion, n_only_challenger=row.n_only_challenger
            )
            said = f"F1-micro {old['f1_micro']:.3f}, McNemar's p {p_value:.3g}"
        else:
            others = _error(trained.held_out)
            row = (
                _error(before)
                .transform(significance.regression_differences, challenger=others)
                .first()
            )
            p_value = significance.regression_p_value(
                n=row.n, mean_gain=row.mean_gain, deviation=row.deviation
            )
            said = f"R2 {old['r2']:.3f}, paired t-test's p {p_value:.3g}"
    finally:
        before.unpersist()
        training.release(champion)
    return p_value, f"{card['version']} on the same {row.n} held-out songs: {said}"


def _right(scored: DataFrame) -> DataFrame:
    return scored.select("song_id", (metrics.predicted() == F.col("label")).alias("is_right"))


def _error(scored: DataFrame) -> DataFrame:
    return scored.select("song_id", (F.col("prediction") - F.col("target")).alias("error"))
