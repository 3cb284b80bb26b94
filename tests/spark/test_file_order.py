"""Fingerprint files are sorted by hash even when sorting does not fit into memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tests.shown import ROOT

PREFIX_BITS = 2
# A separate process, because the spill threshold of sorts is fixed when Spark starts.
WRITE = f"""
import sys
from pyspark.sql import functions as F
from sonic_lib.storage import creation, writes
from sonic_lib.fingerprint.spark import hash_prefix
from sonic_lib.fingerprint.params import HASH_BITS, FingerprintParams
from sonic_lib.index.commit import in_few_sorted_files
from sonic_lib.schemas import FINGERPRINTS
from sonic_lib.spark.session import spark_job

conf = {{"spark.shuffle.spill.numElementsForceSpillThreshold": "1000"}}
with spark_job(app_name="spills", master="local[2]", conf=conf) as spark:
    creation.create(spark, sys.argv[1], params=FingerprintParams(), prefix_bits={PREFIX_BITS})
    rows = spark.range(60_000).select(
        (F.abs(F.xxhash64("id")) % F.lit(1 << HASH_BITS)).alias("hash"),
        F.col("id").alias("song_id"),
        F.lit(1).alias("offset_frames"),
        F.lit(2).alias("descriptor"),
    )
    rows = rows.withColumn("hash_prefix", hash_prefix(bits={PREFIX_BITS}))
    rows = rows.transform(in_few_sorted_files, prefix_bits={PREFIX_BITS}, n_rows=60_000)
    writes.append(rows, sys.argv[1], FINGERPRINTS)
"""


def test_files_are_sorted_when_sorts_spill(tmp_path):
    command = [sys.executable, "-c", WRITE, str(tmp_path / "lake")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    files = sorted(Path(tmp_path / "lake/fingerprints").rglob("*.parquet"))
    assert len(files) == 2**PREFIX_BITS
    for file in files:
        hashes = pq.ParquetFile(file).read(columns=["hash"])["hash"].to_numpy()
        assert len(hashes) > 10_000
        assert (np.diff(hashes) >= 0).all(), file
