"""Which songs of a source a model has learned from."""

from __future__ import annotations

from typing import NamedTuple

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.models.membership import training_songs
from sonic_lib.schemas import FEATURES
from sonic_lib.storage import tables
from sonic_lib.workflows.remarks import Remark


class KnownSongs(NamedTuple):
    """Songs that a model learned from (song_id), and a remark if those of then are purged."""

    songs: DataFrame
    remark: Remark | None = None


def known_songs(
    spark: SparkSession,
    warehouse: str,
    *,
    features: DataFrame,
    card: dict,
    source: str,
    by_judge: bool = False,
) -> KnownSongs:
    """Find the songs of a source that a model learned from.

    They are those of the snapshot that its card names. Once that has been purged, they are those of
    the present rows which a training would take: some may have come later. `by_judge` as in
    `membership.training_songs`.
    """
    snapshot = card["snapshot"]
    if snapshot["source"] != source:
        return KnownSongs(features.select("song_id").limit(0))
    version = snapshot["features_version"]
    try:
        of_then = tables.read(spark, warehouse, FEATURES, version=version)
        found = _training_songs(of_then, card, by_judge).persist()
        found.count()
    except (PySparkException, Py4JJavaError):  # of the log, or of files that are gone
        found = _training_songs(tables.read(spark, warehouse, FEATURES), card, by_judge)
        text = "the rows it learned from are purged: in_training is as of today"
        return KnownSongs(found, Remark(card["name"], text))
    return KnownSongs(found)


def _training_songs(stored: DataFrame, card: dict, by_judge: bool) -> DataFrame:
    snapshot = card["snapshot"]
    labels = snapshot.get("labels")
    return training_songs(
        stored.filter(F.col("source") == snapshot["source"]),
        card=card,
        labels=stored.filter(F.col("source") == labels) if labels else None,
        by_judge=by_judge,
    )


def marked(predicted: DataFrame, *, known: DataFrame) -> DataFrame:
    """Add `in_training`: whether the song is among those that the model learned from."""
    return predicted.join(
        known.select("song_id", F.lit(True).alias("in_training")), "song_id", "left"
    ).withColumn("in_training", F.coalesce("in_training", F.lit(False)))
