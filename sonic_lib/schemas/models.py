"""The tables of features, predictions and recommendations."""

from __future__ import annotations

from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DoubleType,
    IntegerType,
    LongType,
    MapType,
    StringType,
    StructType,
    TimestampType,
)

from sonic_lib.schemas.declaration import Table, column
from sonic_lib.schemas.index import SONG_FILES

FEATURES = Table(
    "features",
    "One row per song or feature-table row, with its descriptors by name.",
    StructType(
        [
            column("source", StringType(), "audio, or the feature table's name; the partition"),
            column("song_id", LongType(), "Key within the source; for audio the one in songs"),
            column("source_key", StringType(), "Path of the audio, or the row's id in its table"),
            column(
                "numbers",
                MapType(StringType(), DoubleType()),
                "Descriptors by name; their units are in docs/features.md",
            ),
            column("texts", MapType(StringType(), StringType()), "Title, artist, genre, dates …"),
            column("feature_version", IntegerType(), "Version of the descriptors; 0 for CSV rows"),
            column("run_id", StringType(), "Run that computed it"),
            column("computed_at", TimestampType(), "When it was computed (UTC)"),
        ]
    ),
    ("source",),
)

FEATURE_FILES = Table(
    "feature_files",
    "One row per path seen by a features run, including rejected files.",
    SONG_FILES.schema,
)

FEATURE_REJECTS = Table(
    "feature_rejects",
    "One row per rejected feature-table row.",
    StructType(
        [
            column("source", StringType(), "The feature table's name; the partition"),
            column("record", StringType(), "The row as given"),
            column("error", StringType(), "Why it was rejected"),
            column("run_id", StringType(), "Run that read it"),
            column("rejected_at", TimestampType(), "When it was read (UTC)"),
        ]
    ),
    ("source",),
)

FEATURE_CELLS = Table(
    "feature_cells",
    "One row per feature-table row: its cells as given, to write them back unchanged.",
    StructType(
        [
            column("source", StringType(), "As in features; the partition"),
            column("song_id", LongType(), "As in features"),
            column("file", StringType(), "The CSV file of the row"),
            column("split_bytes", LongType(), "Start of the part of the file that a task read"),
            column("place", LongType(), "Position of the row in that part; rows are sorted by it"),
            column(
                "cells",
                MapType(StringType(), StringType()),
                "Every cell by column name, in the order of the file",
            ),
            column("run_id", StringType(), "Run that read it"),
        ]
    ),
    ("source",),
)

PREDICTIONS = Table(
    "predictions",
    "One row per song and model: the champion's prediction, and how certain it is.",
    StructType(
        [
            column("model", StringType(), "genre or popularity; the partition"),
            column("model_version", StringType(), "Version of the champion that predicted it"),
            column("source", StringType(), "As in features"),
            column("song_id", LongType(), "As in features"),
            column("source_key", StringType(), "As in features"),
            column("genre", StringType(), "The most likely genre"),
            column("genre_probability", DoubleType(), "Its probability by the model"),
            column(
                "genre_set",
                ArrayType(StringType()),
                "Contains the true genre with the stated confidence; most likely first",
            ),
            column(
                "genre_probabilities",
                MapType(StringType(), DoubleType()),
                "Probability of every genre by the model; null unless requested",
            ),
            column("popularity", DoubleType(), "Expected popularity (0-100 in Spotify tables)"),
            column("popularity_low", DoubleType(), "Lower end of the interval"),
            column("popularity_high", DoubleType(), "Upper end of the interval"),
            column("confidence", DoubleType(), "Target coverage of the sets or intervals"),
            column(
                "in_training",
                BooleanType(),
                "Whether the model was trained on this row, on which it is more certain and more "
                "accurate than on others",
            ),
            column("run_id", StringType(), "Run that predicted it"),
            column("predicted_at", TimestampType(), "When it was predicted (UTC)"),
        ]
    ),
    ("model",),
)

RECOMMENDATIONS = Table(
    "recommendations",
    "One row per song and rank: the most similar songs.",
    StructType(
        [
            column("source", StringType(), "As in features; the partition"),
            column("song_id", LongType(), "The song"),
            column("rank", IntegerType(), "1 for the most similar"),
            column("recommended_song_id", LongType(), "A similar song of the same source"),
            column("similarity", DoubleType(), "Cosine of their standardised features, -1 to 1"),
            column("model_version", StringType(), "Run that computed it"),
        ]
    ),
    ("source",),
)
