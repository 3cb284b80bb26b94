"""Synthetic songs derived from real ones, to fill an index of realistic size.

A table for measuring the cost of size must match a clip in as many rows as a real table of that
size.  Real hashes are far from uniform, so random ones would hardly match; copies of real songs
would be found in place of the originals, and would add no new hashes.

Method
------
A synthetic song is a real one played backwards at another tempo, every tenth one in another
key: its triangles of landmarks are reversed, stretched and shifted, then hashed again.  Notes,
chords, rhythms and repeats remain, which make some hashes frequent, and so do triangles that share
an edge and match together, which makes chance alignments as strong as in real tables.  The
progression of the original does not remain, so no position in it fits any clip.  Every song has
sounds of its own, so some of the hashes that the original shares with no other song are moved far.

A hash is changed in the same way wherever it occurs in a song, so repeats remain repeats.

The surroundings of a triangle played backwards are its surroundings seen from the other end, so
descriptors are computed from the reversed saliency of the real song.  Songs from one source would
have similar descriptors, so some bits of each are redrawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema

from sonic_lib.audio.decode import open_audio, stream_mono
from sonic_lib.fingerprint import hashes as hashing
from sonic_lib.fingerprint.descriptor import DESCRIPTOR_BITS, describe_triangles
from sonic_lib.fingerprint.hashes import distinct, pack, unpack
from sonic_lib.fingerprint.landmarks import FRAME, analyse
from sonic_lib.fingerprint.params import SAMPLE_RATE_HZ, FingerprintParams
from sonic_lib.fingerprint.triangles import landmark_triangles
from sonic_lib.schemas import EXTRACTS

# Fitted so that distinct hashes, and rows that match a lookup, grow with the table as they do with
# the number of real songs; `growth.py` prints the comparison.
TRANSPOSED = 0.1  # share of songs
OWN_SOUNDS = 0.22  # share of the hashes that occur in no other song
OWN_STEPS = 10  # maximum shift of these, in each of the five numbers
TEMPO = (1.0, 1.15)  # or the inverse
SEMITONES = (-9, -8, -7, -5, -4, -3, 3, 4, 5, 7, 8, 9)
OWN_BITS = 0.2  # share of the bits of a descriptor that are redrawn

MODEL = [TRANSPOSED, OWN_SOUNDS, OWN_STEPS, *TEMPO, *SEMITONES, OWN_BITS]

# The ranges of `hashes.unpack`: bins and frames per step, and the largest time.
_FIRST_BINS, _STEP_BINS, _ZERO_STEP, _STEP_FRAMES, _MAX_TIME = 2, 3, 128, 2, 31


def relative(
    hashes: NDArray[np.int64],
    frames: NDArray[np.int32],
    descriptors: NDArray[np.int32],
    shared: NDArray[np.bool_],
    *,
    params: FingerprintParams,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], float]:
    """Make a synthetic song from a real one.

    Parameters
    ----------
    hashes, frames, descriptors : np.ndarray [shape=(n,)]
        The real song, with descriptors of the reversed song.
    shared : np.ndarray [shape=(n,), bool]
        Whether other songs have the hash.

    Returns
    -------
    hashes, frames, descriptors : np.ndarray [shape=(m,)]
        The synthetic song, sorted by (hash, frame); m is n minus a few duplicates.
    tempo : float
        Its length over that of the real song.
    """
    sounds, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    numbers = unpack(sounds)
    bins = _FIRST_BINS * numbers[:, :1] + np.pad(
        _STEP_BINS * (numbers[:, 1:3] - _ZERO_STEP), ((0, 0), (1, 0))
    )
    times = np.pad(numbers[:, 3:], ((0, 0), (1, 0)))
    ends = frames + _STEP_FRAMES * times[which, 2]

    bins, times = bins[:, ::-1], (times[:, 2:] - times)[:, ::-1]
    tempo = rng.uniform(*TEMPO) ** rng.choice([-1, 1])
    stretched = times * tempo
    times = np.where(stretched[:, 2:] > _MAX_TIME, times, stretched)
    if rng.random() < TRANSPOSED:
        bins = bins * 2.0 ** (rng.choice(SEMITONES) / 12)
        bins = np.where(bins[:, :1] > params.last_bin, bins / 2, bins)
        bins = np.where(bins[:, :1] < params.first_bin, bins * 2, bins)

    steps = (bins[:, 1:] - bins[:, :1]) / _STEP_BINS + _ZERO_STEP
    numbers = np.floor(np.column_stack([bins[:, 0] / _FIRST_BINS, steps, times[:, 1:]]) + 0.5)
    own = np.flatnonzero((rng.random(len(sounds)) < OWN_SOUNDS) & ~shared[first])
    numbers[own] += rng.integers(-OWN_STEPS, OWN_STEPS + 1, (len(own), 5))
    band = params.first_bin // _FIRST_BINS, params.last_bin // _FIRST_BINS
    numbers[:, 0] = np.clip(numbers[:, 0], *band)
    numbers[:, 3:] = np.sort(np.clip(numbers[:, 3:], 0, _MAX_TIME), axis=1)
    places = np.rint((ends.max() - ends) * tempo).astype(np.int32)
    own_bits = rng.random((len(descriptors), DESCRIPTOR_BITS // 8, 8)) < OWN_BITS / 2
    flipped = np.packbits(own_bits, axis=-1).reshape(len(descriptors), -1).view(np.int32)[:, 0]
    return *distinct(pack(numbers.astype(float))[which], places, descriptors ^ flipped), tempo


def described_in_reverse(files: DataFrame, *, params: FingerprintParams) -> DataFrame:
    """Fingerprint songs, with descriptors of the songs played backwards.

    Parameters
    ----------
    files : DataFrame with path, song_id

    Returns
    -------
    DataFrame
        song_id, hash, offset_frames, reversed.
    """

    def describe(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in batch.to_pylist():
                with open_audio(row["path"]) as file:
                    _, blocks = stream_mono(file, sample_rate_hz=SAMPLE_RATE_HZ)
                    landmarks, saliency = analyse(np.concatenate(list(blocks)), params=params)
                triangles = landmark_triangles(landmarks, params.densities_per_s)
                hashes, frames = hashing.triangle_hashes(landmarks, triangles)
                mirrored = landmarks.copy()
                mirrored[:, FRAME] = len(saliency) - 1 - landmarks[:, FRAME]
                described = describe_triangles(
                    np.ascontiguousarray(saliency[::-1]),
                    *(mirrored, np.ascontiguousarray(triangles[:, ::-1])),
                    params=params,
                )
                columns = distinct(hashes, frames, described)
                ids = np.full(len(columns[0]), row["song_id"])
                names = ("song_id", "hash", "offset_frames", "reversed")
                yield pa.RecordBatch.from_arrays([*map(pa.array, (ids, *columns))], names)

    schema = "song_id long, hash long, offset_frames int, reversed int"
    return files.select("path", "song_id").mapInArrow(describe, schema)


def sources(described: DataFrame, *, songs: DataFrame) -> DataFrame:
    """Number the real songs, with their hashes.

    Parameters
    ----------
    described : DataFrame
        From `described_in_reverse`.

    Returns
    -------
    DataFrame
        source (from 0), song_id, duration_s, hashes, frames, descriptors, shared (whether other
        songs have the hash).
    """
    by_hash = Window.partitionBy("hash")
    shared = F.min("song_id").over(by_hash) != F.max("song_id").over(by_hash)
    columns = F.struct("hash", "offset_frames", "reversed", "shared")
    rows = F.collect_list(columns).alias("rows")
    number = F.row_number().over(Window.orderBy("song_id")) - 1
    return (
        described.withColumn("shared", shared)
        .groupBy("song_id")
        .agg(rows)
        .join(songs.select("song_id", "duration_s", number.alias("source")), "song_id")
        .select(
            "source",
            "song_id",
            "duration_s",
            F.col("rows.hash").alias("hashes"),
            F.col("rows.offset_frames").alias("frames"),
            F.col("rows.reversed").alias("descriptors"),
            "rows.shared",
        )
    )


def synthetic_extracts(
    numbers: DataFrame, *, sources: DataFrame, n_sources: int, params: FingerprintParams, seed: int
) -> DataFrame:
    """Make the songs with these numbers, cycling through the sources.

    Parameters
    ----------
    numbers : DataFrame with id
    sources : DataFrame
        From `sources`; small enough to be broadcast.

    Returns
    -------
    DataFrame [schemas.EXTRACTS]
        As indexing files returns it: a row with all hashes, and a summary row.
    """
    schema = to_arrow_schema(EXTRACTS)

    def make(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            ids, durations_s, hashes, frames, descriptors, shared = batch.columns
            for k, number in enumerate(ids.to_pylist()):
                made = relative(
                    hashes[k].values.to_numpy(),
                    frames[k].values.to_numpy(),
                    descriptors[k].values.to_numpy(),
                    shared[k].values.to_numpy(zero_copy_only=False),
                    params=params,
                    rng=np.random.default_rng([seed, number]),
                )
                for row in _rows(number, seed, durations_s[k].as_py(), *made):
                    columns = [pa.array([row.get(f.name)], f.type) for f in schema]
                    yield pa.RecordBatch.from_arrays(columns, schema=schema)

    turns = numbers.withColumn("source", (F.col("id") % n_sources).cast("int"))
    return (
        turns.join(F.broadcast(sources), "source")
        .select("id", "duration_s", "hashes", "frames", "descriptors", "shared")
        .mapInArrow(make, EXTRACTS)
    )


def _rows(
    number: int,
    seed: int,
    duration_s: float,
    hashes: NDArray,
    frames: NDArray,
    descriptors: NDArray,
    tempo: float,
) -> Iterator[dict]:
    title = f"synthetic {number}"
    sha256 = hashlib.sha256(f"{seed} {title}".encode()).hexdigest()
    song = {"song_id": int(sha256[:16], 16) >> 1, "content_sha256": sha256}
    yield song | {"hashes": hashes, "frames": frames, "descriptors": descriptors}
    yield song | {
        "title": title,
        "duration_s": duration_s * tempo,
        "codec": "synthetic",
        "n_fingerprints": len(hashes),
    }
