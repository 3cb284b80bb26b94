"""Compute digests and fingerprints of files: DataFrame -> DataFrame."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.accumulators import Accumulator
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from sonic_lib.audio.digest import digest_row
from sonic_lib.audio.sandbox import Limits, packed
from sonic_lib.audio.spark import DEFAULT_LIMITS, read_in_helpers, row_by_row
from sonic_lib.fingerprint.params import HASH_BITS, FingerprintParams
from sonic_lib.fingerprint.variants import FIRST_PASS, Probe
from sonic_lib.schemas import CLIP_EXTRACTS, DIGESTS, EXTRACTS

# Array columns of extracts, and the column of each in one row per hash.
_HASH_COLUMNS = {
    "hashes": "hash",
    "frames": "offset_frames",
    "descriptors": "descriptor",
}


def digest_files(files: DataFrame) -> DataFrame:
    """Read every file and compute the digest of its bytes.

    Parameters
    ----------
    files : DataFrame [schemas.FILES]

    Returns
    -------
    DataFrame [schemas.DIGESTS]
    """
    return files.mapInArrow(row_by_row(lambda row: [digest_row(row)], DIGESTS), DIGESTS)


def fingerprint_files(
    files: DataFrame,
    *,
    params: FingerprintParams,
    min_duration_s: float = 0.0,
    limits: Limits = DEFAULT_LIMITS,
    n_done: Accumulator | None = None,
) -> DataFrame:
    """Decode and fingerprint every song.

    Parameters
    ----------
    files : DataFrame with path, size_bytes, song_id, content_sha256
        The last two are passed through.
    min_duration_s
        As in `extract.song_rows`.
    limits : Limits
        Time and memory that a file may take.
    n_done : Accumulator, optional
        Counts finished files, for a progress bar.

    Returns
    -------
    DataFrame [schemas.EXTRACTS]
        Hashes chunk by chunk, and one summary row per file.
    """
    # Imported late: it loads compiled kernels, which a run without new songs does not need.
    from sonic_lib.fingerprint.extract import song_rows

    work = packed(song_rows, params=params, min_duration_s=min_duration_s)

    columns = ["path", "size_bytes", "song_id", "content_sha256"]
    return files.select(columns).transform(
        read_in_helpers, work, EXTRACTS, keep=columns, limits=limits, n_done=n_done
    )


def fingerprint_clips(
    clips: DataFrame,
    *,
    params: FingerprintParams,
    probes: Sequence[Probe] = FIRST_PASS,
    limits: Limits = DEFAULT_LIMITS,
    n_done: Accumulator | None = None,
) -> DataFrame:
    """Decode every clip and compute its query hashes.

    Parameters
    ----------
    clips : DataFrame with path and size_bytes
        An optional column windows (array of int) selects windows of a clip.
    probes : sequence of Probe
        As in `stream.stream_windows`.
    limits : Limits
        Time and memory that a file may take.
    n_done : Accumulator, optional
        Counts finished clips, for a progress bar.

    Returns
    -------
    DataFrame [schemas.CLIP_EXTRACTS]
        Hashes by window and variant, and one summary row per clip.
    """
    from sonic_lib.fingerprint.extract import clip_rows

    work = packed(clip_rows, params=params, probes=probes)
    options = [name for name in ("windows",) if name in clips.columns]
    return clips.select("path", "size_bytes", *options).transform(
        read_in_helpers, work, CLIP_EXTRACTS, options=options, limits=limits, n_done=n_done
    )


def hash_prefix(hashes: str = "hash", *, bits: int) -> Column:
    """Column: the first `bits` of a hash."""
    return F.shiftright(hashes, HASH_BITS - bits).cast("int")


def hash_rows(extracts: DataFrame, *, prefix_bits: int) -> DataFrame:
    """Explode arrays to one row per hash.

    Parameters
    ----------
    extracts : DataFrame with the arrays hashes, frames and descriptors

    Returns
    -------
    DataFrame
        The other columns of `extracts`, then hash_prefix, hash, offset_frames and descriptor.
    """
    others = [name for name in extracts.columns if name not in _HASH_COLUMNS]
    rows = extracts.select(*others, F.inline(F.arrays_zip(*_HASH_COLUMNS)))
    return rows.select(
        *others,
        hash_prefix("hashes", bits=prefix_bits).alias("hash_prefix"),
        *(F.col(name).alias(column) for name, column in _HASH_COLUMNS.items()),
    )
