"""Find the songs that a model was trained on."""

from __future__ import annotations

from typing import NamedTuple

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.models.membership import (
    ALL_ROWS,
    HELD_OUT_COLUMN,
    labelled_rows,
    with_held_out,
)
from sonic_lib.schemas import FEATURES
from sonic_lib.storage import tables
from sonic_lib.workflows.remarks import Remark
from sonic_lib.workflows.training_sets import held_out_parts


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
    training would use, some of which may be newer.

    Parameters
    ----------
    features : DataFrame [schemas.FEATURES]
        Rows of the source.
    card : dict
        From the registry.
    by_judge : bool
        For a model that was refitted on all rows: find the training songs of its evaluation model,
        which is the one used to compare versions.
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
    rows = stored.filter(F.col("source") == snapshot["source"]).transform(
        labelled_rows,
        card=card,
        labels=stored.filter(F.col("source") == labels) if labels else None,
    )
    if card.get("fitted_on") == ALL_ROWS and not by_judge:
        return rows.select("song_id")
    group, parts = card["columns"]["group"], None
    if "fitted_on" in card:  # earlier versions split groups by hash only
        parts = held_out_parts(rows, group=group, has_classes=bool(card["classes"]))
    split = rows.transform(with_held_out, group=group, parts=parts)
    return split.filter(~F.col(HELD_OUT_COLUMN)).select("song_id")


def marked(predicted: DataFrame, *, known: DataFrame) -> DataFrame:
    """Add `in_training`: whether the model was trained on the song."""
    return predicted.join(
        known.select("song_id", F.lit(True).alias("in_training")), "song_id", "left"
    ).withColumn("in_training", F.coalesce("in_training", F.lit(False)))
