"""Out-of-fold mean encoding of categories by the target.

A training row is encoded from the other folds only, so that its own target does not leak; other
rows from all folds. Rare categories are shrunk towards the overall mean (D. Micci-Barreca, A
preprocessing scheme for high-cardinality categorical attributes, 2001).

Statistics have one row per category, not per song, and stay distributed.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.ml import Estimator
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from sonic_lib.models.encoding import names
from sonic_lib.models.exploration.aggregates import items
from sonic_lib.models.stages import FOLD, KEY, LABEL, StoredModel, fold_or_none
from sonic_lib.spark.columns import column

SMOOTHING = 3.0  # shrinkage: a category with this many songs is halfway to the overall mean
_ITEM = ("name", "item")


class TargetEncoder(Estimator):
    """Fits the statistics of each category.

    Parameters
    ----------
    encoded, lists : sequence of str
        Text columns; columns of lists, such as ``['bebop', 'swing']``.
    n_classes : int
        0 for a regression.
    output : str
        Name of the array that the model adds.
    counts_only : bool
        Whether the columns `encoded` only add their number of songs.
    """

    def __init__(
        self,
        encoded: Sequence[str],
        lists: Sequence[str],
        *,
        n_classes: int,
        output: str,
        counts_only: bool = False,
    ) -> None:
        super().__init__()
        self.settings: dict = {
            "encoded": list(encoded),
            "lists": list(lists),
            "n_classes": n_classes,
            "output": output,
            "counts_only": counts_only,
            "smoothing": SMOOTHING,
        }

    def _fit(self, frame: DataFrame) -> TargetEncoderModel:
        prior = target_prior(frame, n_classes=self.settings["n_classes"])
        statistics = frame.transform(
            category_sums,
            encoded=self.settings["encoded"],
            lists=self.settings["lists"],
            n_classes=self.settings["n_classes"],
        )
        return TargetEncoderModel(self.settings | {"prior": prior}, statistics.persist())


class TargetEncoderModel(StoredModel):
    """Adds an array of double: per column its encodings and the number of songs behind them.

    For a classification the share of each class, averaged over the items of lists; for a regression
    the mean target, and for lists the mean, minimum and maximum over their items.
    """

    def _transform(self, frame: DataFrame) -> DataFrame:
        given = self.settings
        entries = frame.select(
            KEY,
            fold_or_none(frame).alias(FOLD),
            F.inline(category_items(given["encoded"], given["lists"])),
        )
        sums = F.col("totals")
        own = F.try_element_at("folds", F.col(FOLD))
        others = F.when(own.isNull(), sums).otherwise(
            F.zip_with(sums, own, lambda total, part: total - part)
        )
        encodings = (
            entries.join(self.statistics, list(_ITEM))
            .select(KEY, "name", others.alias("sums"))
            .select(
                KEY, "name", self._smoothed("sums").alias("encoding"), _n_songs(given).alias("n")
            )
            .groupBy(KEY)
            .agg(F.collect_list(F.struct("name", "encoding", "n")).alias("_encodings"))
        )
        found = [self._summary(name, is_list=False) for name in given["encoded"]]
        found += [self._summary(name, is_list=True) for name in given["lists"]]
        # Sums of doubles differ in the last bits from run to run; rounded to floats they do not.
        rounded = F.concat(*found).cast("array<float>").cast("array<double>")
        return (
            frame.join(encodings, KEY, "left")
            .withColumn(given["output"], rounded)
            .drop("_encodings")
        )

    def entry_names(self, classes: Sequence[str]) -> list[str]:
        """Name the entries, by the names of the classes."""
        given = self.settings
        return names.target_encoded(
            given["encoded"], given["lists"], classes=classes, counts_only=given["counts_only"]
        )

    def _smoothed(self, sums: str) -> Column:
        prior, weight = self.settings["prior"], self.settings["smoothing"]
        if self.settings["n_classes"]:
            n = F.aggregate(sums, F.lit(0.0), lambda total, part: total + part)
            pseudo = F.array(*(F.lit(weight * share) for share in prior))
            return F.zip_with(sums, pseudo, lambda part, extra: (part + extra) / (n + weight))
        return F.array(
            (F.get(sums, F.lit(1)) + weight * prior[0]) / (F.get(sums, F.lit(0)) + weight)
        )

    def _summary(self, name: str, *, is_list: bool) -> Column:
        """Column: the encodings of one column and the songs behind them."""
        prior = F.array(*map(F.lit, self.settings["prior"]))
        own = F.filter(F.coalesce("_encodings", F.array()), lambda one: one["name"] == name)
        encodings = F.transform(own, lambda one: one["encoding"])
        n_songs = F.coalesce(F.array_max(F.transform(own, lambda one: one["n"])), F.lit(0.0))
        if not is_list and self.settings["counts_only"]:
            return F.array(n_songs)
        if not is_list:
            return F.concat(F.coalesce(F.get(encodings, F.lit(0)), prior), F.array(n_songs))
        # Sorted, so that the order of summation is fixed.
        encodings = F.array_sort(F.when(F.size(encodings) > 0, encodings).otherwise(F.array(prior)))
        zeros = F.array(*(F.lit(0.0) for _ in self.settings["prior"]))
        total = F.aggregate(
            encodings, zeros, lambda sums, one: F.zip_with(sums, one, lambda a, b: a + b)
        )
        parts = [F.transform(total, lambda part: part / F.size(encodings))]
        if not self.settings["n_classes"]:
            parts += [F.array_min(encodings), F.array_max(encodings)]
        return F.concat(*parts, F.array(n_songs))


def target_prior(frame: DataFrame, *, n_classes: int) -> list[float]:
    """Return the share of each class, or the mean target as the only entry."""
    if not n_classes:
        return [float(frame.agg(F.avg(LABEL)).first()[0])]
    counts = dict(frame.groupBy(LABEL).count().collect())
    n_rows = sum(counts.values())
    return [counts.get(float(label), 0) / n_rows for label in range(n_classes)]


def category_items(encoded: Sequence[str], lists: Sequence[str]) -> Column:
    """Column: array of (name, item), all categories that a row is in."""

    def named(name: str, values: Column) -> Column:
        pairs = F.transform(
            values, lambda item: F.struct(F.lit(name).alias("name"), item.alias("item"))
        )
        return F.filter(pairs, lambda pair: pair["item"].isNotNull())

    singles = [named(name, F.array(column(name))) for name in encoded]
    several = [named(name, F.array_distinct(items(name))) for name in lists]
    return F.concat(*singles, *several)


def category_sums(
    frame: DataFrame, *, encoded: Sequence[str], lists: Sequence[str], n_classes: int
) -> DataFrame:
    """Sum the targets of each category, over all rows and in each fold.

    Returns
    -------
    DataFrame
        name, item, totals (array of double: songs of each class; or the number of songs, and the
        sum of their targets), folds (the same by fold).
    """
    entries = frame.select(
        fold_or_none(frame).alias(FOLD), LABEL, F.inline(category_items(encoded, lists))
    ).filter(F.col(FOLD).isNotNull())
    if n_classes:
        counts = entries.groupBy(*_ITEM, FOLD, LABEL).agg(F.count("*").cast("double").alias("n"))
        by_label = F.map_from_entries(F.collect_list(F.struct(F.col(LABEL).cast("int"), "n")))
        labels = F.sequence(F.lit(0), F.lit(n_classes - 1))
        sums = F.transform(
            labels, lambda label: F.coalesce(F.try_element_at("_counts", label), F.lit(0.0))
        )
        by_fold = counts.groupBy(*_ITEM, FOLD).agg(by_label.alias("_counts"))
        by_fold = by_fold.select(*_ITEM, FOLD, sums.alias("sums"))
    else:
        sums = F.array(F.count("*").cast("double"), F.sum(LABEL))
        by_fold = entries.groupBy(*_ITEM, FOLD).agg(sums.alias("sums"))
    zeros = F.array(*(F.lit(0.0) for _ in range(n_classes or 2)))
    totals = F.aggregate(
        F.transform(F.array_sort(F.map_entries("folds")), lambda fold: fold["value"]),
        zeros,
        lambda total, part: F.zip_with(total, part, lambda a, b: a + b),
    )
    folds = F.map_from_entries(F.collect_list(F.struct(FOLD, "sums")))
    return by_fold.groupBy(*_ITEM).agg(folds.alias("folds")).withColumn("totals", totals)


def _n_songs(settings: dict) -> Column:
    if settings["n_classes"]:
        return F.aggregate("sums", F.lit(0.0), lambda total, part: total + part)
    return F.get("sums", F.lit(0))
