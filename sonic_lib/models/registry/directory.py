"""Where models are kept: a folder for each version, below any URI that Spark's Hadoop reads.

::

    <root>/<name>/<version>/pipeline/    the fitted pyspark.ml pipeline
    <root>/<name>/<version>/card.json    what it is; written last: without it there is no version
    <root>/<name>/aliases/00000001.json  who is champion and challenger; the latest one counts

Nothing is overwritten, so a run that dies at any point leaves the champion that was: a version
without its card is not seen, and an alias file that is not whole is passed over for the one
before it.  The alias files are also the history that `rollback` goes back in.
"""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from py4j.protocol import Py4JJavaError

from sonic_lib.errors import ModelError
from sonic_lib.models.loading import load_pipeline
from sonic_lib.spark.filesystem import hadoop_path
from sonic_lib.storage.locks import writing_by_spark

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import SparkSession

NAMES = ("genre", "popularity")
_ALIASES = "aliases"


def root(warehouse: str) -> str:
    """Where the models of a warehouse are."""
    return f"{warehouse.rstrip('/')}/_models"


def save(spark: SparkSession, root: str, name: str, *, model: PipelineModel, card: dict) -> str:
    """Keep a fitted model.

    Parameters
    ----------
    root : str
        The registry's folder or URI.
    name : str
        What the model is for, such as genre.
    card : dict
        What `load` is to give back with it; values that JSON knows.

    Returns
    -------
    str
        Its version: the time (UTC) and eight random digits, so that versions sort by age.
    """
    now = datetime.now(timezone.utc)
    version = f"{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"
    model.write().save(f"{root}/{name}/{version}/pipeline")
    told = card | {"name": name, "version": version, "created_at": now.isoformat()}
    _write(spark, f"{root}/{name}/{version}/card.json", told)
    return version


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
    card = _read(spark, f"{root}/{name}/{version}/card.json")
    if card is None:
        raise no_version(name, root, version, cards=versions(spark, root, name))
    return load_pipeline(spark, f"{root}/{name}/{version}/pipeline"), card


def versions(spark: SparkSession, root: str, name: str) -> list[dict]:
    """Cards of all versions, the oldest first."""
    folders = sorted(_children(spark, f"{root}/{name}"))
    cards = (_read(spark, f"{root}/{name}/{folder}/card.json") for folder in folders)
    return [card for card in cards if card is not None]


def aliases(spark: SparkSession, root: str, name: str) -> dict:
    """Return the versions that are champion and challenger, since when (at) and why."""
    history = alias_history(spark, root, name)
    return history[-1] if history else {}


def alias_history(spark: SparkSession, root: str, name: str) -> list[dict]:
    """All that was said of aliases, the oldest first."""
    files = sorted(_children(spark, f"{root}/{name}/{_ALIASES}"))
    said = (_read(spark, f"{root}/{name}/{_ALIASES}/{file}") for file in files)
    return [entry for entry in said if entry is not None]


def promote(spark: SparkSession, root: str, name: str, version: str, *, why: str) -> None:
    """Make a version the champion.

    Raises
    ------
    ModelError
        If there is no such version.
    """
    _check_version(spark, root, name, version)
    now = aliases(spark, root, name)
    challenger = now.get("challenger")
    _say(
        spark,
        *(root, name),
        {"champion": version, "challenger": None if challenger == version else challenger},
        why=why,
    )


def challenge(spark: SparkSession, root: str, name: str, version: str, *, why: str) -> None:
    """Make a version the challenger, which serves nobody.

    Raises
    ------
    ModelError
        If there is no such version.
    """
    _check_version(spark, root, name, version)
    champion = aliases(spark, root, name).get("champion")
    _say(spark, root, name, {"champion": champion, "challenger": version}, why=why)


def rollback(spark: SparkSession, root: str, name: str) -> str:
    """Make the champion before the present one the champion again; return its version.

    Raises
    ------
    ModelError
        If there was none.
    """
    history = alias_history(spark, root, name)
    left, back = last_two_champions(history, name=name, root=root)
    said = {"champion": back, "challenger": history[-1].get("challenger"), "rolled_back": left}
    _say(spark, root, name, said, why=f"rolled back from {left}")
    return back


def last_two_champions(history: list[dict], *, name: str, root: str) -> tuple[str, str]:
    """Give the champion and the one before it, without those that were rolled back.

    Raises
    ------
    ModelError
        If there are no two.
    """
    line: list[str] = []
    for entry in history:
        champion = entry.get("champion")
        if entry.get("rolled_back"):
            line = line[:-1]
        elif champion and line[-1:] != [champion]:
            line.append(champion)
    if len(line) < 2:
        raise ModelError(
            f"There is no champion of {name} before the present one "
            f"({line[-1] if line else 'none'}) in {root}, so nothing to go back to."
        )
    return line[-1], line[-2]


def no_champion(name: str, root: str) -> ModelError:
    """Say that nobody serves yet, and what to do."""
    return ModelError(
        f"There is no champion of {name} in {root}. "
        f"Train one with `sonic train {name}`, or name another --warehouse."
    )


def no_version(name: str, root: str, version: str, *, cards: list[dict]) -> ModelError:
    """Say that there is no such version, and which there are."""
    known = ", ".join(card["version"] for card in cards) or "none"
    return ModelError(f"There is no version {version} of {name} in {root}; there is {known}.")


def _check_version(spark: SparkSession, root: str, name: str, version: str) -> None:
    cards = versions(spark, root, name)
    if version not in [card["version"] for card in cards]:
        raise no_version(name, root, version, cards=cards)


def _say(spark: SparkSession, root: str, name: str, entry: dict, *, why: str) -> None:
    folder = f"{root}/{name}/{_ALIASES}"
    at = datetime.now(timezone.utc).isoformat()
    # Hadoop's local files know no exclusive creation: of two runs one would be unsaid.
    with writing_by_spark(spark, root, f"{name}-{_ALIASES}"):
        numbers = [int(file.partition(".")[0]) for file in _children(spark, folder)]
        number = max(numbers, default=0) + 1
        _write(spark, f"{folder}/{number:08}.json", entry | {"at": at, "why": why})


def _write(spark: SparkSession, uri: str, content: dict) -> None:
    filesystem, path = hadoop_path(spark, uri)
    try:
        stream = filesystem.create(path, False)
    except Py4JJavaError as error:
        raise ModelError(
            f"{uri} could not be written: {error.java_exception.getMessage()}. If another run "
            "wrote it at the same time, run this one again."
        ) from error
    try:
        stream.write(bytearray(json.dumps(content, indent=1).encode()))
    finally:
        stream.close()


def _read(spark: SparkSession, uri: str) -> dict | None:
    """Return None for a file that is not there or not whole."""
    filesystem, path = hadoop_path(spark, uri)
    if not filesystem.exists(path):
        return None
    stream = filesystem.open(path)
    try:
        text = spark._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8")
    except Py4JJavaError as error:
        if error.java_exception.getClass().getSimpleName() == "ChecksumException":
            return None
        raise
    finally:
        stream.close()
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def _children(spark: SparkSession, uri: str) -> list[str]:
    filesystem, path = hadoop_path(spark, uri)
    if not filesystem.exists(path):
        return []
    return [entry.getPath().getName() for entry in filesystem.listStatus(path)]
