"""Compute feature rows from files, and wide frames from feature rows: DataFrame -> DataFrame."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.accumulators import Accumulator
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from sonic_lib.audio.sandbox import Limits, packed
from sonic_lib.audio.spark import DEFAULT_LIMITS, read_in_helpers
from sonic_lib.errors import TableError
from sonic_lib.features.catalog import FEATURE_VERSION
from sonic_lib.schemas import DESCRIPTIONS, FEATURES

KEYS = ("source", "song_id", "source_key")
AUDIO = "audio"  # the source of features computed from files
# YYYY, YYYY-MM or YYYY-MM-DD in groups 1 to 3; of 4/26/2024 or 26.04.2024 only the year in group 5,
# as the order of day and month is unknown; perhaps with a time.
DATE = (
    r"^(?:(\d{4})(?:[-/](\d{1,2})(?:[-/](\d{1,2}))?)?|\d{1,2}([/.-])\d{1,2}\4(\d{4}))"
    r"(?:[T ]\d{1,2}:.*)?$"
)
LIST = r"^\[.*\]$"  # such as ['bebop', 'swing']


def settled_files(known: DataFrame, *, features: DataFrame) -> DataFrame:
    """Return files that need not be read again: rejected, or described by the current version.

    Parameters
    ----------
    known : DataFrame [schemas.FEATURE_FILES]
    features : DataFrame [schemas.FEATURES]
    """
    stored = features.transform(described_songs)
    rejected = known.filter("song_id IS NULL")
    return known.join(stored, "song_id", "left_semi").unionByName(rejected)


def described_songs(features: DataFrame) -> DataFrame:
    """Return songs with audio descriptors of the current version: song_id."""
    is_present = (F.col("source") == AUDIO) & (F.col("feature_version") == FEATURE_VERSION)
    return features.filter(is_present).select("song_id")


def describe_songs(
    songs: DataFrame,
    *,
    min_duration_s: float,
    limits: Limits = DEFAULT_LIMITS,
    n_done: Accumulator | None = None,
) -> DataFrame:
    """Decode every song and compute its descriptors.

    Parameters
    ----------
    songs : DataFrame with path, size_bytes, song_id
    min_duration_s : float
        Shorter files are rejected.
    limits : Limits
        Time and memory that a file may take.
    n_done : Accumulator, optional
        Counts finished files, for a progress bar.

    Returns
    -------
    DataFrame [DESCRIPTIONS]
    """
    from sonic_lib.features.extract import describe_rows  # librosa's kernels, unused in training

    work = packed(describe_rows, min_duration_s=min_duration_s)

    columns = ["path", "size_bytes", "song_id"]
    return songs.select(columns).transform(
        read_in_helpers, work, DESCRIPTIONS, keep=columns, limits=limits, n_done=n_done
    )


def feature_rows(descriptions: DataFrame) -> DataFrame:
    """Return feature rows for the songs that have no error.

    Parameters
    ----------
    descriptions : DataFrame [DESCRIPTIONS]

    Returns
    -------
    DataFrame
        The columns of schemas.FEATURES without run_id and computed_at.
    """
    return descriptions.filter("error IS NULL").select(
        F.lit(AUDIO).alias("source"),
        "song_id",
        F.col("path").alias("source_key"),
        "numbers",
        "texts",
        F.lit(FEATURE_VERSION).alias("feature_version"),
    )


def with_labels(features: DataFrame, *, labels: DataFrame) -> DataFrame:
    """Join a table of labels to songs by their paths.

    Parameters
    ----------
    features, labels : DataFrame [schemas.FEATURES]
        The key of a label is the path of a song or its last components, at least the file name;
        the longest match wins. Values of labels override features of the same name.

    Returns
    -------
    DataFrame
        The features, with the same number of rows.
    """
    kinds = ("numbers", "texts")
    parts = F.split("source_key", "/")
    ends = F.transform(
        F.sequence(F.lit(1), F.size(parts)),
        lambda n: F.array_join(F.slice(parts, -n, n), "/"),
    )
    values = labels.select(
        F.col("source_key").alias("end"), F.struct("numbers", "texts").alias("on")
    )
    best = (
        features.select("song_id", F.explode(ends).alias("end"))
        .join(values, "end")
        .groupBy("song_id")
        .agg(F.max_by("on", F.length("end")).alias("_labels"))
    )

    def pairs(kind: str, given: str) -> Column:
        return F.coalesce(F.col(given), F.create_map().cast(FEATURES.schema[kind].dataType))

    overridden = F.concat(*(F.map_keys(pairs(kind, f"_labels.{kind}")) for kind in kinds))

    def joined(kind: str) -> Column:
        own = F.map_filter(pairs(kind, kind), lambda name, _: ~F.array_contains(overridden, name))
        return F.map_concat(own, pairs(kind, f"_labels.{kind}"))

    return (
        features.join(best, "song_id", "left")
        .withColumns({kind: joined(kind) for kind in kinds})
        .select(*features.columns)
    )


def wide(features: DataFrame, *, numbers: Sequence[str], texts: Sequence[str]) -> DataFrame:
    """Turn named descriptors into columns.

    Parameters
    ----------
    features : DataFrame [schemas.FEATURES]
    numbers, texts : sequence of str
        Names in the maps; null where a row lacks one.

    Returns
    -------
    DataFrame
        source, song_id, source_key, then `numbers` as double and `texts` as string.

    Raises
    ------
    TableError
        If a name is repeated or is a key column's; case is ignored, as in Spark.
    """
    names = [*KEYS, *numbers, *texts]
    lower = [name.lower() for name in names]
    if repeated := sorted({name for name in names if lower.count(name.lower()) > 1}):
        raise TableError(
            f"A wide frame would have two columns named {', '.join(repeated)}; expected "
            f"each name once among numbers and texts, and none of {', '.join(KEYS)}."
        )
    return features.select(
        *KEYS,
        *(F.try_element_at("numbers", F.lit(name)).alias(name) for name in numbers),
        *(F.try_element_at("texts", F.lit(name)).alias(name) for name in texts),
    )


def moments(features: DataFrame) -> DataFrame:
    """Mean and deviation of each number, and the names of texts, in one job.

    Parameters
    ----------
    features : DataFrame [schemas.FEATURES]

    Returns
    -------
    DataFrame
        One row per name and kind: name, kind (number or text; song, without a name, counts all
        rows), n (rows with the name), mean, std (of the population).
    """
    nothing = F.lit(None).cast("double").alias("value")
    numbers = features.select(F.explode("numbers").alias("name", "value"), F.lit("number"))
    texts = features.select(F.explode(F.map_keys("texts")), nothing, F.lit("text"))
    songs = features.select(F.lit(None).cast("string"), nothing, F.lit("song"))
    return (
        numbers.union(texts)
        .union(songs)
        .toDF("name", "value", "kind")
        .groupBy("name", "kind")
        .agg(
            F.count("*").alias("n"),
            F.avg("value").alias("mean"),
            F.stddev_pop("value").alias("std"),
        )
    )


def profile(features: DataFrame) -> DataFrame:
    """List the descriptors of a table.

    Parameters
    ----------
    features : DataFrame [schemas.FEATURES]

    Returns
    -------
    DataFrame
        One row per name and kind: name, kind (number or text), n (rows with a value), n_distinct
        (distinct values, within about 5 %), n_dates and n_lists (texts that look like a DATE or a
        LIST).
    """

    def entries(kind: str):
        def entry(pair):
            # The same type for all values, so that one pass covers both maps.
            value = F.when(pair["value"].isNotNull(), F.xxhash64(pair["value"]))
            looks = [
                F.trim(pair["value"]).rlike(pattern) if kind == "text" else F.lit(False)
                for pattern in (DATE, LIST)
            ]
            fields = (pair["key"], F.lit(kind), value, *looks)
            return F.struct(*fields).cast(f"struct<{names}>")

        names = "name:string,kind:string,value:bigint,is_date:boolean,is_list:boolean"
        pairs = F.transform(F.map_entries(f"{kind}s"), entry)
        return F.coalesce(pairs, F.array().cast(f"array<struct<{names}>>"))

    return (
        features.select(F.inline(F.concat(entries("number"), entries("text"))))
        .groupBy("name", "kind")
        .agg(
            F.count("value").alias("n"),
            F.approx_count_distinct("value").alias("n_distinct"),
            F.count_if("is_date").alias("n_dates"),
            F.count_if("is_list").alias("n_lists"),
        )
    )
