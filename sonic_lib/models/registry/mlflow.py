"""Models kept in MLflow: the functions of `registry`, over a tracking store.

A model is the registered model ``sonic-<name>``, its versions are numbered by MLflow, and the
aliases ``champion`` and ``challenger`` are MLflow's own, so ``models:/sonic-genre@champion`` is
what serves.  The pipeline has MLflow's Spark flavour and a signature; the card is an artifact of
the run that made it.

A version is registered after its pipeline and its card are there, and an alias is moved in one
transaction, so a run that dies at any point leaves the champion that was.  MLflow does not
remember who had an alias before: tags of the registered model do, one for each change.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import sonic_lib
from sonic_lib.errors import ConfigError, ModelError, SetupError, install_command
from sonic_lib.models.loading import load_pipeline
from sonic_lib.models.registry.directory import last_two_champions, no_champion, no_version
from sonic_lib.spark.filesystem import hadoop_path

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from pyspark.ml import PipelineModel
    from pyspark.sql import SparkSession

NAMES = ("genre", "popularity")
_TRACKING_URI = "MLFLOW_TRACKING_URI"
_SQLITE = "sqlite:///"
_EXPERIMENT = "sonic-signature"
_HISTORY = "sonic.aliases."
_CARD, _PIPELINE = "card.json", "pipeline"
_SPARK_PART = "sparkml"  # where MLflow's Spark flavour keeps a pipeline


def root(warehouse: str) -> str:
    """Give the tracking URI: MLFLOW_TRACKING_URI if it is set, else sqlite in the warehouse.

    Raises
    ------
    ConfigError
        If the warehouse is no local folder and no tracking URI is set.
    """
    if given := os.environ.get(_TRACKING_URI):
        return given
    folder = warehouse.removeprefix("file://")
    if "://" in folder:
        raise ConfigError(
            f"MLflow cannot keep its database in {warehouse}: it needs a local folder. Set "
            f"{_TRACKING_URI} to your tracking server, or models.registry to directory."
        )
    return f"{_SQLITE}{folder.rstrip('/')}/_mlflow/mlflow.db"


def save(spark: SparkSession, root: str, name: str, *, model: PipelineModel, card: dict) -> str:
    """Keep a fitted model, with its signature and its metrics; as `registry.save`.

    Returns
    -------
    str
        Its version: MLflow's number.
    """
    with _store(root) as client:
        run_id = client.create_run(_experiment(client, root), run_name=name).info.run_id
        with tempfile.TemporaryDirectory() as folder:
            _write_pipeline(model, f"{folder}/{_PIPELINE}", root=root, run_id=run_id, card=card)
            client.log_artifacts(run_id, f"{folder}/{_PIPELINE}", _PIPELINE)
        for key in {"task", "kind", "seed"} & set(card):
            client.log_param(run_id, key, card[key])
        for key, value in card.get("metrics", {}).items():
            client.log_metric(run_id, key, value)
        client.log_dict(run_id, card, _CARD)
        client.set_terminated(run_id)
        if _registered(client, name) is None:
            client.create_registered_model(_full(name))
        source = f"{client.get_run(run_id).info.artifact_uri}/{_PIPELINE}"
        return str(client.create_model_version(_full(name), source, run_id).version)


def load(
    spark: SparkSession, root: str, name: str, version: str | None = None
) -> tuple[PipelineModel, dict]:
    """Give a model and its card; the champion's unless a version is named.

    Raises
    ------
    ModelError
        If there is no champion, or no such version.
    """
    if version is None:
        version = aliases(spark, root, name).get("champion")
        if version is None:
            raise no_champion(name, root)
    card = _card(spark, root, name, version)
    with _store(root) as client:
        from mlflow.artifacts import download_artifacts

        # Not by MLflow's own loading, which puts code that lies beside the model on Python's path.
        # The place itself: of models:/… MLflow makes a copy each time, and leaves it.
        place = client.get_model_version_download_uri(_full(name), version)
        here = Path(download_artifacts(artifact_uri=place, tracking_uri=root)) / _SPARK_PART
        return load_pipeline(spark, _for_spark(spark, here, root)), card


def versions(spark: SparkSession, root: str, name: str) -> list[dict]:
    """Cards of all versions, the oldest first."""
    with _store(root) as client:
        found = client.search_model_versions(f"name = '{_full(name)}'", max_results=10_000)
        cards = [_read_card(client, name, made) for made in found]
    return sorted((card for card in cards if card), key=lambda card: int(card["version"]))


def aliases(spark: SparkSession, root: str, name: str) -> dict:
    """Return the versions that are champion and challenger, since when (at) and why."""
    history = alias_history(spark, root, name)
    return history[-1] if history else {}


def alias_history(spark: SparkSession, root: str, name: str) -> list[dict]:
    """All that was said of aliases, the oldest first.

    The last entry is what MLflow says now, whoever said it.
    """
    with _store(root) as client:
        registered = _registered(client, name)
    if registered is None:
        return []
    tags = sorted((k, v) for k, v in registered.tags.items() if k.startswith(_HISTORY))
    history = [json.loads(value) for _, value in tags]
    now = {role: _said(registered.aliases, role) for role in ("champion", "challenger")}
    before = history[-1] if history else {}
    if any(before.get(role) != version for role, version in now.items()):
        history.append(now | {"at": None, "why": "set in MLflow"})
    return history


def promote(spark: SparkSession, root: str, name: str, version: str, *, why: str) -> None:
    """Make a version the champion.

    Raises
    ------
    ModelError
        If there is no such version.
    """
    _card(spark, root, name, version)
    challenger = aliases(spark, root, name).get("challenger")
    kept = None if challenger == version else challenger
    _say(root, name, {"champion": version, "challenger": kept}, why=why)


def challenge(spark: SparkSession, root: str, name: str, version: str, *, why: str) -> None:
    """Make a version the challenger, which serves nobody.

    Raises
    ------
    ModelError
        If there is no such version.
    """
    _card(spark, root, name, version)
    champion = aliases(spark, root, name).get("champion")
    _say(root, name, {"champion": champion, "challenger": version}, why=why)


def rollback(spark: SparkSession, root: str, name: str) -> str:
    """Make the champion before the present one the champion again; return its version.

    Raises
    ------
    ModelError
        If there was none.
    """
    history = alias_history(spark, root, name)
    left, back = last_two_champions(history, name=name, root=root)
    kept = history[-1].get("challenger")
    said = {"champion": back, "challenger": None if kept == back else kept, "rolled_back": left}
    _say(root, name, said, why=f"rolled back from {left}")
    return back


def signature(card: dict):
    """Say what a model reads and gives.

    Parameters
    ----------
    card : dict
        Of it the columns and the task.

    Returns
    -------
    mlflow.models.ModelSignature or None
        Every column may be missing; None if the card names no columns.
    """
    if "columns" not in card:
        return None
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    from sonic_lib.models.columns import CLASSIFICATION, Columns

    numbers, texts = Columns.from_card(card["columns"]).needed
    kinds = [*((name, "double") for name in numbers), *((name, "string") for name in texts)]
    outputs = [ColSpec("double", name) for name in ("prediction", "difficulty")]
    if card["task"] == CLASSIFICATION:
        outputs = [ColSpec(Array(DataType.double), "probabilities")]
    return ModelSignature(
        inputs=Schema([ColSpec(kind, name, required=False) for name, kind in kinds]),
        outputs=Schema(outputs),
    )


def _write_pipeline(
    model: PipelineModel, folder: str, *, root: str, run_id: str, card: dict
) -> None:
    from mlflow.models import Model
    from mlflow.spark import save_model

    save_model(
        model,
        folder,
        mlflow_model=Model(_PIPELINE, run_id),
        signature=signature(card),
        # Else MLflow finds out by loading the model in another process.
        pip_requirements=[f"sonic-signature[models]=={sonic_lib.__version__}"],
        dfs_tmpdir=_temporary(root),
    )


def _for_spark(spark: SparkSession, here: Path, root: str) -> str:
    """Give the URI of a folder of this machine for all machines of the cluster."""
    if _folder(root) or spark.sparkContext.master.startswith("local"):
        return f"file://{here}"  # as Spark takes it: "%20" would be three characters
    from mlflow.environment_variables import MLFLOW_DFS_TMP

    copy = f"{MLFLOW_DFS_TMP.get()}/{uuid.uuid4().hex}"
    filesystem, path = hadoop_path(spark, copy)
    filesystem.copyFromLocalFile(spark._jvm.org.apache.hadoop.fs.Path(f"file://{here}"), path)
    return copy


def _say(root: str, name: str, entry: dict, *, why: str) -> None:
    now = datetime.now(timezone.utc)
    said = json.dumps(entry | {"at": now.isoformat(), "why": why})
    with _store(root) as client:
        # First who serves: a change of which nobody wrote down why is still seen in the alias.
        for role in ("champion", "challenger"):
            if entry[role] is not None:
                client.set_registered_model_alias(_full(name), role, entry[role])
            else:
                client.delete_registered_model_alias(_full(name), role)
        # Two changes in one microsecond are told apart by chance.
        key = f"{_HISTORY}{now:%Y%m%dT%H%M%S.%fZ}-{uuid.uuid4().hex[:8]}"
        client.set_registered_model_tag(_full(name), key, said)


def _card(spark: SparkSession, root: str, name: str, version: str) -> dict:
    cards = versions(spark, root, name)
    for card in cards:
        if card["version"] == version:
            return card
    raise no_version(name, root, version, cards=cards)


def _read_card(client: MlflowClient, name: str, made) -> dict | None:
    """Return None for a version that something else registered."""
    from mlflow.exceptions import MlflowException

    try:
        with tempfile.TemporaryDirectory() as folder:
            file = client.download_artifacts(made.run_id, _CARD, folder)
            card = json.loads(Path(file).read_text(encoding="utf-8"))
    except (MlflowException, OSError):
        return None
    at = datetime.fromtimestamp(made.creation_timestamp / 1000, timezone.utc)
    return card | {"name": name, "version": str(made.version), "created_at": at.isoformat()}


def _registered(client: MlflowClient, name: str):
    found = client.search_registered_models(f"name = '{_full(name)}'")
    return client.get_registered_model(_full(name)) if found else None


def _experiment(client: MlflowClient, root: str) -> str:
    if found := client.get_experiment_by_name(_EXPERIMENT):
        return found.experiment_id
    folder = _folder(root)
    return client.create_experiment(
        _EXPERIMENT, artifact_location=(folder / "artifacts").as_uri() if folder else None
    )


def _full(name: str) -> str:
    return f"sonic-{name}"


def _said(now: dict, role: str) -> str | None:
    return str(now[role]) if role in now else None


def _folder(root: str) -> Path | None:
    """Where a local database is; None for a tracking server, which knows its own places."""
    return Path(root.removeprefix(_SQLITE)).parent if root.startswith(_SQLITE) else None


def _temporary(root: str) -> str | None:
    """Where Spark puts a pipeline for MLflow to fetch; None for what MLFLOW_DFS_TMP says."""
    folder = _folder(root)
    return str(folder / "_temporary") if folder else None


@contextmanager
def _store(root: str) -> Iterator[MlflowClient]:
    """Give a client of a store; what MLflow itself points to stays as it is."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # models are nobody else's business
    try:
        import mlflow
    except ImportError as error:
        raise SetupError(
            "models.registry is mlflow, which is not installed here: "
            f"{install_command('mlflow')}, or set models.registry to directory."
        ) from error
    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    if folder := _folder(root):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield mlflow.MlflowClient(root, root)
    except mlflow.exceptions.MlflowException as error:
        raise ModelError(
            f"MLflow at {root} refused: {error.message} See whether it can be reached and "
            "written to, or set models.registry to directory."
        ) from error
