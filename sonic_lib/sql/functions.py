"""Table functions for SQL: audio in, hashes out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from pyspark.sql import SparkSession
from pyspark.sql.functions import udtf

from sonic_lib.audio.sandbox import Limits, isolated, packed
from sonic_lib.audio.spark import DEFAULT_LIMITS
from sonic_lib.fingerprint.params import HASH_BITS, FingerprintParams
from sonic_lib.schemas import AUDIO_HASHES, CLIP_HASHES
from sonic_lib.sql.content_hashes import clip_hashes, song_hashes


def are_used(statement: str) -> bool:
    """Whether a SQL statement may call one of the table functions."""
    return "fingerprint_" in statement.lower()


def register(
    spark: SparkSession,
    *,
    params: FingerprintParams,
    prefix_bits: int,
    limits: Limits = DEFAULT_LIMITS,
) -> None:
    """Register the table functions in a session.

    ``fingerprint_audio(content)`` returns the rows that a song would have in `fingerprints`, also
    for files that are too short or silent to be indexed.
    ``fingerprint_clip(content)`` returns the hashes that a clip looks up, about ten times as many,
    with frames counted from the start of the clip.  Both take the bytes of an audio file, as in
    the column content of Spark's ``binaryFile`` source.  An unreadable file gives one row with an
    error, and so does one that crashes the decoder: files are decoded in a helper process.

    Parameters
    ----------
    params : FingerprintParams
        Parameters of the fingerprint table.
    prefix_bits : int
        Number of prefix bits of the table's hashes.
    limits : Limits
        Time and memory that a file may take.
    """
    audio = partial(audio_rows, params=params, prefix_bits=prefix_bits, limits=limits)
    clip = partial(clip_rows, params=params, prefix_bits=prefix_bits, limits=limits)

    class FingerprintAudio:
        def eval(self, content: bytes) -> Iterator[tuple]:
            yield from audio(content)

    class FingerprintClip:
        def eval(self, content: bytes) -> Iterator[tuple]:
            yield from clip(content)

    spark.udtf.register("fingerprint_audio", udtf(FingerprintAudio, returnType=AUDIO_HASHES))
    spark.udtf.register("fingerprint_clip", udtf(FingerprintClip, returnType=CLIP_HASHES))


def audio_rows(
    content: bytes, *, params: FingerprintParams, prefix_bits: int, limits: Limits
) -> Iterator[tuple]:
    """Yield the rows of ``fingerprint_audio``, with the columns of `AUDIO_HASHES`."""
    work = packed(song_hashes, params=params)
    for hash_, *others in _rows_of(work, content, limits, n_columns=3):
        yield _prefix(hash_, prefix_bits), hash_, *others


def clip_rows(
    content: bytes, *, params: FingerprintParams, prefix_bits: int, limits: Limits
) -> Iterator[tuple]:
    """Yield the rows of ``fingerprint_clip``, with the columns of `CLIP_HASHES`."""
    work = packed(clip_hashes, params=params)
    for window, hash_, *others in _rows_of(work, content, limits, n_columns=4):
        yield window, _prefix(hash_, prefix_bits), hash_, *others


def _prefix(hash_: int | None, prefix_bits: int) -> int | None:
    return None if hash_ is None else hash_ >> (HASH_BITS - prefix_bits)


def _rows_of(work: bytes, content: bytes, limits: Limits, *, n_columns: int) -> Iterator[tuple]:
    """Hash a file in the helper process; a file that is not read becomes one row with an error."""
    content = bytes(content or b"")
    # It has no path, so that its size alone sets the time limit.
    found = isolated(work, content, path="", size_bytes=len(content), limits=limits)
    for row in found:
        if row.get("error") is not None:
            yield *[None] * n_columns, row["error"]
            continue
        for values in zip(*(column.tolist() for column in row["columns"]), strict=True):
            yield *values, None
