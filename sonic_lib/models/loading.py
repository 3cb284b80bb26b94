"""Load a pipeline without trusting its metadata.

Spark ML imports any class that a stage's metadata names, and XGBoost unpickles what it finds there,
so anyone who can write to a warehouse could run code as the user who loads a model.  Here only
classes that our training saves are accepted, and nothing is unpickled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sonic_lib.errors import MODELS, ModelError, SetupError, install_command
from sonic_lib.models.guard import content_of
from sonic_lib.models.tabular.boosters import check_booster
from sonic_lib.spark.filesystem import literal, sizes_in

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import SparkSession

# Class names in metadata -> Python module.
_CLASSES = {
    **{
        f"sonic_lib.models.{module}.{name}": f"sonic_lib.models.{module}"
        for module, name in (
            ("encoding.kernel_target", "LocalEncoderModel"),
            ("encoding.target", "TargetEncoderModel"),
            ("estimators", "Difficulty"),
            ("estimators", "Probabilities"),
            ("preprocess", "Assembler"),
            ("preprocess", "PreparationModel"),
            ("tabular.stage", "TabularModel"),
        )
    },
    "org.apache.spark.ml.classification.RandomForestClassificationModel": (
        "pyspark.ml.classification"
    ),
    "org.apache.spark.ml.regression.RandomForestRegressionModel": "pyspark.ml.regression",
    "xgboost.spark.estimator.SparkXGBClassifierModel": "xgboost.spark",
    "xgboost.spark.estimator.SparkXGBRegressorModel": "xgboost.spark",
}
_PIPELINE = "pyspark.ml.pipeline.PipelineModel"
# XGBoost parameters: a pickle, the address of another machine, the path of another booster.
_REFUSED = ("serialized_callbacks", "coll_cfg", "init_booster")
_MAX_BYTES = 1 << 30
_TEXT, _TABLE = re.compile(r"part-[\w-]+(\.txt)?"), re.compile(r"part-[\w-]+(\.\w+)?\.parquet")
# The folders of a stage, and what Spark names the files in them.
_FILES = {"metadata": _TEXT, "model": _TEXT, "data": _TABLE, "treesMetadata": _TABLE}
# Files that no reader takes for data: checksums, and what Spark and Databricks leave when done.
_MARK = re.compile(r"\..+\.crc|_SUCCESS|_(started|committed)_\d+")
_UID = re.compile(r"[\w-]+")


def load_pipeline(spark: SparkSession, path: str) -> PipelineModel:
    """Load a pipeline that `sonic train` or `sonic retrain` saved.

    Parameters
    ----------
    path : str
        Folder of the pipeline, on any filesystem that Hadoop reads.

    Raises
    ------
    ModelError
        If it has a stage that our training never saves, or parameters that could run code.
    """
    with content_of(f"The model in {path}"):
        return _load(spark, path)


def _load(spark: SparkSession, path: str) -> PipelineModel:
    from pyspark.ml import PipelineModel

    metadata = _metadata(spark, path)
    uids = metadata.get("paramMap", {}).get("stageUids")
    if metadata["class"] != _PIPELINE or not isinstance(uids, list):
        raise _refused(path, f"it is a {metadata['class']}, expected a {_PIPELINE}")
    digits = len(str(len(uids)))
    stages = []
    for place, uid in enumerate(uids):
        if not (isinstance(uid, str) and _UID.fullmatch(uid)):
            raise _refused(path, f"a stage is named {uid!r}")
        stage = f"{path}/stages/{place:0{digits}}_{uid}"
        kind = _checked_class(spark, stage)
        try:
            module = import_module(_CLASSES[kind])
        except ImportError as error:
            raise SetupError(
                f"The model in {path} needs {kind.partition('.')[0]}, which is not installed here: "
                f"{install_command(*MODELS)}."
            ) from error
        _check_trees(spark, stage, kind)
        stages.append(getattr(module, kind.rpartition(".")[2]).load(literal(stage)))
    return PipelineModel(stages)


def _check_files(spark: SparkSession, stage: str) -> None:
    """Check the files of a stage, or of the pipeline, before Spark reads whatever is there.

    Spark would decompress files by their names, enter folders like ``a=1``, and wait at pipes.
    """
    for folder, pattern in _FILES.items():
        sizes = sizes_in(spark, f"{stage}/{folder}")
        for name, size_bytes in sizes.items():
            if size_bytes is None or not (pattern.fullmatch(name) or _MARK.fullmatch(name)):
                raise _refused(stage, f"{folder}/{name} is not a file that our training writes")
        n_bytes = sum(size_bytes or 0 for size_bytes in sizes.values())
        if n_bytes > _MAX_BYTES:
            why = f"{folder}/ has {n_bytes:,} bytes, expected {_MAX_BYTES:,} at most"
            raise _refused(stage, why)


def _check_trees(spark: SparkSession, stage: str, kind: str) -> None:
    """Check boosted trees before XGBoost's own reader loads them."""
    if not kind.startswith("xgboost."):
        return
    lines = spark.read.text(literal(f"{stage}/model")).collect()
    booster = json.loads("".join(row.value for row in lines))
    n_features = int(booster["learner"]["learner_model_param"]["num_feature"])
    check_booster(booster, n_features=n_features)


def _checked_class(spark: SparkSession, stage: str) -> str:
    metadata = _metadata(spark, stage)
    kind = metadata["class"]
    if kind not in _CLASSES:
        raise _refused(stage, f"it is a {kind}, which our training never saves")
    for name in _REFUSED:
        if name in metadata or name in metadata.get("paramMap", {}):
            raise _refused(stage, f"it has {name}, which our training never sets")
    return kind


def _metadata(spark: SparkSession, path: str) -> Mapping[str, Any]:
    """Metadata of a stage as Spark ML reads them: the first line of the files in its folder."""
    from pyspark.errors import PySparkException

    try:
        _check_files(spark, path)
        lines = [row.value for row in spark.read.text(literal(f"{path}/metadata")).take(2)]
        metadata = json.loads(lines[0])
    except (PySparkException, OSError, ValueError, IndexError, RecursionError) as error:
        raise ModelError(
            f"The model in {path} cannot be read: its metadata is missing or damaged. "
            "Train it again, or go back with `sonic models --rollback`."
        ) from error
    if (
        len(lines) > 1
        or not isinstance(metadata, dict)
        or not isinstance(metadata.get("class"), str)
    ):
        raise _refused(path, "its metadata is not a single line that names a class")
    return metadata


def _refused(place: str, why: str) -> ModelError:
    return ModelError(
        f"The model in {place} is refused: {why}. It was not written by Sonic Signature, and "
        "loading it could run untrusted code. Check who can write there, and train the model again."
    )
