"""`sonic train`: a model of genre or popularity, or the recommendations."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from pyspark.sql import SparkSession

from sonic_lib.cli.commands import features as feature_tables
from sonic_lib.cli.commands import train_recommendations
from sonic_lib.cli.commands.examining import examine, limits_of
from sonic_lib.config import Config
from sonic_lib.console import say, show
from sonic_lib.errors import UsageError
from sonic_lib.models.columns import CLASSIFICATION
from sonic_lib.models.conformal.sets import METHODS
from sonic_lib.models.estimators import BOOSTED, KINDS, check_kind
from sonic_lib.models.registry import directory as registry
from sonic_lib.models.training import release
from sonic_lib.report import model_report
from sonic_lib.storage import runs, tables
from sonic_lib.workflows.sources import registry_of
from sonic_lib.workflows.training import TrainedModel, train_and_evaluate, training_set

HELP = "train a model of genre or popularity, or find the songs most like each other"
RECOMMENDATIONS = "recommendations"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument(
        "model_name",
        choices=(*registry.NAMES, RECOMMENDATIONS),
        metavar="MODEL",
        help=", ".join((*registry.NAMES, RECOMMENDATIONS)),
    )
    parser.add_argument("--source", metavar="NAME", help="which features, if there are several")
    trained = parser.add_argument_group(" and ".join(registry.NAMES))
    trained.add_argument("--csv", metavar="FILE", help="bring this feature table in first")
    trained.add_argument(
        "--labels",
        metavar="NAME",
        help="a source whose keys are paths of the songs; its columns are added to them",
    )
    trained.add_argument("--target", metavar="COLUMN", help="what to learn (default: MODEL)")
    trained.add_argument(
        "--group", metavar="COLUMN", help="rows with one value stay on one side of all splits"
    )
    trained.add_argument(
        "--drop", action="append", default=[], metavar="COLUMN", help="leave out; may be repeated"
    )
    trained.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="COLUMN",
        help="use it although it seems to give the target away; may be repeated",
    )
    trained.add_argument(
        "--limits",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="between which the number lies (default: as seen in the table, such as 0 to 100)",
    )
    add_choices(trained)
    trained.add_argument(
        "--report", metavar="FOLDER", help="write tables and figures of the held-out rows there"
    )
    train_recommendations.add_arguments(parser.add_argument_group(RECOMMENDATIONS))


def add_choices(parser: argparse._ActionsContainer) -> None:
    """Declare the arguments that decide how a model is made."""
    parser.add_argument(
        "--model", choices=KINDS, default=BOOSTED, help=f"what learns (default {BOOSTED})"
    )
    parser.add_argument("--folds", type=int, default=5, metavar="N", help="default 5")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    parser.add_argument(
        "--class-weights", action="store_true", help="let rare genres count as much as others"
    )
    parser.add_argument(
        "--method", choices=METHODS, default=METHODS[0], help="how sets of genres are made"
    )
    parser.add_argument(
        "--mondrian", action="store_true", help="guarantee the confidence for each genre"
    )


def check_choices(args: argparse.Namespace) -> None:
    """Refuse choices that cannot work."""
    check_kind(args.model)
    if args.folds < 2:
        raise UsageError(f"--folds {args.folds}: expected 2 or more.")


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before Spark starts."""
    if args.model_name == RECOMMENDATIONS:
        train_recommendations.check(args)
        return
    check_choices(args)
    if args.limits is not None and not args.limits[0] < args.limits[1]:
        low, high = args.limits
        raise UsageError(f"--limits {low:g} {high:g}: expected the lower one first.")
    if args.csv is not None:
        feature_tables.check(_features_arguments(args))


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Train, judge, keep."""
    if args.model_name == RECOMMENDATIONS:
        return train_recommendations.run(spark, config, args)
    started_s = time.monotonic()
    source = args.source
    if args.csv is not None:
        words = _features_arguments(args)
        feature_tables.run(spark, config, words)
        source = feature_tables.source_name(words)
    tables.create_for_models(spark, config.warehouse)
    name = args.model_name
    kept, root = registry_of(config)
    with (
        runs.recorded(spark, config.warehouse, job=f"train {name}", config=config) as this_run,
        training_set(
            spark,
            config.warehouse,
            name=name,
            source=source,
            labels=args.labels,
            target=args.target,
            group=args.group,
            drop=args.drop,
            keep=args.keep,
            kind=args.model,
            seed=args.seed,
            class_weights=args.class_weights,
        ) as given,
    ):
        trained = train_and_evaluate(
            given,
            n_folds=args.folds,
            method=args.method,
            mondrian=args.mondrian,
            limits=limits_of(given, args.limits),
        )
        trained.card.update(n_folds=args.folds, limits_given=args.limits)
        examined = examine(spark, config.warehouse, given, trained)
        version = kept.save(spark, root, name, model=trained.model, card=trained.card)
        is_first = not kept.aliases(spark, root, name).get("champion")
        appoint = kept.promote if is_first else kept.challenge
        appoint(spark, root, name, version, why="trained")
        this_run.counts.update(trained.card["metrics"])
        this_run.counts["seconds"] = time.monotonic() - started_s
        role = "champion" if is_first else "challenger"
        show("\n".join([*report_lines(trained), *examined]))
        say(
            f"  kept      {version}, the {role}; {time.monotonic() - started_s:.0f} s",
            **{name: {"version": version, "role": role, **this_run.counts}},
        )
        if not is_first:
            show(f"  Make it serve: sonic models --promote {name} {version}")
        if args.report:
            model_report.write(trained.held_out, trained.card, Path(args.report))
            show(f"  report    {args.report}")
        release(trained.model)
    return 0


def report_lines(trained: TrainedModel) -> list[str]:
    """Say what was learned and how well, in a few lines."""
    card, told = trained.card, trained.card["metrics"]
    columns = card["columns"]
    used = [
        f"{len(columns[role])} {role}"
        for role in ("numbers", "categories", "encoded", "lists", "dates", "texts")
        if columns[role]
    ]
    parts = ", ".join(f"{kind} {weight:.0%}" for kind, weight in card["weights"].items())
    kind = card["kind"] + (f" ({parts})" if parts != f"{card['kind']} 100%" else "")
    lines = [
        f"Model of {columns['target']} of {card['snapshot']['source']}, {kind}",
        f"  learned   from {', '.join(used)}"
        + (f"; in groups of {columns['group']}" if columns["group"] else ""),
    ]
    if columns["dropped"]:
        reasons = ", ".join(f"{column} ({why})" for column, why in columns["dropped"].items())
        lines.append(f"  left out  {reasons}")
    if card["task"] == CLASSIFICATION:
        for prefix, rows in (("cv_", "folds"), ("", "held out")):
            lines.append(
                f"  {rows:9} F1-micro {told[f'{prefix}f1_micro']:.3f}, macro "
                f"{told[f'{prefix}f1_macro']:.3f}, log-loss {told[f'{prefix}log_loss']:.3f} "
                f"({told[f'{prefix}n']:.0f} songs, {len(card['classes'])} genres)"
            )
        if without := card["without_texts"]:
            lines.append(
                f"  no texts  F1-micro {without['f1_micro']:.3f}, macro {without['f1_macro']:.3f}, "
                f"log-loss {without['log_loss']:.3f} (the same held-out songs)"
            )
        for row in trained.coverage.itertuples():
            lines.append(
                f"  sets      {row.confidence:.0%}: {row.n_covered / row.n:.1%} hold the truth, "
                f"{row.mean_size:.2f} genres on the average, {row.share_single:.0%} of one, "
                f"{row.share_empty:.0%} empty"
            )
    else:
        for prefix, rows in (("cv_", "folds"), ("", "held out")):
            lines.append(
                f"  {rows:9} R2 {told[f'{prefix}r2']:.3f}, RMSE {told[f'{prefix}rmse']:.2f}, "
                f"MAE {told[f'{prefix}mae']:.2f} ({told[f'{prefix}n']:.0f} songs)"
            )
        if without := card["without_texts"]:
            lines.append(
                f"  no texts  R2 {without['r2']:.3f}, RMSE {without['rmse']:.2f}, "
                f"MAE {without['mae']:.2f} (the same held-out songs)"
            )
        for row in trained.coverage.itertuples():
            lines.append(
                f"  intervals {row.confidence:.0%}: {row.n_covered / row.n:.1%} hold the truth, "
                f"{row.mean_width:.1f} wide on the average"
            )
    top = ", ".join(f"{feature} {share:.0%}" for feature, share in card["importances"][:6])
    return [*lines, f"  most      {top}"]


def _features_arguments(args: argparse.Namespace) -> argparse.Namespace:
    return argparse.Namespace(
        paths=[], csv=args.csv, source=args.source, id=None, retry_rejected=False, strict=False
    )
