"""Frames between the stages of a job; never stored beyond a run."""

from __future__ import annotations

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    StringType,
    StructType,
    TimestampType,
)

from sonic_lib.schemas.declaration import column
from sonic_lib.schemas.index import FINGERPRINTS, MATCHES, SONG_FILES, SONGS
from sonic_lib.schemas.models import FEATURES, RECOMMENDATIONS

FILES = StructType(
    [
        column("path", StringType(), "Full path or URI"),
        column("root", StringType(), "The given folder in which it was found"),
        column("size_bytes", LongType(), "Size in bytes"),
        column("modified_at", TimestampType(), "Last change (UTC)"),
    ]
)

DIGESTS = StructType(
    [
        *FILES,
        column("content_sha256", StringType(), "SHA-256 of the bytes; null if unreadable"),
        column("song_id", LongType(), "First 63 bits of content_sha256"),
        column("error", StringType(), "Why it could not be read"),
    ]
)

# One row per chunk of a file, with hashes, then one summary row with the other columns.
EXTRACTS = StructType(
    [
        column("path", StringType(), "The file"),
        *[f for f in SONGS.schema if f.name in ("song_id", "content_sha256")],
        column("hashes", ArrayType(LongType()), "Hashes of a chunk; null in a summary row"),
        column("frames", ArrayType(IntegerType()), "Their positions in frames of 32 ms"),
        column("descriptors", ArrayType(IntegerType()), "Their surroundings, 32 bits each"),
        column("stage", StringType(), "Where the file was rejected, if it was"),
        column("error", StringType(), "Why"),
        *[f for f in SONG_FILES.schema if f.name == "note"],
        *[f for f in SONGS.schema if f.name in ("title", "artist", "album", "genre")],
        *[f for f in SONGS.schema if f.name in ("release_year", "duration_s")],
        *[f for f in SONGS.schema if f.name in ("sample_rate_hz", "codec", "n_fingerprints")],
    ]
)

BANDS = StructType(
    [
        *[f for f in SONGS.schema if f.name == "song_id"],
        column("band_hz", DoubleType(), "Highest filled frequency (Hz); null if unreadable"),
    ]
)

OVERLAPS = StructType(
    [
        *[f for f in SONGS.schema if f.name == "song_id"],
        column("other_song_id", LongType(), "The other song, with the larger id"),
        column("overlap_s", DoubleType(), "Seconds of the song that are also in the other"),
        column("start_s", DoubleType(), "Where the longest passage starts in the song (s)"),
        column("other_start_s", DoubleType(), "Where it starts in the other (s)"),
        column("speed", DoubleType(), "Seconds of the other per second of the song"),
        column("n_votes", LongType(), "Hashes that agree on the passages"),
        column("p_value", DoubleType(), "Probability that unrelated songs have such a passage"),
    ]
)

FILE_RUNS = StructType(
    [
        column("file", StringType(), "A data file of the table fingerprints"),
        *[f for f in FINGERPRINTS.schema if f.name == "hash_prefix"],
        column("split_bytes", LongType(), "Start of the part of the file that a task reads"),
        column("place", LongType(), "Number of this run of rows in its task"),
        column("n_rows", LongType(), "Rows of the run"),
        column("n_descents", LongType(), "Rows that sort before the previous row"),
        column("first", ArrayType(LongType()), "hash, song_id and offset_frames of its first row"),
        column("last", ArrayType(LongType()), "The same for its last row"),
    ]
)

# One row per window of a clip, then one summary row.
CLIP_EXTRACTS = StructType(
    [
        column("path", StringType(), "The clip"),
        column("window", IntegerType(), "Number of the window; null in a summary row"),
        column("start_s", DoubleType(), "Start of the window in the clip (s)"),
        column("end_s", DoubleType(), "End of the window in the clip (s)"),
        column("queries", BinaryType(), "Its queries, packed by query.window_row"),
        column("n_queries", IntegerType(), "Number of hashes in queries"),
        *[f for f in EXTRACTS if f.name in ("stage", "error", "note", "duration_s")],
    ]
)

LOOKED_UP = StructType(
    [
        column("window_id", LongType(), "The window"),
        column("variant", IntegerType(), "Index in variants.VARIANTS"),
        *[f for f in FINGERPRINTS.schema if f.name == "hash"],
        column("frame", IntegerType(), "From the window's middle, in frames of the song"),
        column("detune", FloatType(), "How far above the reference, ln of frequencies"),
        *[f for f in FINGERPRINTS.schema if f.name == "descriptor"],
    ]
)

QUERY_PARTS = StructType(
    [
        column("part", IntegerType(), "Number of a part of the hashes"),
        column("window_id", LongType(), "The window"),
        *[f for f in CLIP_EXTRACTS if f.name == "queries"],
    ]
)

HIT_PARTS = StructType(
    [
        column("window_id", LongType(), "The window"),
        column("slice", IntegerType(), "Number of a slice of the hashes"),
        column(
            "hits", BinaryType(), "The hits that it keeps in the slice, packed by join.pack_hits"
        ),
    ]
)

LINES = StructType(
    [
        column("window_id", LongType(), "xxhash64 of the clip's path and the window's number"),
        column("rank", IntegerType(), "Rank of the song in the window, from 1"),
        column("line", IntegerType(), "Number of the song's line, 0 for the best"),
        column("score", DoubleType(), "How far the song stands out from chance"),
        column("song_id", LongType(), "The song"),
        column(
            "evidence", DoubleType(), "Weight of the hits on the line, bounded per frame (nats)"
        ),
        column("offset_s", DoubleType(), "Position of the window's middle in the song (s)"),
        column("speed", DoubleType(), "Seconds of the song per second of the clip"),
        column("pitch", DoubleType(), "Frequencies in the clip over those in the song"),
        column("first_s", DoubleType(), "First hit on the line, from the window's middle (s)"),
        column("last_s", DoubleType(), "Last hit on the line, from the window's middle (s)"),
        column("n_votes", LongType(), "Hits on the line"),
    ]
)

_OF_CLIPS = ("run_id", "run_date", "clip_path", "error", "note")
SEGMENTS = StructType(
    [
        column("path", StringType(), "The clip"),
        *[f for f in MATCHES.schema if f.name not in _OF_CLIPS],
    ]
)

EXCERPTS = StructType(
    [
        column("clip_path", StringType(), "The clip"),
        column("clip_audio", BinaryType(), "The matched part of it, a few seconds of MP3"),
        column("song_audio", BinaryType(), "The passage of the song that it matches"),
        column("length_s", DoubleType(), "Length of the clip's excerpt (s)"),
        column("clip_time_s", ArrayType(FloatType()), "Landmarks of the clip's excerpt (s)"),
        column("clip_khz", ArrayType(FloatType()), "Their frequencies (kHz)"),
        column("clip_is_shared", ArrayType(BooleanType()), "Whether the song also has it"),
        column("song_time_s", ArrayType(FloatType()), "Landmarks of the song, in clip time (s)"),
        column("song_khz", ArrayType(FloatType()), "Their frequencies in the clip (kHz)"),
    ]
)

SPLIT_PARTS = StructType(
    [
        column("_group", StringType(), "A group of rows that stay together, as a text"),
        column("_part", IntegerType(), "Number of the part that it belongs to, from 0"),
    ]
)

# Of the SQL functions fingerprint_audio and fingerprint_clip.
AUDIO_HASHES = StructType(
    [
        *[f for f in FINGERPRINTS.schema if f.name != "song_id"],
        *[f for f in DIGESTS if f.name == "error"],
    ]
)

CLIP_HASHES = StructType(
    [
        *[f for f in CLIP_EXTRACTS if f.name == "window"],
        column("hash_prefix", IntegerType(), "The first bits of hash"),
        column("hash", LongType(), "A hash to look up"),
        column("frame", IntegerType(), "Its position in the clip, in frames of 32 ms"),
        *[f for f in FINGERPRINTS.schema if f.name == "descriptor"],
        *[f for f in DIGESTS if f.name == "error"],
    ]
)

# One row per file: numbers, texts and possibly a note, or stage and error.
DESCRIPTIONS = StructType(
    [
        *[f for f in EXTRACTS if f.name in ("path", "song_id", "stage", "error", "note")],
        *[f for f in FEATURES.schema if f.name in ("numbers", "texts")],
    ]
)

NAMED_VALUES = StructType(
    [
        column("name", StringType(), "Name of a number or text of a row of features"),
        column("x", DoubleType(), "The number, if it is one and finite"),
        column("code", LongType(), "xxhash64 of the text, if it is one"),
        column("shape", LongType(), "xxhash64 of the text with 0 for each run of digits, if any"),
    ]
)

_RIGHT = "Right predictions, as a share (0 to 1), by"
ASSOCIATIONS = StructType(
    [
        column("name", StringType(), "Column; SHAPE at its end stands for masked digits"),
        column("n", LongType(), "Rows that were read whose value occurs more than once"),
        column("coverage", DoubleType(), "Their share of the rows that were read, 0 to 1"),
        column("n_values", LongType(), "Their distinct values"),
        column("accuracy", DoubleType(), f"{_RIGHT} the value's commonest class"),
        column("base", DoubleType(), f"{_RIGHT} the commonest class of all"),
        column("r2", DoubleType(), "R2 of the value's mean of a numeric target, at most 1"),
        column("back_accuracy", DoubleType(), "As accuracy: the column from the target"),
        column("back_base", DoubleType(), "As base, of the column"),
        column("back_r2", DoubleType(), "As r2, of a numeric column"),
        column("n_numbers", LongType(), "Numbers in all rows, estimated"),
        column("low", DoubleType(), "The smallest number, in the unit of the column"),
        column("high", DoubleType(), "The largest number, in the unit of the column"),
        column("are_whole", BooleanType(), "Whether all numbers are integers"),
        column("n_distinct", LongType(), "Distinct numbers in all rows, estimated"),
    ]
)

# Rows of scores, then rows with the parts of the model.
TRAINED_IN_ONE_TASK = StructType(
    [
        *[f for f in FEATURES.schema if f.name == "song_id"],
        column("label", DoubleType(), "Number of the song's class, or the target in its own unit"),
        column("fold", IntegerType(), "Fold of the song; crossfit.HELD_OUT_FOLD or stage.WITHOUT"),
        column(
            "output",
            ArrayType(DoubleType()),
            "Probabilities of the classes, or prediction and difficulty in the unit of the target",
        ),
        column("name", StringType(), "Name of an array of the model; null in rows of scores"),
        column("part", IntegerType(), "Number of a part of its bytes, from 0"),
        column("bytes", BinaryType(), "The part, of at most 8 MiB"),
    ]
)

SONG_VECTORS = StructType(
    [
        *[f for f in FEATURES.schema if f.name == "song_id"],
        column("recording", LongType(), "Equal for versions of one song"),
        column("vector", ArrayType(DoubleType()), "Features in standard deviations from the mean"),
    ]
)

CLUSTERED_VECTORS = StructType(
    [
        *SONG_VECTORS,
        column("clusters", ArrayType(IntegerType()), "Numbers of the nearest clusters, in order"),
    ]
)

VECTOR_PLACES = StructType(
    [
        column("task", IntegerType(), "Number of a task that a vector is sent to"),
        column("is_reference", BooleanType(), "Offered as a neighbour, not looking for some"),
    ]
)

NEIGHBOURS = StructType(
    [f for f in RECOMMENDATIONS.schema if f.name not in ("source", "model_version")]
)
