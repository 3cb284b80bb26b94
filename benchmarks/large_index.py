"""Build a large index: the songs of a small one plus synthetic songs."""

from __future__ import annotations

import math
import shutil

import synthetic
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.index import commit
from sonic_lib.schemas import FINGERPRINTS, SONG_FILES, SONGS
from sonic_lib.spark.session import spark_job
from sonic_lib.storage import creation, tables, writes

N_SONGS_PER_TASK = 100


def build(small: str, big: str, *, rows: int, seed: int) -> dict:
    """Copy an index and add synthetic songs, in files like those of one run.

    Parameters
    ----------
    small, big : str
        Warehouses; `big` is created.
    rows : int
        Approximate number of fingerprints of the large index.

    Returns
    -------
    dict
        From `describe`.
    """
    stage = f"{big}-stage"
    for folder in (big, stage):
        shutil.rmtree(folder, ignore_errors=True)
    params = FingerprintParams()
    conf = {
        # Here a row is a whole song with all its hashes.
        "spark.sql.execution.arrow.maxRecordsPerBatch": "16",
        "spark.sql.parquet.columnarReaderBatchSize": "64",
    }
    with spark_job(app_name="build a large index", conf=conf) as spark:
        spark.sparkContext.addPyFile(synthetic.__file__)
        prefix_bits = tables.prefix_bits(spark, small)
        creation.create(spark, big, params=params, prefix_bits=prefix_bits)
        songs = tables.read(spark, small, SONGS)
        n_songs, n_rows = songs.agg(F.count("*"), F.sum("n_fingerprints")).first()
        files = tables.read(spark, small, SONG_FILES).filter("status = 'indexed'")
        described = files.repartition(8).transform(synthetic.described_in_reverse, params=params)
        real = synthetic.sources(described, songs=songs)
        # Whole rounds over the sources, plus a few rows to replace those that coincide.
        n_synthetic = n_songs * math.ceil(max(rows * 1.001 - n_rows, 0) / n_rows)
        made = spark.range(n_synthetic, numPartitions=1 + n_synthetic // N_SONGS_PER_TASK)
        extracts = (
            made.transform(
                synthetic.synthetic_extracts,
                sources=real.persist(),
                n_sources=n_songs,
                params=params,
                seed=seed,
            )
            .unionByName(_whole(tables.read(spark, small, FINGERPRINTS)), allowMissingColumns=True)
            .unionByName(songs.drop("run_id", "indexed_at"), allowMissingColumns=True)
        )
        staged = commit.stage(extracts, stage)
        summaries = commit.summary_rows(staged)
        commit.commit_batch(staged, big, summaries=summaries, run_id="synthetic", folder=stage)
        writes.append(tables.read(spark, small, SONG_FILES), big, SONG_FILES)
        shutil.rmtree(stage)
        check_same(spark, small, big)
        return describe(spark, big)


def _whole(fingerprints: DataFrame) -> DataFrame:
    """One row per song, as indexing its file returns it."""
    rows = F.collect_list(F.struct("hash", "offset_frames", "descriptor")).alias("rows")
    return (
        fingerprints.groupBy("song_id")
        .agg(rows)
        .select(
            "song_id",
            F.col("rows.hash").alias("hashes"),
            F.col("rows.offset_frames").alias("frames"),
            F.col("rows.descriptor").alias("descriptors"),
        )
    )


def describe(spark: SparkSession, warehouse: str) -> dict:
    """Measure the size of an index, and check that its songs are complete."""
    stored = tables.read(spark, warehouse, FINGERPRINTS)
    songs = tables.read(spark, warehouse, SONGS)
    counted = stored.groupBy("song_id").agg(F.count("*").alias("n"))
    wrong = counted.join(songs, "song_id", "full").filter("NOT n <=> n_fingerprints").count()
    assert not wrong, f"{wrong} songs of {warehouse} lack rows, or rows their song"
    n_songs, n_rows, audio_s = songs.agg(
        F.count("*"), F.sum("n_fingerprints"), F.sum("duration_s")
    ).first()
    return {
        "rows": n_rows,
        "songs": n_songs,
        "audio_h": audio_s / 3600,
        "bytes": tables.live_bytes(spark, warehouse, FINGERPRINTS),
        "files": len(stored.inputFiles()),
    }


def check_same(spark: SparkSession, small: str, big: str) -> None:
    """Check that the big index contains the small one."""
    real, whole = (tables.read(spark, warehouse, FINGERPRINTS) for warehouse in (small, big))
    ids = real.select("song_id").distinct()
    both = [rows.join(F.broadcast(ids), "song_id", "left_semi") for rows in (real, whole)]
    sums = [
        rows.agg(F.count("*"), F.sum(F.xxhash64(*sorted(rows.columns)).cast("decimal(20,0)")))
        for rows in both
    ]
    assert sums[0].first() == sums[1].first(), "the real songs of the big index are not the same"
