"""Store models in MLflow.

A model is the registered model ``sonic-<name>``.  MLflow numbers its versions, and the aliases
``champion`` and ``challenger`` are MLflow's own: ``models:/sonic-genre@champion`` is the model that
predicts.  The pipeline has MLflow's Spark flavour and a signature; the card is an artifact of the
run that made it.

A version is registered after its pipeline and card are stored, and an alias is moved in one
transaction, so a run that dies at any point does not change the champion.  MLflow keeps no history
of aliases; tags of the registered model do, one per change.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

import sonic_lib
from sonic_lib.errors import ConfigError, ModelError, SetupError, install_command
from sonic_lib.models.loading import load_pipeline
from sonic_lib.models.registry import cards
from sonic_lib.spark.filesystem import hadoop_path
from sonic_lib.spark.uris import absolute, is_local
from sonic_lib.storage.run_rows import time_id

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from pyspark.ml import PipelineModel
    from pyspark.sql import SparkSession

_TRACKING_URI = "MLFLOW_TRACKING_URI"
_SQLITE = "sqlite:///"
_EXPERIMENT = "sonic-signature"
_HISTORY = "sonic.aliases."
_CARD, _PIPELINE = "card.json", "pipeline"
_SPARK_PART = "sparkml"  # where MLflow's Spark flavour keeps a pipeline


def tracking_uri(warehouse: str) -> str:
    """Return MLFLOW_TRACKING_URI if it is set, else that of a SQLite file in the warehouse.

    Raises
    ------
    ConfigError
        If the warehouse is not a local folder and MLFLOW_TRACKING_URI is not set.
    """
    if given := os.environ.get(_TRACKING_URI):
        return given
    if not is_local(warehouse):
        raise ConfigError(
            f"MLflow cannot keep its database in {warehouse}: it needs a local folder. Set "
            f"{_TRACKING_URI} to your tracking server, or models.registry to directory."
        )
    return f"{_SQLITE}{absolute(warehouse)}/_mlflow/mlflow.db"


class MlflowStore:
    """A `registry.Store` in MLflow; versions are MLflow's numbers."""

    def __init__(self, spark: SparkSession, warehouse: str) -> None:
        self._spark = spark
        self.root = tracking_uri(warehouse)

    def save(self, name: str, *, model: PipelineModel, card: dict) -> str:
        """Save a model with its card, signature and metrics, and return the new version."""
        root = self.root
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

    def load(self, name: str, version: str) -> PipelineModel:
        """Load a pipeline.

        Not with MLflow's own function, which puts code stored beside the model on Python's path.
        """
        with _store(self.root) as client:
            # The artifact itself: MLflow copies a models:/ URI each time and leaves the copy.
            uri = client.get_model_version_download_uri(_full(name), version)
            with _downloaded(self._spark, uri, self.root) as pipeline:
                return load_pipeline(self._spark, pipeline)

    def card(self, name: str, version: str) -> dict | None:
        """Return the card of a version, or None."""
        from mlflow.exceptions import MlflowException

        with _store(self.root) as client:
            try:
                made = client.get_model_version(_full(name), version)
            except MlflowException:
                return None
            return _read_card(client, name, made)

    def cards(self, name: str) -> list[dict]:
        """Return the cards of all versions, oldest first."""
        with _store(self.root) as client:
            found = client.search_model_versions(f"name = '{_full(name)}'", max_results=10_000)
            read = [_read_card(client, name, made) for made in found]
        return sorted((card for card in read if card), key=lambda card: int(card["version"]))

    def history(self, name: str) -> list[dict]:
        """Return all changes of aliases, oldest first; the last are MLflow's current aliases."""
        with _store(self.root) as client:
            registered = _registered(client, name)
        if registered is None:
            return []
        tags = sorted((k, v) for k, v in registered.tags.items() if k.startswith(_HISTORY))
        history = [entry for _, value in tags if (entry := cards.read(value)) is not None]
        now = {role: _version(registered.aliases, role) for role in ("champion", "challenger")}
        before = history[-1] if history else {}
        if any(before.get(role) != version for role, version in now.items()):
            history.append(now | {"at": None, "why": "set in MLflow"})
        return history

    def set_aliases(self, name: str, change: Callable[[list[dict]], dict]) -> dict:
        """Move MLflow's aliases that `change` changes, then add a tag for the history."""
        history = self.history(name)
        last = history[-1] if history else {}
        entry = change(history)
        with _store(self.root) as client:
            # Aliases first: `history` notices a change without a tag, but not the reverse.
            for role in ("champion", "challenger"):
                if entry[role] == last.get(role):  # another program may have moved it since
                    continue
                if entry[role] is not None:
                    client.set_registered_model_alias(_full(name), role, entry[role])
                else:
                    client.delete_registered_model_alias(_full(name), role)
            key = _HISTORY + time_id(datetime.fromisoformat(entry["at"]))
            client.set_registered_model_tag(_full(name), key, json.dumps(entry))
        return entry


def signature(card: dict):
    """Describe the inputs and outputs of a model.

    Parameters
    ----------
    card : dict
        Its columns and task are read.

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
        # MLflow would otherwise infer them by loading the model in another process.
        pip_requirements=[f"sonic-signature[models]=={sonic_lib.__version__}"],
        dfs_tmpdir=_temporary(root),
    )


@contextmanager
def _downloaded(spark: SparkSession, uri: str, root: str) -> Iterator[str]:
    """Yield a URI of a pipeline that every machine of the cluster can read."""
    from mlflow.artifacts import download_artifacts
    from mlflow.environment_variables import MLFLOW_DFS_TMP

    if _folder(root):  # nothing is copied
        place = download_artifacts(artifact_uri=uri, tracking_uri=root)
        yield f"file://{place.rstrip('/')}/{_SPARK_PART}"  # Spark takes "%20" literally
        return
    with tempfile.TemporaryDirectory() as folder:
        place = download_artifacts(artifact_uri=uri, tracking_uri=root, dst_path=folder)
        here = f"file://{place.rstrip('/')}/{_SPARK_PART}"
        if spark.sparkContext.master.startswith("local"):
            yield here
            return
        copy = f"{MLFLOW_DFS_TMP.get()}/{uuid.uuid4().hex}"
        filesystem, path = hadoop_path(spark, copy)
        filesystem.copyFromLocalFile(spark._jvm.org.apache.hadoop.fs.Path(here), path)
        try:
            yield copy
        finally:
            filesystem.delete(path, True)


def _read_card(client: MlflowClient, name: str, made) -> dict | None:
    """Read a card; None for a version that another program registered."""
    from mlflow.exceptions import MlflowException

    try:
        _check_card(client, made.run_id)
        with tempfile.TemporaryDirectory() as folder:
            file = client.download_artifacts(made.run_id, _CARD, folder)
            card = cards.read(Path(file).read_text(encoding="utf-8", errors="replace"))
    except (MlflowException, OSError):
        return None
    if card is None:
        return None
    at = datetime.fromtimestamp(made.creation_timestamp / 1000, timezone.utc)
    return card | {"name": name, "version": str(made.version), "created_at": at.isoformat()}


def _check_card(client: MlflowClient, run_id: str) -> None:
    """Reject a card that is too large, before it is copied to this machine."""
    from mlflow.utils.file_utils import local_file_uri_to_path

    place = client.get_run(run_id).info.artifact_uri
    if urlparse(place).scheme in ("", "file"):
        file = Path(local_file_uri_to_path(place), _CARD)
        if os.path.lexists(file):  # MLflow lists a pipe as an empty file
            cards.check_size(file.stat().st_size if file.is_file() else None, str(file))
        return
    for found in client.list_artifacts(run_id):
        if found.path == _CARD:
            # Some servers do not tell sizes.
            cards.check_size(None if found.is_dir else found.file_size or 0, f"{place}/{_CARD}")


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


def _version(aliases: dict, role: str) -> str | None:
    return str(aliases[role]) if role in aliases else None


def _folder(root: str) -> Path | None:
    """Folder of a local database; None for a tracking server."""
    return Path(root.removeprefix(_SQLITE)).parent if root.startswith(_SQLITE) else None


def _temporary(root: str) -> str | None:
    """Where Spark writes a pipeline for MLflow; None means MLFLOW_DFS_TMP."""
    folder = _folder(root)
    return str(folder / "_temporary") if folder else None


@contextmanager
def _store(root: str) -> Iterator[MlflowClient]:
    """Yield a client of a store, without changing MLflow's global tracking URI."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # no data about models may leave
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
            f"MLflow at {root} refused: {error.message} Check that it can be reached and "
            "written to, or set models.registry to directory."
        ) from error
