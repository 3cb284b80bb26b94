"""Table functions for SQL: audio in, hashes out."""

from __future__ import annotations

import io
from collections.abc import Iterator

from pyspark.sql import SparkSession
from pyspark.sql.functions import udtf
from pyspark.sql.types import IntegerType, LongType, StringType, StructField, StructType

from sonic_lib.fingerprint.params import HASH_BITS, SAMPLE_RATE_HZ, FingerprintParams
from sonic_lib.schemas import FINGERPRINTS

HASHES = StructType(
    [
        *[f for f in FINGERPRINTS.schema if f.name != "song_id"],
        StructField("error", StringType(), True, {"comment": "Why it could not be read"}),
    ]
)
CLIP_HASHES = StructType(
    [
        StructField("window", IntegerType(), True, {"comment": "Number of the window"}),
        StructField("hash_prefix", IntegerType(), True, {"comment": "The first bits of hash"}),
        StructField("hash", LongType(), True, {"comment": "A hash to look up"}),
        StructField(
            "frame",
            IntegerType(),
            True,
            {"comment": "Its position in the clip, in frames of 32 ms"},
        ),
        FINGERPRINTS.schema["descriptor"],
        StructField("error", StringType(), True, {"comment": "Why it could not be read"}),
    ]
)


def are_used(statement: str) -> bool:
    """Whether a SQL statement may call one of the table functions."""
    return "fingerprint_" in statement.lower()


def register(spark: SparkSession, *, params: FingerprintParams, prefix_bits: int) -> None:
    """Register the table functions in a session.

    ``fingerprint_audio(content)`` returns the rows that a song would have in `fingerprints`.
    ``fingerprint_clip(content)`` returns the hashes that a clip looks up, about ten times as many,
    with frames counted from the start of the clip.  Both take the bytes of an audio file, as in
    the column content of Spark's ``binaryFile`` source.  An unreadable file gives one row with an
    error.

    Parameters
    ----------
    params : FingerprintParams
        Parameters of the fingerprint table.
    prefix_bits : int
        Number of prefix bits of the table's hashes.
    """

    class FingerprintAudio:
        def eval(self, content: bytes) -> Iterator[tuple]:
            yield from audio_rows(content, params=params, prefix_bits=prefix_bits)

    class FingerprintClip:
        def eval(self, content: bytes) -> Iterator[tuple]:
            yield from clip_rows(content, params=params, prefix_bits=prefix_bits)

    spark.udtf.register("fingerprint_audio", udtf(FingerprintAudio, returnType=HASHES))
    spark.udtf.register("fingerprint_clip", udtf(FingerprintClip, returnType=CLIP_HASHES))


def audio_rows(content: bytes, *, params: FingerprintParams, prefix_bits: int) -> Iterator[tuple]:
    """Yield the rows of ``fingerprint_audio``, with the columns of `HASHES`."""
    for hash_, *others in _or_error(song_hashes(content, params=params), 4):
        yield _prefix(hash_, prefix_bits), hash_, *others


def clip_rows(content: bytes, *, params: FingerprintParams, prefix_bits: int) -> Iterator[tuple]:
    """Yield the rows of ``fingerprint_clip``, with the columns of `CLIP_HASHES`."""
    for window, hash_, *others in _or_error(clip_hashes(content, params=params), 5):
        yield window, _prefix(hash_, prefix_bits), hash_, *others


def _prefix(hash_: int | None, prefix_bits: int) -> int | None:
    return None if hash_ is None else hash_ >> (HASH_BITS - prefix_bits)


def song_hashes(content: bytes, *, params: FingerprintParams) -> Iterator[tuple[int, int, int]]:
    """Yield hash, frame and descriptor of each fingerprint of a song's file."""
    from sonic_lib.audio.decode import stream_mono
    from sonic_lib.fingerprint.stream import stream_hashes

    _, blocks = stream_mono(io.BytesIO(content), sample_rate_hz=SAMPLE_RATE_HZ)
    for columns in stream_hashes(blocks, params=params):
        yield from zip(*(column.tolist() for column in columns), strict=True)


def clip_hashes(
    content: bytes, *, params: FingerprintParams
) -> Iterator[tuple[int, int, int, int]]:
    """Yield window, hash, frame and descriptor of each query of a clip's file."""
    from sonic_lib.audio.decode import stream_mono
    from sonic_lib.fingerprint.params import FRAMES_PER_S
    from sonic_lib.fingerprint.stream import stream_windows

    _, blocks = stream_mono(io.BytesIO(content), sample_rate_hz=SAMPLE_RATE_HZ)
    for window in stream_windows(blocks, params=params):
        middle = round(0.5 * (window.start_s + window.end_s) * FRAMES_PER_S)
        columns = (window.hashes, window.frames + middle, window.descriptors)
        for row in zip(*(column.tolist() for column in columns), strict=True):
            yield window.window, *row


def _or_error(rows: Iterator[tuple], n_columns: int) -> Iterator[tuple]:
    """Add an error column; an exception becomes the last row."""
    from sonic_lib.errors import DecodeError

    try:
        for row in rows:
            yield *row, None
    except DecodeError as error:
        yield *[None] * (n_columns - 1), str(error)
