"""Find the songs that a model was trained on."""

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
    """Songs that a model was trained on (song_id), and a remark if the snapshot is purged."""

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
    """Find the songs of a source that a model was trained on.

    Reads the snapshot that its card names. If that has been purged, returns the current rows that a
    training would use, some of which may be newer. `by_judge` is as in
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
    except (PySparkException, Py4JJavaError):  # the log or files of the version are gone
        found = _training_songs(tables.read(spark, warehouse, FEATURES), card, by_judge)
        text = "its training rows have been purged; in_training is based on the current rows"
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
    """Add `in_training`: whether the model was trained on the song."""
    return predicted.join(
        known.select("song_id", F.lit(True).alias("in_training")), "song_id", "left"
    ).withColumn("in_training", F.coalesce("in_training", F.lit(False)))
