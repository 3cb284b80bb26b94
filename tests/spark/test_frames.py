"""From files to digests, extracts and hash rows."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import soundfile

from sonic_lib.audio.listing import list_audio
from sonic_lib.fingerprint.extract import clip_rows, song_rows
from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.fingerprint.spark import (
    digest_files,
    fingerprint_clips,
    fingerprint_files,
    hash_prefix,
    hash_rows,
)
from sonic_lib.fingerprint.variants import Probe
from sonic_lib.matching.spark import searched_again
from sonic_lib.schemas import CLIP_EXTRACTS, DIGESTS, EXTRACTS, FINGERPRINTS

PARAMS = FingerprintParams()


def types(schema):
    return [(field.name, field.dataType) for field in schema]


@pytest.fixture
def folder(tmp_path, rng):
    for name in ("a.wav", "b c#%20.wav"):
        soundfile.write(tmp_path / name, rng.normal(0, 0.1, 60_000), 12_000)
    (tmp_path / "broken.mp3").write_bytes(b"no sound")
    (tmp_path / "gone.mp3").symlink_to(tmp_path / "nowhere")
    return tmp_path


def test_digests_are_of_each_files_bytes(spark, folder):
    digests = list_audio(spark, [str(folder)]).transform(digest_files)
    assert types(digests.schema) == types(DIGESTS)
    rows = {row.path: row for row in digests.collect()}
    assert set(rows) == {str(path) for path in folder.iterdir()}
    gone = rows.pop(f"{folder}/gone.mp3")
    assert gone.song_id is gone.content_sha256 is None
    assert "No such file" in gone.error
    for path, row in rows.items():
        with open(path, "rb") as file:
            sha256 = hashlib.sha256(file.read()).hexdigest()
        assert (row.content_sha256, row.error) == (sha256, None)
        assert row.song_id == int(sha256[:16], 16) >> 1


def check_rows(extracts, schema, rows_of):
    assert types(extracts.schema) == types(schema)
    found = {}
    for row in extracts.collect():
        found.setdefault(row.path, []).append(row.asDict())
    assert len(found) == 4
    for path, rows in found.items():
        for row, alone in zip(rows, rows_of(path), strict=True):
            for name in set(schema.names) - {"song_id", "content_sha256"}:
                if isinstance(alone.get(name), np.ndarray):
                    np.testing.assert_array_equal(row[name], alone[name])  # NaN equals NaN
                else:
                    assert row[name] == alone.get(name)
        assert (rows[-1]["error"] is None) == (".wav" in path)


def test_song_extracts_equal_those_of_each_file_alone(spark, folder):
    n_done = spark.sparkContext.accumulator(0)
    extracts = (
        list_audio(spark, [str(folder)])
        .transform(digest_files)
        .transform(fingerprint_files, params=PARAMS, min_duration_s=3.0, n_done=n_done)
    )
    check_rows(extracts, EXTRACTS, lambda p: song_rows(p, params=PARAMS, min_duration_s=3.0))
    assert n_done.value == 4


def test_clip_extracts_equal_those_of_each_file_alone(spark, folder):
    n_done = spark.sparkContext.accumulator(0)
    options = {"params": PARAMS, "probes": (Probe(0, 2), Probe(5, 2))}
    extracts = list_audio(spark, [str(folder)]).transform(
        fingerprint_clips, n_done=n_done, **options
    )
    check_rows(extracts, CLIP_EXTRACTS, lambda path: clip_rows(path, **options))
    assert n_done.value == 4


def test_only_requested_windows_are_hashed(spark, tmp_path, rng):
    soundfile.write(tmp_path / "long.wav", rng.normal(0, 0.1, 12_000 * 40), 12_000)
    clips = spark.createDataFrame(
        [(str(tmp_path / "long.wav"), 0, [1, 4])],
        "path string, size_bytes long, windows array<int>",
    )
    rows = clips.transform(fingerprint_clips, params=PARAMS, probes=(Probe(n_grids=1),)).collect()
    assert [row.window for row in rows] == [1, 4, None]


def test_song_ids_are_passed_on(spark, folder):
    digests = list_audio(spark, [str(folder / "a.wav")]).transform(digest_files)
    (digest,) = digests.collect()
    extracts = digests.transform(fingerprint_files, params=PARAMS).collect()
    assert len(extracts) > 1
    assert {row.song_id for row in extracts} == {digest.song_id}
    assert {row.content_sha256 for row in extracts} == {digest.content_sha256}


def test_hash_rows_unpack_chunks(spark):
    top = 2**40 - 1
    extracts = spark.createDataFrame(
        [
            (1, [0, top], [10, 20], [7, -8]),
            (2, [1 << 36], [30], [9]),
            (3, [], [], []),
            (4, None, None, None),
        ],
        "song_id long, hashes array<long>, frames array<int>, descriptors array<int>",
    )
    rows = extracts.transform(hash_rows, prefix_bits=4)
    assert sorted(rows.collect()) == [
        (1, 0, 0, 10, 7),
        (1, 15, top, 20, -8),
        (2, 1, 1 << 36, 30, 9),
    ]
    declared = dict(types(FINGERPRINTS.schema))
    assert types(rows.schema) == [
        (name, declared[name])
        for name in ("song_id", "hash_prefix", "hash", "offset_frames", "descriptor")
    ]


@pytest.mark.parametrize("bits", [0, 1, 4, 12])
def test_prefix_is_the_leading_bits(spark, rng, bits):
    hashes = [0, 2**40 - 1, *rng.integers(0, 2**40, 50).tolist()]
    rows = spark.createDataFrame([(h,) for h in hashes], "hash long")
    found = dict(rows.select("hash", hash_prefix(bits=bits)).collect())
    assert found == {h: int(f"{h:040b}"[:bits] or "0", 2) for h in hashes}


def test_thinned_windows_still_cover_every_clip(spark):
    clips = {"one": [0], "two": [0, 1], "six": list(range(6)), "seven": list(range(7))}
    windows = spark.createDataFrame(
        [(path, window) for path, numbers in clips.items() for window in numbers],
        "path string, window int",
    )
    kept = {}
    for path, window in windows.transform(searched_again).orderBy("path", "window").collect():
        kept.setdefault(path, []).append(window)
    assert kept == {"one": [0], "two": [0, 1], "six": [0, 2, 4, 5], "seven": [0, 2, 4, 6]}
