"""The target of a training: from a wide frame to `_label`; DataFrame -> DataFrame."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from sonic_lib.models.columns import CLASSIFICATION, Columns
from sonic_lib.models.preprocess import usable
from sonic_lib.models.stages import LABEL
from sonic_lib.spark.columns import column


def class_counts(frame: DataFrame, *, target: str) -> DataFrame:
    """Count the rows of each class: label (string), n; rows without a class are ignored."""
    label = _class_name(target).alias("label")
    return (
        frame.select(label)
        .filter("label IS NOT NULL")
        .groupBy("label")
        .agg(F.count("*").alias("n"))
    )


def labelled(frame: DataFrame, *, columns: Columns, classes: Sequence[str]) -> DataFrame:
    """Add `_label`, the number of the class or the target; rows without one are dropped."""
    if columns.task == CLASSIFICATION:
        places = F.array(*map(F.lit, classes))
        place = F.array_position(places, _class_name(columns.target))
        label = F.when(place > 0, place - 1).cast("double")
    else:
        label = usable(column(columns.target).cast("double"))
    return frame.withColumn(LABEL, label).filter(F.col(LABEL).isNotNull())


def _class_name(target: str) -> Column:
    name = F.trim(column(target).cast("string"))
    # Of a number, as users write it.
    is_number = F.typeof(column(target)) != "string"
    return F.when(is_number, F.regexp_replace(name, r"\.0$", "")).otherwise(name)
