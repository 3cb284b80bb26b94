"""The schemas of all tables: columns with comments and units, keys, partitioning.

Stored columns are declared only here.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

DATABASE = "sonic"


@dataclass(frozen=True)
class Table:
    """One table of the warehouse."""

    name: str
    comment: str
    schema: StructType
    partitioned_by: tuple[str, ...] = ()


def _column(name: str, kind: DataType, comment: str) -> StructField:
    return StructField(name, kind, True, {"comment": comment})


SONGS = Table(
    "songs",
    "One row per distinct recording. A fingerprint counts only if its song is here.",
    StructType(
        [
            _column("song_id", LongType(), "First 63 bits of content_sha256"),
            _column("content_sha256", StringType(), "SHA-256 of the file's bytes, hexadecimal"),
            _column("title", StringType(), "From the tags, or else the file's name"),
            _column("artist", StringType(), "From the tags"),
            _column("album", StringType(), "From the tags"),
            _column("genre", StringType(), "From the tags"),
            _column("release_year", IntegerType(), "From the tags"),
            _column("duration_s", DoubleType(), "Length of the decoded audio in seconds"),
            _column("sample_rate_hz", IntegerType(), "Sample rate of the file in Hz"),
            _column("codec", StringType(), "Container and codec of the file"),
            _column("n_fingerprints", LongType(), "Rows in fingerprints for this song"),
            _column("run_id", StringType(), "Run that indexed it"),
            _column("indexed_at", TimestampType(), "When it was indexed (UTC)"),
        ]
    ),
)

SONG_FILES = Table(
    "song_files",
    "One row per path seen by an index run, including rejected files.",
    StructType(
        [
            _column("path", StringType(), "Full path or URI of the file; the key"),
            _column("root", StringType(), "The indexed folder in which it was found"),
            _column("song_id", LongType(), "The song in it; null if rejected"),
            _column("size_bytes", LongType(), "Size of the file in bytes"),
            _column("modified_at", TimestampType(), "Last change of the file (UTC)"),
            _column(
                "status",
                StringType(),
                "indexed, duplicate (same bytes as another path) or rejected",
            ),
            _column("stage", StringType(), "Stage of the rejection: open, decode or content"),
            _column("error", StringType(), "Why it was rejected"),
            _column("run_id", StringType(), "Run that last read it"),
            _column("seen_at", TimestampType(), "When it was last read (UTC)"),
            _column("note", StringType(), "Parts of it that could not be used; null if none"),
        ]
    ),
)

FINGERPRINTS = Table(
    "fingerprints",
    "One row per landmark hash of a song, sorted by (hash, song_id, offset_frames) in each file.",
    StructType(
        [
            _column("hash_prefix", IntegerType(), "The first bits of hash; the partition"),
            _column("hash", LongType(), "40-bit hash of a triangle of three landmarks"),
            _column("song_id", LongType(), "The song it occurs in"),
            _column("offset_frames", IntegerType(), "Position in the song, in frames of 32 ms"),
            _column(
                "descriptor",
                IntegerType(),
                "32 comparisons of saliency around the triangle, one bit each",
            ),
        ]
    ),
    ("hash_prefix",),
)

MATCHES = Table(
    "matches",
    "One row per segment of a clip and candidate song, or per clip without an answer.",
    StructType(
        [
            _column("run_id", StringType(), "Run that identified the clip"),
            _column("run_date", DateType(), "Date of the run (UTC); the partition"),
            _column("clip_path", StringType(), "Full path or URI of the clip"),
            _column("clip_start_s", DoubleType(), "Start of the matched part of the clip (s)"),
            _column("clip_end_s", DoubleType(), "End of the matched part of the clip (s)"),
            _column("rank", IntegerType(), "1 for the best candidate"),
            _column("song_id", LongType(), "The candidate; null if there is none"),
            _column(
                "offset_s", DoubleType(), "Position in the song of the part's first sample (s)"
            ),
            _column("speed", DoubleType(), "Seconds of the song per second of the clip"),
            _column("n_votes", LongType(), "Hashes that agree on this song and offset"),
            _column("score", DoubleType(), "Evidence beyond chance; comparable across clips"),
            _column("p_value", DoubleType(), "Probability that an unknown clip scores this high"),
            _column("accepted", BooleanType(), "Whether the candidate is accepted as the answer"),
            _column("pitch", DoubleType(), "Frequencies in the clip over those in the song"),
            _column("error", StringType(), "Why the clip could not be read; else null"),
            _column("note", StringType(), "Parts of the clip that could not be used; else null"),
        ]
    ),
    ("run_date",),
)

RUNS = Table(
    "runs",
    "One row per job run.",
    StructType(
        [
            _column("run_id", StringType(), "The run"),
            _column("job", StringType(), "The command"),
            _column("status", StringType(), "running, done or failed"),
            _column("started_at", TimestampType(), "Start (UTC)"),
            _column("ended_at", TimestampType(), "End (UTC); null while running or if killed"),
            _column(
                "counts",
                MapType(StringType(), DoubleType()),
                "Counts of what it read, wrote, rejected",
            ),
            _column("config", StringType(), "The configuration, with options if recorded, as JSON"),
            _column("code_version", StringType(), "Version of Sonic Signature"),
        ]
    ),
)

# ---- models ----

FEATURES = Table(
    "features",
    "One row per song or feature-table row, with its descriptors by name.",
    StructType(
        [
            _column("source", StringType(), "audio, or the feature table's name; the partition"),
            _column("song_id", LongType(), "Key within the source; for audio the one in songs"),
            _column("source_key", StringType(), "Path of the audio, or the row's id in its table"),
            _column(
                "numbers",
                MapType(StringType(), DoubleType()),
                "Descriptors by name; their units are in docs/features.md",
            ),
            _column("texts", MapType(StringType(), StringType()), "Title, artist, genre, dates …"),
            _column("feature_version", IntegerType(), "Version of the descriptors; 0 for CSV rows"),
            _column("run_id", StringType(), "Run that computed it"),
            _column("computed_at", TimestampType(), "When it was computed (UTC)"),
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
            _column("source", StringType(), "The feature table's name; the partition"),
            _column("record", StringType(), "The row as given"),
            _column("error", StringType(), "Why it was rejected"),
            _column("run_id", StringType(), "Run that read it"),
            _column("rejected_at", TimestampType(), "When it was read (UTC)"),
        ]
    ),
    ("source",),
)

FEATURE_CELLS = Table(
    "feature_cells",
    "One row per feature-table row: its cells as given, to write them back unchanged.",
    StructType(
        [
            _column("source", StringType(), "As in features; the partition"),
            _column("song_id", LongType(), "As in features"),
            _column("file", StringType(), "The CSV file of the row"),
            _column("split_bytes", LongType(), "Start of the part of the file that a task read"),
            _column("place", LongType(), "Position of the row in that part; rows are sorted by it"),
            _column(
                "cells",
                MapType(StringType(), StringType()),
                "Every cell by column name, in the order of the file",
            ),
            _column("run_id", StringType(), "Run that read it"),
        ]
    ),
    ("source",),
)

PREDICTIONS = Table(
    "predictions",
    "One row per song and model: the champion's prediction, and how certain it is.",
    StructType(
        [
            _column("model", StringType(), "genre or popularity; the partition"),
            _column("model_version", StringType(), "Version of the champion that predicted it"),
            _column("source", StringType(), "As in features"),
            _column("song_id", LongType(), "As in features"),
            _column("source_key", StringType(), "As in features"),
            _column("genre", StringType(), "The most likely genre"),
            _column("genre_probability", DoubleType(), "Its probability by the model"),
            _column(
                "genre_set",
                ArrayType(StringType()),
                "Contains the true genre with the stated confidence; most likely first",
            ),
            _column(
                "genre_probabilities",
                MapType(StringType(), DoubleType()),
                "Probability of every genre by the model; null unless requested",
            ),
            _column("popularity", DoubleType(), "Expected popularity (0-100 in Spotify tables)"),
            _column("popularity_low", DoubleType(), "Lower end of the interval"),
            _column("popularity_high", DoubleType(), "Upper end of the interval"),
            _column("confidence", DoubleType(), "Target coverage of the sets or intervals"),
            _column(
                "in_training",
                BooleanType(),
                "Whether the model was trained on this row, on which it is more certain and more "
                "accurate than on others",
            ),
            _column("run_id", StringType(), "Run that predicted it"),
            _column("predicted_at", TimestampType(), "When it was predicted (UTC)"),
        ]
    ),
    ("model",),
)

RECOMMENDATIONS = Table(
    "recommendations",
    "One row per song and rank: the most similar songs.",
    StructType(
        [
            _column("source", StringType(), "As in features; the partition"),
            _column("song_id", LongType(), "The song"),
            _column("rank", IntegerType(), "1 for the most similar"),
            _column("recommended_song_id", LongType(), "A similar song of the same source"),
            _column("similarity", DoubleType(), "Cosine of their standardised features, -1 to 1"),
            _column("model_version", StringType(), "Version of the model that found it"),
        ]
    ),
    ("source",),
)

INDEX_TABLES = (SONGS, SONG_FILES, FINGERPRINTS, MATCHES, RUNS)
MODEL_TABLES = (
    *(FEATURES, FEATURE_FILES, FEATURE_REJECTS, FEATURE_CELLS),
    *(PREDICTIONS, RECOMMENDATIONS, RUNS),
)
TABLES = tuple(dict.fromkeys(INDEX_TABLES + MODEL_TABLES))

# ---- frames between stages; never stored beyond a run ----

FILES = StructType(
    [
        _column("path", StringType(), "Full path or URI"),
        _column("root", StringType(), "The given folder in which it was found"),
        _column("size_bytes", LongType(), "Size in bytes"),
        _column("modified_at", TimestampType(), "Last change (UTC)"),
    ]
)

DIGESTS = StructType(
    [
        *FILES,
        _column("content_sha256", StringType(), "SHA-256 of the bytes; null if unreadable"),
        _column("song_id", LongType(), "First 63 bits of content_sha256"),
        _column("error", StringType(), "Why it could not be read"),
    ]
)

# One row per chunk of a file, with hashes, then one summary row with the other columns.
EXTRACTS = StructType(
    [
        _column("path", StringType(), "The file"),
        *[f for f in SONGS.schema if f.name in ("song_id", "content_sha256")],
        _column("hashes", ArrayType(LongType()), "Hashes of a chunk; null in a summary row"),
        _column("frames", ArrayType(IntegerType()), "Their positions in frames of 32 ms"),
        _column("descriptors", ArrayType(IntegerType()), "Their surroundings, 32 bits each"),
        _column("stage", StringType(), "Where the file was rejected, if it was"),
        _column("error", StringType(), "Why"),
        *[f for f in SONG_FILES.schema if f.name == "note"],
        *[f for f in SONGS.schema if f.name in ("title", "artist", "album", "genre")],
        *[f for f in SONGS.schema if f.name in ("release_year", "duration_s")],
        *[f for f in SONGS.schema if f.name in ("sample_rate_hz", "codec", "n_fingerprints")],
    ]
)

BANDS = StructType(
    [
        *[f for f in SONGS.schema if f.name == "song_id"],
        _column("band_hz", DoubleType(), "Highest filled frequency (Hz); null if unreadable"),
    ]
)

OVERLAPS = StructType(
    [
        *[f for f in SONGS.schema if f.name == "song_id"],
        _column("other_song_id", LongType(), "The other song, with the larger id"),
        _column("overlap_s", DoubleType(), "Seconds of the song that are also in the other"),
        _column("start_s", DoubleType(), "Where the longest passage starts in the song (s)"),
        _column("other_start_s", DoubleType(), "Where it starts in the other (s)"),
        _column("speed", DoubleType(), "Seconds of the other per second of the song"),
        _column("n_votes", LongType(), "Hashes that agree on the passages"),
        _column("p_value", DoubleType(), "Probability that unrelated songs have such a passage"),
    ]
)

FILE_RUNS = StructType(
    [
        _column("file", StringType(), "A data file of the table fingerprints"),
        *[f for f in FINGERPRINTS.schema if f.name == "hash_prefix"],
        _column("split_bytes", LongType(), "Start of the part of the file that a task reads"),
        _column("place", LongType(), "Number of this run of rows in its task"),
        _column("n_rows", LongType(), "Rows of the run"),
        _column("n_descents", LongType(), "Rows that sort before the previous row"),
        _column("first", ArrayType(LongType()), "hash, song_id and offset_frames of its first row"),
        _column("last", ArrayType(LongType()), "The same for its last row"),
    ]
)

# One row per window of a clip, then one summary row.
CLIP_EXTRACTS = StructType(
    [
        _column("path", StringType(), "The clip"),
        _column("window", IntegerType(), "Number of the window; null in a summary row"),
        _column("start_s", DoubleType(), "Start of the window in the clip (s)"),
        _column("end_s", DoubleType(), "End of the window in the clip (s)"),
        _column("queries", BinaryType(), "Its queries, packed by query.window_row"),
        _column("n_queries", IntegerType(), "Number of hashes in queries"),
        *[f for f in EXTRACTS if f.name in ("stage", "error", "note", "duration_s")],
    ]
)

LOOKED_UP = StructType(
    [
        _column("window_id", LongType(), "The window"),
        _column("variant", IntegerType(), "Index in variants.VARIANTS"),
        *[f for f in FINGERPRINTS.schema if f.name == "hash"],
        _column("frame", IntegerType(), "From the window's middle, in frames of the song"),
        _column("detune", FloatType(), "How far above the reference, ln of frequencies"),
        *[f for f in FINGERPRINTS.schema if f.name == "descriptor"],
    ]
)

QUERY_PARTS = StructType(
    [
        _column("part", IntegerType(), "Number of a part of the hashes"),
        _column("window_id", LongType(), "The window"),
        *[f for f in CLIP_EXTRACTS if f.name == "queries"],
    ]
)

HIT_PARTS = StructType(
    [
        _column("window_id", LongType(), "The window"),
        _column("slice", IntegerType(), "Number of a slice of the hashes"),
        _column(
            "hits", BinaryType(), "The hits that it keeps in the slice, packed by join.pack_hits"
        ),
    ]
)

LINES = StructType(
    [
        _column("window_id", LongType(), "xxhash64 of the clip's path and the window's number"),
        _column("rank", IntegerType(), "Rank of the song in the window, from 1"),
        _column("line", IntegerType(), "Number of the song's line, 0 for the best"),
        _column("score", DoubleType(), "How far the song stands out from chance"),
        _column("song_id", LongType(), "The song"),
        _column("evidence", DoubleType(), "Weight of the hits on the line (nats)"),
        _column("offset_s", DoubleType(), "Position of the window's middle in the song (s)"),
        _column("speed", DoubleType(), "Seconds of the song per second of the clip"),
        _column("pitch", DoubleType(), "Frequencies in the clip over those in the song"),
        _column("first_s", DoubleType(), "First hit on the line, from the window's middle (s)"),
        _column("last_s", DoubleType(), "Last hit on the line, from the window's middle (s)"),
        _column("n_votes", LongType(), "Hits on the line"),
    ]
)

_OF_CLIPS = ("run_id", "run_date", "clip_path", "error", "note")
SEGMENTS = StructType(
    [
        _column("path", StringType(), "The clip"),
        *[f for f in MATCHES.schema if f.name not in _OF_CLIPS],
    ]
)

EXCERPTS = StructType(
    [
        _column("clip_path", StringType(), "The clip"),
        _column("clip_audio", BinaryType(), "The matched part of it, a few seconds of MP3"),
        _column("song_audio", BinaryType(), "The passage of the song that it matches"),
        _column("length_s", DoubleType(), "Length of the clip's excerpt (s)"),
        _column("clip_time_s", ArrayType(FloatType()), "Landmarks of the clip's excerpt (s)"),
        _column("clip_khz", ArrayType(FloatType()), "Their frequencies (kHz)"),
        _column("clip_is_shared", ArrayType(BooleanType()), "Whether the song also has it"),
        _column("song_time_s", ArrayType(FloatType()), "Landmarks of the song, in clip time (s)"),
        _column("song_khz", ArrayType(FloatType()), "Their frequencies in the clip (kHz)"),
    ]
)
