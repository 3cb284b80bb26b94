"""Choose the copy of a recording to keep: DataFrame -> DataFrame."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sonic_lib.audio.band import band_rows
from sonic_lib.audio.listing import relative_path
from sonic_lib.audio.sandbox import Limits, packed
from sonic_lib.audio.spark import read_in_helpers
from sonic_lib.schemas import BANDS

# Names of codecs as FFmpeg and libsndfile write them.
LOSSLESS = (
    r"^(pcm_(?!alaw|mulaw)|flac|alac|wavpack|tta|tak|ape|float|double|dsd|mp4als|mlp|truehd|"
    r"wmalossless|shorten|dpcm_|dwvw_)"
)
RULE = (
    "complete before cut; lossless before lossy; the higher sample rate; the higher filled "
    "frequency band (re-encoding lowers it); the older file; more tags"
)


def first_files(song_files: DataFrame) -> DataFrame:
    """Choose one file per song: song_id, path, root, size_bytes, modified_at."""
    indexed_first = F.struct(F.col("status") != "indexed", "path")
    file = F.struct("path", "root", "size_bytes", "modified_at")
    return (
        song_files.filter("song_id IS NOT NULL")
        .groupBy("song_id")
        .agg(F.min_by(file, indexed_first).alias("file"))
        .select("song_id", "file.*")
    )


def measure_bands(files: DataFrame, *, limits: Limits) -> DataFrame:
    """Measure the highest frequency with energy in the first part of each file.

    Parameters
    ----------
    files : DataFrame with song_id, path, size_bytes
    limits : Limits
        Limits per file.

    Returns
    -------
    DataFrame [schemas.BANDS]
    """
    columns = ["song_id", "path", "size_bytes"]
    return files.select(columns).transform(
        read_in_helpers, packed(band_rows), BANDS, keep=["song_id"], limits=limits
    )


def copies_by_quality(songs: DataFrame, *, files: DataFrame, bands: DataFrame) -> DataFrame:
    """Rate copies by RULE: song_id, song (its path) and quality, larger if better.

    Parameters
    ----------
    songs : DataFrame
        The table `songs`.
    files : DataFrame
        From `first_files`.
    bands : DataFrame [schemas.BANDS]
        Of the songs that have copies.
    """
    tags = sum(
        F.col(name).isNotNull().cast("int")
        for name in ("title", "artist", "album", "genre", "release_year")
    )
    quality = F.struct(
        F.lower("codec").rlike(LOSSLESS).alias("lossless"),
        F.coalesce("sample_rate_hz", F.lit(0)).alias("sample_rate_hz"),
        F.coalesce("band_hz", F.lit(0.0)).alias("band_hz"),
        (-F.unix_micros("modified_at")).alias("age"),
        tags.alias("n_tags"),
        (-F.col("song_id")).alias("order"),
        F.round("duration_s").alias("length_s"),
    )
    known = songs.join(files, "song_id", "left").join(bands, "song_id", "left")
    return known.select("song_id", relative_path().alias("song"), quality.alias("quality"))
