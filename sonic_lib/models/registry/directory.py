"""Store models in a folder per version, below any URI that Spark's Hadoop reads.

::

    <root>/<name>/<version>/pipeline/    the fitted pyspark.ml pipeline
    <root>/<name>/<version>/card.json    the card; written last: without it there is no version
    <root>/<name>/aliases/00000001.json  champion and challenger; the latest one counts

Nothing is overwritten, so a run that dies at any point does not change the champion: a version
without a card is ignored, and so is an incomplete alias file.  The alias files are also the history
for `rollback`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from py4j.protocol import Py4JJavaError

from sonic_lib.errors import ModelError
from sonic_lib.models.loading import load_pipeline
from sonic_lib.models.registry import cards
from sonic_lib.spark.filesystem import entries_in, hadoop_path, size_of
from sonic_lib.storage.locks import writing_by_spark
from sonic_lib.storage.run_rows import time_id

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import SparkSession

_ALIASES = "aliases"


class DirectoryStore:
    """A `registry.Store` below `<warehouse>/_models`.

    A version is a `time_id`, so versions sort by age.
    """

    def __init__(self, spark: SparkSession, warehouse: str) -> None:
        self._spark = spark
        self.root = f"{warehouse.rstrip('/')}/_models"

    def save(self, name: str, *, model: PipelineModel, card: dict) -> str:
        """Save a model and its card, and return the new version."""
        now = datetime.now(timezone.utc)
        version = time_id(now)
        model.write().save(self._pipeline(name, version))
        full_card = card | {"name": name, "version": version, "created_at": now.isoformat()}
        _write(self._spark, f"{self.root}/{name}/{version}/card.json", full_card)
        return version

    def load(self, name: str, version: str) -> PipelineModel:
        """Load a pipeline."""
        return load_pipeline(self._spark, self._pipeline(name, version))

    def card(self, name: str, version: str) -> dict | None:
        """Return the card of a version, or None."""
        if not cards.is_version(version):
            return None
        card = _read(self._spark, f"{self.root}/{name}/{version}/card.json")
        return card if card is not None and card.get("version") == version else None

    def cards(self, name: str) -> list[dict]:
        """Return the cards of all versions, oldest first."""
        folders = sorted(_children(self._spark, f"{self.root}/{name}"))
        return [card for folder in folders if (card := self.card(name, folder)) is not None]

    def history(self, name: str) -> list[dict]:
        """Return all changes of aliases, oldest first."""
        folder = f"{self.root}/{name}/{_ALIASES}"
        files = sorted(_children(self._spark, folder))
        entries = (_read(self._spark, f"{folder}/{file}") for file in files)
        return [entry for entry in entries if entry is not None]

    def set_aliases(self, name: str, change: Callable[[list[dict]], dict]) -> dict:
        """Write the next alias file: what `change` makes of the history."""
        folder = f"{self.root}/{name}/{_ALIASES}"
        # Hadoop's local filesystem has no exclusive creation: one of two writes could be lost.
        with writing_by_spark(self._spark, self.root, f"{name}-{_ALIASES}"):
            stems = (file.partition(".")[0] for file in _children(self._spark, folder))
            numbers = [int(stem) for stem in stems if stem.isdecimal()]
            entry = change(self.history(name))
            _write(self._spark, f"{folder}/{max(numbers, default=0) + 1:08}.json", entry)
            return entry

    def _pipeline(self, name: str, version: str) -> str:
        return f"{self.root}/{name}/{version}/pipeline"


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
    """Read a JSON file; None if it is missing or incomplete.

    Raises
    ------
    ModelError
        If it is far too large, or not a regular file.
    """
    filesystem, path = hadoop_path(spark, uri)
    if not filesystem.exists(path):
        return None
    cards.check_size(size_of(spark, uri), uri)
    stream = filesystem.open(path)
    try:
        text = bytes(stream.readNBytes(cards.MAX_BYTES)).decode(errors="replace")
    except Py4JJavaError as error:
        if error.java_exception.getClass().getSimpleName() == "ChecksumException":
            return None
        raise
    finally:
        stream.close()
    return cards.read(text)


def _children(spark: SparkSession, uri: str) -> list[str]:
    return [entry.getPath().getName() for entry in entries_in(spark, uri)]
