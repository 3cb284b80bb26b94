"""Train a model, save it with its card, and make the first version the champion."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from pyspark.ml import PipelineModel
from pyspark.sql import SparkSession

from sonic_lib.config import Config
from sonic_lib.errors import ReportError, UsageError
from sonic_lib.models.estimators import KINDS, check_kind
from sonic_lib.models.registry import NAMES, ModelRegistry
from sonic_lib.models.training import release
from sonic_lib.spark.sentences import sentence
from sonic_lib.storage import creation, runs
from sonic_lib.workflows.examination import examine
from sonic_lib.workflows.fitting import TrainedModel, train_and_evaluate
from sonic_lib.workflows.remarks import Remark
from sonic_lib.workflows.sources import registry_of
from sonic_lib.workflows.training_sets import TrainingSet, limits_of, training_set


class Training(NamedTuple):
    """Result of `train_model`.

    Attributes
    ----------
    name, version : str
    role : str
        ``champion`` if it is the first version, else ``challenger``.
    model : PipelineModel
    card : dict
        As stored in the registry: metrics, coverage, columns, importances, ….
    remarks : list of Remark
        Columns that leak the target, and held-out songs that are also in the training set.
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
    source: str | None,
    labels: str | None,
    target: str | None,
    group: str | None,
    drop: Collection[str],
    keep: Collection[str],
    limits: Sequence[float] | None,
    kind: str,
    n_folds: int,
    seed: int,
    class_weights: bool,
    method: str,
    mondrian: bool,
    report: str | None,
) -> Training:
    """Train on a snapshot of a source, calibrate, evaluate, and save a version.

    Parameters and errors are those of `Warehouse.train`.
    """
    if name not in NAMES:
        raise UsageError(f"MODEL {name!r}: expected one of {', '.join(NAMES)}.")
    check_choices(kind=kind, n_folds=n_folds, limits=limits)
    started_s = time.monotonic()
    creation.create_for_models(spark, config.warehouse)
    registry = registry_of(spark, config)
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
        ) as data,
    ):
        trained, remarks = train_and_examine(
            data, n_folds=n_folds, method=method, mondrian=mondrian, limits=limits
        )
        version, role = keep_version(registry, name, trained, why="trained")
        seconds = time.monotonic() - started_s
        this_run.counts.update(trained.card["metrics"], seconds=seconds)
        failure = _write_report(trained, report) if report else None
        release(trained.model)
    if failure is not None:  # the run is recorded as done: the version is there, and is used
        why = failure.strerror if isinstance(failure, OSError) else None
        raise ReportError(
            f"Version {version} of {name} was saved and is the {role}, but report {report!r} "
            f"(--report) could not be written: {why or sentence(failure)}. The version can be used "
            "as it is; for a report, train again and give a folder that can be written to."
        ) from failure
    counts = dict(this_run.counts)
    return Training(name, version, role, trained.model, trained.card, remarks, counts)


def _write_report(trained: TrainedModel, folder: str) -> Exception | None:
    """Write the report of a model; return why it failed, if it did."""
    from sonic_lib.report import model_report  # loads matplotlib

    try:
        model_report.write(trained.held_out, trained.card, Path(folder))
    except Exception as error:
        return error
    return None


def train_and_examine(
    data: TrainingSet,
    *,
    n_folds: int,
    method: str,
    mondrian: bool,
    limits: Sequence[float] | None,
) -> tuple[TrainedModel, list[Remark]]:
    """Train and evaluate a model, and examine its training set.

    Parameters
    ----------
    limits : (float, float) or None
        As given by the user.
    """
    trained = train_and_evaluate(
        data,
        n_folds=n_folds,
        method=method,
        mondrian=mondrian,
        limits=limits_of(data, limits),
    )
    trained.card.update(n_folds=n_folds, limits_given=limits)
    return trained, examine(data, trained)


def keep_version(
    registry: ModelRegistry, name: str, trained: TrainedModel, *, is_better: bool = False, why: str
) -> tuple[str, str]:
    """Save a model, which becomes the champion if it is better, or if there is none yet.

    Returns
    -------
    version, role : str
    """
    version = registry.save(name, model=trained.model, card=trained.card)
    if is_better or not registry.aliases(name).get("champion"):
        registry.promote(name, version, why=why)
        return version, "champion"
    registry.challenge(name, version, why=why)
    return version, "challenger"


def check_choices(
    *, kind: str | None, n_folds: int | None, limits: Sequence[float] | None = None
) -> None:
    """Check the options of a training; None means not given.

    Raises
    ------
    UsageError
        If one is not valid.
    SetupError
        If a package is missing for the kind.
    """
    if kind is not None:
        if kind not in KINDS:
            raise UsageError(f"kind {kind!r} (--model): expected one of {', '.join(KINDS)}.")
        check_kind(kind)
    if n_folds is not None and n_folds < 2:
        raise UsageError(f"n_folds {n_folds} (--folds): expected 2 or more.")
    if limits is not None and not limits[0] < limits[1]:
        low, high = limits
        raise UsageError(f"limits {low:g} {high:g} (--limits): expected the lower one first.")
