"""Compute digests and fingerprints of files: DataFrame -> DataFrame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa
from pyspark.accumulators import Accumulator
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from sonic_lib.audio.digest import digest_row
from sonic_lib.audio.sandbox import Limits, isolated, packed
from sonic_lib.fingerprint.params import HASH_BITS, FingerprintParams
from sonic_lib.fingerprint.variants import FIRST_PASS, Probe
from sonic_lib.schemas import CLIP_EXTRACTS, DIGESTS, EXTRACTS

DEFAULT_LIMITS = Limits()
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

    def rows(file: dict) -> Iterator[dict]:
        path, size_bytes = file["path"], file["size_bytes"]
        for row in isolated(work, path, path=path, size_bytes=size_bytes, limits=limits):
            yield row | file  # whatever the decoder claims about the file
        if n_done is not None:
            n_done.add(1)

    files = files.select("path", "size_bytes", "song_id", "content_sha256")
    return files.mapInArrow(row_by_row(rows, EXTRACTS), EXTRACTS)


def fingerprint_clips(
    clips: DataFrame,
    *,
    params: FingerprintParams,
    min_duration_s: float = 0.0,
    probes: Sequence[Probe] = FIRST_PASS,
    limits: Limits = DEFAULT_LIMITS,
    n_done: Accumulator | None = None,
) -> DataFrame:
    """Decode every clip and compute its query hashes.

    Parameters
    ----------
    clips : DataFrame with path and size_bytes
        An optional column windows (array of int) selects windows of a clip.
    min_duration_s, probes
        As in `extract.clip_rows`.
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

    work = packed(
        clip_rows,
        params=params,
        min_duration_s=min_duration_s,
        probes=probes,
    )

    def rows(clip: dict) -> Iterator[dict]:
        found = isolated(
            work,
            clip["path"],
            path=clip["path"],
            size_bytes=clip["size_bytes"],
            limits=limits,
            windows=clip.get("windows"),
        )
        for row in found:
            yield row | {"path": clip["path"]}
        if n_done is not None:
            n_done.add(1)

    columns = [name for name in ("path", "size_bytes", "windows") if name in clips.columns]
    apply = row_by_row(rows, CLIP_EXTRACTS)
    return clips.select(*columns).mapInArrow(apply, CLIP_EXTRACTS)


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


def row_by_row(
    function: Callable[[dict], Iterable[dict]], schema: StructType
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Apply a function from one row to rows; output batches have one row, to stay small.

    A decoder that was taken over by its file may return values of other types; like one that
    crashes, it costs its own file only.
    """
    arrow_schema = to_arrow_schema(schema, timezone="UTC")

    def batch_of(row: dict) -> pa.RecordBatch:
        columns = [pa.array([row.get(field.name)], field.type) for field in arrow_schema]
        return pa.RecordBatch.from_arrays(columns, schema=arrow_schema)

    def apply(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in batch.to_pylist():
                for out in function(row):
                    try:
                        found = batch_of(out)
                    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                        why = f"its decoder returned values of other types: {error}"
                        yield batch_of({**row, "stage": "decode", "error": why})
                        break
                    yield found

    return apply
