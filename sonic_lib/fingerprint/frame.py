"""Frames of files to frames of digests and fingerprints: DataFrame -> DataFrame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
from pyspark.accumulators import Accumulator
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from sonic_lib.fingerprint.extract import digest_row, extract_rows
from sonic_lib.fingerprint.hashes import HASH_BITS
from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.schemas import DIGESTS, EXTRACTS


def digest_files(files: DataFrame) -> DataFrame:
    """Read every file once, for the digest of its bytes.

    Parameters
    ----------
    files : DataFrame [schemas.FILES]

    Returns
    -------
    DataFrame [schemas.DIGESTS]
    """
    return files.mapInArrow(_row_by_row(lambda row: [digest_row(row)], DIGESTS), DIGESTS)


def fingerprint_files(
    files: DataFrame,
    *,
    params: FingerprintParams,
    query: bool = False,
    min_duration_s: float = 0.0,
    n_done: Accumulator | None = None,
) -> DataFrame:
    """Decode and fingerprint every file.

    Parameters
    ----------
    files : DataFrame with path, and for songs song_id and content_sha256, which are passed on
    query, min_duration_s
        As in `extract.extract_rows`.
    n_done : Accumulator, optional
        Counts finished files, for a progress bar.

    Returns
    -------
    DataFrame [schemas.EXTRACTS]
        Hashes stretch by stretch, and one closing row a file.
    """

    def rows(file: dict) -> Iterator[dict]:
        extracted = extract_rows(
            file["path"], params=params, query=query, min_duration_s=min_duration_s
        )
        for row in extracted:
            yield file | row
        if n_done is not None:
            n_done.add(1)

    passed_on = [name for name in EXTRACTS.names if name in files.columns]
    return files.select(*passed_on).mapInArrow(_row_by_row(rows, EXTRACTS), EXTRACTS)


def hash_prefix(hashes: str = "hash", *, bits: int) -> Column:
    """Column: the first `bits` of a hash."""
    return F.shiftright(hashes, HASH_BITS - bits).cast("int")


def hash_rows(extracts: DataFrame, *, prefix_bits: int) -> DataFrame:
    """Unfold stretches to one row a hash.

    Returns
    -------
    DataFrame
        The columns of `extracts` other than its hashes and frames, then hash_prefix, hash and
        offset_frames.
    """
    others = [name for name in extracts.columns if name not in ("hashes", "frames")]
    pairs = extracts.select(*others, F.inline(F.arrays_zip("hashes", "frames")))
    return pairs.select(
        *others,
        hash_prefix("hashes", bits=prefix_bits).alias("hash_prefix"),
        F.col("hashes").alias("hash"),
        F.col("frames").alias("offset_frames"),
    )


def _row_by_row(
    function: Callable[[dict], Iterable[dict]], schema: StructType
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Apply a function from one row to rows, one Arrow batch a row, so that none grows large."""
    arrow_schema = to_arrow_schema(schema, timezone="UTC")

    def apply(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in batch.to_pylist():
                for out in function(row):
                    yield pa.RecordBatch.from_arrays(
                        [pa.array([out.get(f.name)], f.type) for f in arrow_schema],
                        schema=arrow_schema,
                    )

    return apply
