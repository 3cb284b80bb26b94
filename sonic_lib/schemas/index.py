"""The tables of an index, its matches, and the runs of all jobs."""

from __future__ import annotations

from pyspark.sql.types import (
    BooleanType,
    DateType,
    DoubleType,
    IntegerType,
    LongType,
    MapType,
    StringType,
    StructType,
    TimestampType,
)

from sonic_lib.schemas.declaration import Table, column

SONGS = Table(
    "songs",
    "One row per song, a distinct file content. A fingerprint counts only if its song is here.",
    StructType(
        [
            column("song_id", LongType(), "First 63 bits of content_sha256"),
            column("content_sha256", StringType(), "SHA-256 of the file's bytes, hexadecimal"),
            column("title", StringType(), "From the tags, or else the file's name"),
            column("artist", StringType(), "From the tags"),
            column("album", StringType(), "From the tags"),
            column("genre", StringType(), "From the tags"),
            column("release_year", IntegerType(), "From the tags"),
            column("duration_s", DoubleType(), "Length of the decoded audio in seconds"),
            column("sample_rate_hz", IntegerType(), "Sample rate of the file in Hz"),
            column("codec", StringType(), "Container and codec of the file"),
            column("n_fingerprints", LongType(), "Rows in fingerprints for this song"),
            column("run_id", StringType(), "Run that indexed it"),
            column("indexed_at", TimestampType(), "When it was indexed (UTC)"),
        ]
    ),
)

SONG_FILES = Table(
    "song_files",
    "One row per path seen by an index run, including rejected files.",
    StructType(
        [
            column("path", StringType(), "Full path or URI of the file; the key"),
            column("root", StringType(), "The indexed folder in which it was found"),
            column("song_id", LongType(), "The song in it; null if rejected"),
            column("size_bytes", LongType(), "Size of the file in bytes"),
            column("modified_at", TimestampType(), "Last change of the file (UTC)"),
            column(
                "status",
                StringType(),
                "indexed, duplicate (same bytes as another path) or rejected",
            ),
            column("stage", StringType(), "Stage of the rejection: open, decode or content"),
            column("error", StringType(), "Why it was rejected"),
            column("run_id", StringType(), "Run that last read it"),
            column("seen_at", TimestampType(), "When it was last read (UTC)"),
            column("note", StringType(), "Parts of it that could not be used; null if none"),
        ]
    ),
)

FINGERPRINTS = Table(
    "fingerprints",
    "One row per landmark hash of a song, sorted by (hash, song_id, offset_frames) in each file.",
    StructType(
        [
            column("hash_prefix", IntegerType(), "The first bits of hash; the partition"),
            column("hash", LongType(), "40-bit hash of a triangle of three landmarks"),
            column("song_id", LongType(), "The song it occurs in"),
            column("offset_frames", IntegerType(), "Position in the song, in frames of 32 ms"),
            column(
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
            column("run_id", StringType(), "Run that identified the clip"),
            column("run_date", DateType(), "Date of the run (UTC); the partition"),
            column("clip_path", StringType(), "Full path or URI of the clip"),
            column("clip_start_s", DoubleType(), "Start of the matched part of the clip (s)"),
            column("clip_end_s", DoubleType(), "End of the matched part of the clip (s)"),
            column("rank", IntegerType(), "1 for the best candidate"),
            column("song_id", LongType(), "The candidate; null if there is none"),
            column("offset_s", DoubleType(), "Position in the song of the part's first sample (s)"),
            column("speed", DoubleType(), "Seconds of the song per second of the clip"),
            column("n_votes", LongType(), "Hashes that agree on this song and offset"),
            column("score", DoubleType(), "Evidence beyond chance; comparable across clips"),
            column("p_value", DoubleType(), "Probability that an unknown clip scores this high"),
            column("accepted", BooleanType(), "Whether the candidate is accepted as the answer"),
            column("pitch", DoubleType(), "Frequencies in the clip over those in the song"),
            column("error", StringType(), "Why the clip could not be read; else null"),
            column("note", StringType(), "Parts of the clip that could not be used; else null"),
        ]
    ),
    ("run_date",),
)

RUNS = Table(
    "runs",
    "One row per job run.",
    StructType(
        [
            column("run_id", StringType(), "The run"),
            column("job", StringType(), "The command"),
            column("status", StringType(), "running, done or failed"),
            column("started_at", TimestampType(), "Start (UTC)"),
            column("ended_at", TimestampType(), "End (UTC); null while running or if killed"),
            column(
                "counts",
                MapType(StringType(), DoubleType()),
                "Counts of what it read, wrote, rejected",
            ),
            column("config", StringType(), "The configuration, with options if recorded, as JSON"),
            column("code_version", StringType(), "Version of Sonic Signature"),
        ]
    ),
)
