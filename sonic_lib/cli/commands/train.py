"""`sonic train`: train a genre or popularity model, or compute recommendations."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from pyspark.sql import SparkSession

from sonic_lib.cli.commands import features as feature_tables
from sonic_lib.cli.commands import train_recommendations
from sonic_lib.cli.options import add_source
from sonic_lib.config import Config
from sonic_lib.console import paragraph, say, show
from sonic_lib.formats import counted, quantity
from sonic_lib.models.columns import CLASSIFICATION, ROLES
from sonic_lib.models.conformal.sets import METHODS
from sonic_lib.models.estimators import AUTO, KINDS
from sonic_lib.models.registry import NAMES
from sonic_lib.schemas import FEATURES
from sonic_lib.storage.whole_file import check_folder
from sonic_lib.workflows.feature_extraction import check_import, import_table
from sonic_lib.workflows.recommendation import MODEL_NAME as RECOMMENDATIONS
from sonic_lib.workflows.remarks import Remark
from sonic_lib.workflows.training import check_choices, train_model

HELP = "train a genre or popularity model, or compute recommendations"
READS = (FEATURES,)
# Trees are fitted in Python workers; Java only plans many short queries.
IS_PYTHON_WORK = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument(
        "model_name",
        choices=(*NAMES, RECOMMENDATIONS),
        metavar="MODEL",
        help=", ".join((*NAMES, RECOMMENDATIONS)),
    )
    add_source(parser)
    parser.add_argument("--csv", metavar="FILE", help="import this feature table first")
    trained = parser.add_argument_group(" and ".join(NAMES))
    trained.add_argument(
        "--labels",
        metavar="NAME",
        help="a source whose keys are paths of the songs; its columns are joined",
    )
    trained.add_argument("--target", metavar="COLUMN", help="column to predict (default: MODEL)")
    trained.add_argument(
        "--group", metavar="COLUMN", help="column whose values are never split between folds"
    )
    trained.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="COLUMN",
        help="column to exclude; may be repeated",
    )
    trained.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="COLUMN",
        help="use a column even if it seems to leak the target; may be repeated",
    )
    trained.add_argument(
        "--limits",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="range of a numeric target (default: as in the table, such as 0 to 100)",
    )
    _add_fitting(trained)
    trained.add_argument(
        "--report", metavar="FOLDER", help="folder for tables and plots of the held-out rows"
    )
    train_recommendations.add_arguments(parser.add_argument_group(RECOMMENDATIONS))


def _add_fitting(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--model", choices=KINDS, default=AUTO, help=f"estimator (default {AUTO})")
    parser.add_argument(
        "--folds",
        type=int,
        default=5,
        metavar="N",
        help="number of cross-validation folds (default 5)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random seed (default 0)")
    parser.add_argument(
        "--class-weights", action="store_true", help="weight rare genres as much as frequent ones"
    )
    parser.add_argument(
        "--method", choices=METHODS, default=METHODS[0], help="conformal score of the genre sets"
    )
    parser.add_argument(
        "--mondrian", action="store_true", help="guarantee the coverage for each genre"
    )


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    if args.model_name == RECOMMENDATIONS:
        train_recommendations.check(args)
    else:
        check_folder("--report", args.report)
        check_choices(kind=args.model, n_folds=args.folds, limits=args.limits)
    if args.csv is not None:
        source = feature_tables.source_name(args.csv, args.source)
        check_import(args.csv, source=source)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Import a table if there is one, train, and print the results."""
    started_s = time.monotonic()
    name, source = args.model_name, args.source
    if args.csv is not None:
        source = feature_tables.source_name(args.csv, args.source)
        table = import_table(spark, config, args.csv, source=source)
        feature_tables.say_table(table, source, warehouse=config.warehouse)
    if name == RECOMMENDATIONS:
        return train_recommendations.run(spark, config, args, source=source)
    done = train_model(
        spark,
        config,
        name,
        source=source,
        labels=args.labels,
        target=args.target,
        group=args.group,
        drop=args.drop,
        keep=args.keep,
        limits=args.limits,
        kind=args.model,
        n_folds=args.folds,
        seed=args.seed,
        class_weights=args.class_weights,
        method=args.method,
        mondrian=args.mondrian,
        report=args.report,
    )
    show(paragraph([*report_lines(done.card), *remark_lines(done.remarks)]))
    say(
        f"  kept      {done.version}, the {done.role}; {time.monotonic() - started_s:.0f} s",
        **{name: {"version": done.version, "role": done.role, **done.counts}},
    )
    if done.role != "champion":
        show(f"  Make it the champion: sonic models --promote {name} {done.version}")
    if args.report:
        show(f"  report    {args.report}")
    return 0


def remark_lines(remarks: Sequence[Remark]) -> list[str]:
    """Format remarks as lines that follow those of `report_lines`."""
    return [f"  {remark.topic:9} {remark.text}" for remark in remarks]


def report_lines(card: dict) -> list[str]:
    """Describe a model and its scores in a few lines."""
    metrics, coverage = card["metrics"], card["coverage"]
    columns = card["columns"]
    used = [f"{len(columns[role])} {role}" for role in ROLES if columns[role]]
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
    is_genre = card["task"] == CLASSIFICATION
    genres = f", {counted(len(card['classes']), 'genre')}" if is_genre else ""
    for prefix, rows in (("cv_", "folds"), ("", "held out")):
        songs = counted(metrics[f"{prefix}n"], "song")
        lines.append(f"  {rows:9} {_scores(metrics, is_genre, prefix)} ({songs}{genres})")
    if without := card["without_texts"]:
        lines.append(f"  no texts  {_scores(without, is_genre)} (the same held-out songs)")
    for row in coverage:
        width = (
            f"{row['mean_size']:.2f} genres on average, {row['share_single']:.0%} single, "
            + _empty(row)
            if is_genre
            else f"mean width {quantity(row['mean_width'], decimals=1)}"
        )
        lines.append(
            f"  {'sets' if is_genre else 'intervals':9} {row['confidence']:.0%}: coverage "
            f"{row['n_covered'] / row['n']:.1%}, {width}"
        )
    top = ", ".join(f"{feature} {share:.0%}" for feature, share in card["importances"][:6])
    return [*lines, f"  most      {top}"] if top else lines


def _empty(row: dict) -> str:
    empty = f"{row['share_empty']:.0%} empty"
    if not row["share_empty"]:
        return empty
    return f"{empty}; with these filled, as predict does: {row['n_covered_filled'] / row['n']:.1%}"


def _scores(metrics: dict, is_genre: bool, prefix: str = "") -> str:
    if is_genre:
        names = {"F1-micro": "f1_micro", "macro": "f1_macro", "log-loss": "log_loss"}
        return ", ".join(f"{text} {metrics[prefix + name]:.3f}" for text, name in names.items())
    r2, rmse, mae = (metrics[prefix + name] for name in ("r2", "rmse", "mae"))
    return f"R2 {r2:.3f}, RMSE {quantity(rmse, decimals=2)}, MAE {quantity(mae, decimals=2)}"
