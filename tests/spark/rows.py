"""Rows of small indexes, as finished and unfinished runs leave them."""

from __future__ import annotations

from sonic_lib.index import commit
from sonic_lib.schemas import EXTRACTS

BITS, HASH_BITS = 2, 40


def row(song_id: int, n: int, *, bits: int = BITS) -> tuple:
    """Fingerprint n of a song; consecutive ones are in different partitions."""
    hash_ = (n % 4 << HASH_BITS - 2) + 1000 * n + song_id
    return hash_ >> HASH_BITS - bits, hash_, song_id, n, 7 * n


def rows_of(*song_ids: int, bits: int = BITS) -> list[tuple]:
    return sorted(row(i, n, bits=bits) for i in song_ids for n in range(8))


def stage(spark, lake, run_id: str, *song_ids: int):
    rows = [
        {"song_id": i}
        | {"hashes": [r[1] for r in rows_of(i)], "frames": [r[3] for r in rows_of(i)]}
        | {"descriptors": [r[4] for r in rows_of(i)]}
        for i in song_ids
    ] + [{"song_id": i, "n_fingerprints": 8} for i in song_ids]
    frame = spark.createDataFrame([tuple(r.get(n) for n in EXTRACTS.names) for r in rows], EXTRACTS)
    folder = commit.stage_folder(lake, run_id, 0)
    return commit.stage(frame, folder), folder
