"""Train challengers; one that is significantly better becomes the champion."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pyspark.ml import PipelineModel
from pyspark.sql import SparkSession

from sonic_lib.config import Config
from sonic_lib.errors import UsageError
from sonic_lib.models import training
from sonic_lib.models.columns import UNWANTED
from sonic_lib.models.estimators import AUTO, BOOSTED
from sonic_lib.models.registry import NAMES
from sonic_lib.storage import runs
from sonic_lib.workflows.comparison import MAX_P, compare_models
from sonic_lib.workflows.fitting import TrainedModel
from sonic_lib.workflows.known_songs import known_songs
from sonic_lib.workflows.recommendation import (
    MODEL_NAME,
    RecommendationTraining,
    repeat_recommendations,
)
from sonic_lib.workflows.remarks import Remark
from sonic_lib.workflows.sources import registry_of
from sonic_lib.workflows.training import check_choices, keep_version, train_and_examine
from sonic_lib.workflows.training_sets import TrainingSet, training_set

ALL_NAMES = (*NAMES, MODEL_NAME)


class Retraining(NamedTuple):
    """The outcome for one model.

    Attributes
    ----------
    name : str
    version : str or None
        None in a dry run.
    is_better : bool
        Significantly better than the champion, or there was none; promoted unless in a dry run.
    comparison : str
        The scores and the test behind it.
    card : dict
    remarks : list of Remark
        As in `training.Training`, and any limits of the comparison.
    counts : dict of str to float
        The metrics, p_value, promoted, seconds.
    """

    name: str
    version: str | None
    is_better: bool
    comparison: str
    card: dict
    remarks: list[Remark]
    counts: dict[str, float]


class PassedOver(NamedTuple):
    """A model that was skipped because there is no data for it."""

    name: str
    reason: str


def retrain_models(
    spark: SparkSession,
    config: Config,
    names: Sequence[str],
    *,
    source: str | None,
    kind: str | None,
    n_folds: int | None,
    seed: int | None,
    dry_run: bool,
) -> Iterator[Retraining | RecommendationTraining | PassedOver]:
    """Retrain models one after the other, with the options of their champions.

    Parameters and errors are those of `Warehouse.retrain`.

    Yields
    ------
    Retraining, RecommendationTraining or PassedOver
        Each as soon as it is done.
    """
    check_names(names)
    check_choices(kind=kind, n_folds=n_folds)
    for name in names or ALL_NAMES:
        if name == MODEL_NAME:
            if not dry_run:
                yield repeat_recommendations(spark, config, source)
            continue
        try:
            done = _retrain(
                spark,
                config,
                name,
                source=source,
                kind=kind,
                n_folds=n_folds,
                seed=seed,
                dry_run=dry_run,
            )
        except UsageError as error:
            if names:
                raise
            yield PassedOver(name, str(error))
        else:
            yield done


def check_names(names: Sequence[str]) -> None:
    """Check model names.

    Raises
    ------
    UsageError
        If one is unknown.
    """
    if unknown := sorted(set(names) - set(ALL_NAMES)):
        raise UsageError(f"MODEL {', '.join(unknown)}: expected some of {', '.join(ALL_NAMES)}.")


def _retrain(
    spark: SparkSession,
    config: Config,
    name: str,
    *,
    source: str | None,
    kind: str | None,
    n_folds: int | None,
    seed: int | None,
    dry_run: bool,
) -> Retraining:
    started_s = time.monotonic()
    registry = registry_of(spark, config)
    has_champion = registry.aliases(name).get("champion") is not None
    model, card = registry.load(name) if has_champion else (None, {})
    choices = _choices(card, source=source, kind=kind, seed=seed)
    with (
        runs.recorded(spark, config.warehouse, job=f"retrain {name}", config=config) as this_run,
        training_set(spark, config.warehouse, name=name, **choices) as data,
    ):
        conformal = card.get("conformal", {})
        trained, remarks = train_and_examine(
            data,
            n_folds=n_folds or card.get("n_folds", 5),
            method=conformal.get("method", "lac") if data.recipe.classes else "lac",
            mondrian=conformal.get("mondrian", False),
            limits=card.get("limits_given"),
        )
        p_value, comparison = 0.0, "there was no champion"
        if model is not None:
            p_value, comparison, limits = _compare(spark, config, model, card, data, trained)
            remarks = [*limits, *remarks]
        is_better = p_value < MAX_P
        this_run.counts.update(
            trained.card["metrics"],
            p_value=p_value,
            promoted=float(is_better and not dry_run),
            seconds=time.monotonic() - started_s,
        )
        version = None
        if not dry_run:
            why = f"retrained: {comparison}"
            version, _ = keep_version(registry, name, trained, is_better=is_better, why=why)
        training.release(trained.model)
    counts = dict(this_run.counts)
    return Retraining(name, version, is_better, comparison, trained.card, remarks, counts)


def _compare(
    spark: SparkSession,
    config: Config,
    champion: PipelineModel,
    card: dict,
    data: TrainingSet,
    trained: TrainedModel,
) -> tuple[float, str, list[Remark]]:
    """Compare a challenger with its champion; also returns remarks on limits of the comparison."""
    known = known_songs(
        spark,
        config.warehouse,
        features=data.rows,
        card=card,
        source=data.source,
        by_judge=True,
    )
    p_value, comparison = compare_models(
        champion, card, data=data, trained=trained, known=known.songs
    )
    known.songs.unpersist()
    return p_value, comparison, [known.remark] if known.remark else []


def _choices(card: dict, *, source: str | None, kind: str | None, seed: int | None) -> dict:
    """Return the options of the champion that its challengers inherit."""
    chosen, snapshot = card.get("columns", {}), card.get("snapshot", {})
    return {
        "source": source or snapshot.get("source"),
        "labels": snapshot.get("labels"),
        "target": chosen.get("target"),
        "group": chosen.get("group"),
        "drop": [c for c, why in chosen.get("dropped", {}).items() if why == UNWANTED],
        "keep": chosen.get("kept", ()),
        "kind": kind or card.get("kind", BOOSTED if card else AUTO),
        "seed": card.get("seed", 0) if seed is None else seed,
        "class_weights": card.get("class_weights", False),
    }
