"""Train a model, keep it with its card, and make the first of its name the champion."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from pyspark.ml import PipelineModel
from pyspark.sql import SparkSession

from sonic_lib.config import Config
from sonic_lib.errors import UsageError
from sonic_lib.models.conformal.sets import METHODS
from sonic_lib.models.estimators import AUTO, KINDS, check_kind
from sonic_lib.models.registry.directory import NAMES
from sonic_lib.models.training import release
from sonic_lib.report import model_report
from sonic_lib.storage import runs, tables
from sonic_lib.workflows.examination import examine
from sonic_lib.workflows.fitting import TrainedModel, train_and_evaluate
from sonic_lib.workflows.remarks import Remark
from sonic_lib.workflows.sources import registry_of
from sonic_lib.workflows.training_sets import TrainingSet, limits_of, training_set


class Training(NamedTuple):
    """What `train_model` made.

    Attributes
    ----------
    name, version : str
    role : str
        ``champion``, which serves, if it is the first of its name; else ``challenger``.
    model : PipelineModel
    card : dict
        What the registry keeps with it: metrics, coverage, columns, importances, ….
    remarks : list of Remark
        Columns that give the target away, and held-out songs that are in training, too.
    counts : dict of str to float
        The metrics, and seconds.
    """

    name: str
    version: str
    role: str
    model: PipelineModel
    card: dict
    remarks: list[Remark]
    counts: dict[str, float]


def train_model(
    spark: SparkSession,
    config: Config,
    name: str,
    *,
    source: str | None = None,
    labels: str | None = None,
    target: str | None = None,
    group: str | None = None,
    drop: Collection[str] = (),
    keep: Collection[str] = (),
    limits: Sequence[float] | None = None,
    kind: str = AUTO,
    n_folds: int = 5,
    seed: int = 0,
    class_weights: bool = False,
    method: str = METHODS[0],
    mondrian: bool = False,
    report: str | None = None,
) -> Training:
    """Train on a snapshot of a source, calibrate, judge, and save a version.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    source, labels : str, optional
        Features, and a source whose columns are added to them.
    target : str, optional
        Column to learn; by default named like the model.
    group : str, optional
        Column: rows with one value stay on one side of all splits.
    drop, keep : collection of str
        Columns to leave out, and to use although they seem to give the target away.
    limits : (float, float), optional
        Between which a number lies; by default as seen in the table.
    kind : str
        Of `models.estimators.KINDS`.
    n_folds, seed : int
    class_weights : bool
        Let rare classes count as much as others.
    method, mondrian
        As in `models.conformal.sets`.
    report : str, optional
        Folder for tables and figures of the held-out rows.

    Raises
    ------
    UsageError
        If an argument will not do, or a column or source is not there.
    ModelError
        If there is too little to learn from.
    """
    if name not in NAMES:
        raise UsageError(f"MODEL {name!r}: expected one of {', '.join(NAMES)}.")
    check_choices(kind=kind, n_folds=n_folds, limits=limits)
    started_s = time.monotonic()
    tables.create_for_models(spark, config.warehouse)
    registry, root = registry_of(config)
    with (
        runs.recorded(spark, config.warehouse, job=f"train {name}", config=config) as this_run,
        training_set(
            spark,
            config.warehouse,
            name=name,
            source=source,
            labels=labels,
            target=target,
            group=group,
            drop=drop,
            keep=keep,
            kind=kind,
            seed=seed,
            class_weights=class_weights,
        ) as given,
    ):
        trained, remarks = train_and_examine(
            spark,
            config.warehouse,
            given,
            n_folds=n_folds,
            method=method,
            mondrian=mondrian,
            limits=limits,
        )
        version = registry.save(spark, root, name, model=trained.model, card=trained.card)
        is_first = not registry.aliases(spark, root, name).get("champion")
        appoint = registry.promote if is_first else registry.challenge
        appoint(spark, root, name, version, why="trained")
        this_run.counts.update(trained.card["metrics"])
        this_run.counts["seconds"] = time.monotonic() - started_s
        if report:
            model_report.write(trained.held_out, trained.card, Path(report))
        release(trained.model)
    role = "champion" if is_first else "challenger"
    return Training(
        name, version, role, trained.model, trained.card, remarks, dict(this_run.counts)
    )


def train_and_examine(
    spark: SparkSession,
    warehouse: str,
    given: TrainingSet,
    *,
    n_folds: int,
    method: str,
    mondrian: bool,
    limits: Sequence[float] | None,
) -> tuple[TrainedModel, list[Remark]]:
    """Train and evaluate, and put into the card what was chosen and what is odd.

    Parameters
    ----------
    limits : (float, float) or None
        As somebody chose them.
    """
    trained = train_and_evaluate(
        given,
        n_folds=n_folds,
        method=method,
        mondrian=mondrian,
        limits=limits_of(given, limits),
    )
    trained.card.update(n_folds=n_folds, limits_given=limits)
    return trained, examine(spark, warehouse, given, trained)


def check_choices(
    *, kind: str | None, n_folds: int | None, limits: Sequence[float] | None = None
) -> None:
    """Refuse choices that cannot work; None stands for one that is not made.

    Raises
    ------
    UsageError, SetupError
        If so, or if a package is missing for the kind.
    """
    if kind is not None:
        if kind not in KINDS:
            raise UsageError(f"--model {kind!r}: expected one of {', '.join(KINDS)}.")
        check_kind(kind)
    if n_folds is not None and n_folds < 2:
        raise UsageError(f"--folds {n_folds}: expected 2 or more.")
    if limits is not None and not limits[0] < limits[1]:
        low, high = limits
        raise UsageError(f"--limits {low:g} {high:g}: expected the lower one first.")
