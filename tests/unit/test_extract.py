"""From one file to rows: hashes and one summary row, whatever is wrong with it."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest
import soundfile

from sonic_lib.audio.digest import digest_row
from sonic_lib.fingerprint.extract import clip_rows, song_rows
from sonic_lib.fingerprint.query import window_row
from sonic_lib.fingerprint.stream import stream_hashes, stream_windows
from sonic_lib.fingerprint.variants import Probe
from sonic_lib.schemas import CLIP_EXTRACTS, DIGESTS, EXTRACTS

RATE_HZ = 12_000


@pytest.fixture
def extract(params):
    def rows(path, *, min_duration_s=3.0):
        *stretches, closing = song_rows(str(path), params=params, min_duration_s=min_duration_s)
        assert all(set(row) == {"path", "hashes", "frames", "descriptors"} for row in stretches)
        assert set(closing) <= set(EXTRACTS.names)
        return stretches, closing

    return rows


@pytest.fixture
def wav(tmp_path):
    def write(samples, name="a song.wav"):
        soundfile.write(tmp_path / name, samples, RATE_HZ, subtype="FLOAT")
        return tmp_path / name

    return write


def loud_noise(rng, duration_s):
    return rng.normal(0, 0.1, round(duration_s * RATE_HZ))


def test_rows_hold_the_hashes_of_the_file(extract, wav, make_song, params):
    path = wav(make_song())
    stretches, closing = extract(path)
    expected = list(stream_hashes([make_song()], params=params))
    assert len(stretches) == len(expected) == 1
    for row, columns in zip(stretches, expected, strict=True):
        for name, column in zip(("hashes", "frames", "descriptors"), columns, strict=True):
            np.testing.assert_array_equal(row[name], column)
    assert closing == {
        "path": str(path),
        "title": "a song",
        "artist": None,
        "album": None,
        "genre": None,
        "release_year": None,
        "sample_rate_hz": RATE_HZ,
        "codec": "float",
        "duration_s": 20.0,
        "n_fingerprints": len(expected[0][0]),
        "note": None,
    }


def test_rows_of_a_clip_hold_its_windows(wav, make_song, params):
    path = str(wav(make_song()))
    probes = (Probe(0, n_grids=2), Probe(3, n_grids=2))
    *rows, closing = clip_rows(path, params=params, probes=probes, windows=[0, 2])
    expected = [
        window
        for window in stream_windows([make_song()], params=params, probes=probes)
        if window.window != 1
    ]
    assert [row["window"] for row in rows] == [0, 2]
    for row, window in zip(rows, expected, strict=True):
        assert set(row) <= set(CLIP_EXTRACTS.names)
        assert row == {"path": path} | window_row(window)
        assert row["n_queries"] == len(window.hashes)
    assert closing["duration_s"] == 20.0
    assert closing["n_fingerprints"] == sum(row["n_queries"] for row in rows)
    assert closing["path"] == path


def test_long_recording_is_split_into_chunks(extract, wav, make_song):
    song = make_song()
    stretches, closing = extract(wav(np.tile(song, 28)))
    assert len(stretches) == 3  # 560 s in pieces of 256 s
    assert closing["n_fingerprints"] == sum(len(row["hashes"]) for row in stretches)
    assert closing["duration_s"] == pytest.approx(560)


@pytest.mark.parametrize(
    ("name", "make", "stage", "words"),
    [
        ("empty.flac", lambda rng: b"", "decode", "empty"),
        ("text.mp3", lambda rng: b"dear diary, " * 500, "decode", "libsndfile"),
        ("broken.mp3", lambda rng: rng.bytes(30_000), "decode", "libsndfile"),
        ("header.wav", lambda rng: b"RIFF\x24\0\0\0WAVEfmt ", "decode", ""),
    ],
)
def test_non_audio_is_rejected(extract, tmp_path, rng, name, make, stage, words):
    (tmp_path / name).write_bytes(make(rng))
    stretches, closing = extract(tmp_path / name)
    assert stretches == []
    assert closing["path"] == str(tmp_path / name)
    assert closing["stage"] == stage
    assert closing["error"]
    assert words in closing["error"]


def test_missing_file_folder_and_pipe_are_rejected_at_open(extract, tmp_path):
    (tmp_path / "folder.mp3").mkdir()
    os.mkfifo(tmp_path / "pipe.mp3")
    for name in ("absent.mp3", "folder.mp3", "pipe.mp3"):
        stretches, closing = extract(tmp_path / name)
        assert stretches == []
        assert closing["stage"] == "open"
        assert "cannot be opened" in closing["error"]


def test_truncated_file_is_used_with_a_note(extract, wav, make_song):
    path = wav(make_song())
    os.truncate(path, path.stat().st_size // 2)
    stretches, closing = extract(path)
    assert "error" not in closing
    assert closing["note"] == "truncated: the header says 20.0 s, the file has 10.0 s"
    assert closing["duration_s"] == pytest.approx(10.0, abs=0.01)
    assert closing["n_fingerprints"] == len(stretches[0]["hashes"]) > 0
    os.truncate(path, path.stat().st_size // 8)
    _, closing = extract(path)
    assert closing["stage"] == "content"
    assert "too short: 1.2" in closing["error"]
    assert "the header says 20.0 s" in closing["error"]


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (lambda rng: loud_noise(rng, 2.9), "too short: 2.90 s, at least 3 s"),
        (lambda rng: loud_noise(rng, 0.001), "too short"),
        (lambda rng: np.zeros(5 * RATE_HZ), "silent"),
        (lambda rng: loud_noise(rng, 5) * 1e-3, "silent"),
    ],
)
def test_unrecognisable_content_is_rejected(extract, wav, rng, samples, words):
    _, closing = extract(wav(samples(rng)))
    assert closing["stage"] == "content"
    assert words in closing["error"]
    assert closing["codec"] == "float"


@pytest.mark.parametrize("n_channels", [2, 3, 6])
def test_silence_of_several_channels_is_that_of_their_mean(extract, wav, rng, n_channels):
    samples = np.zeros((5 * RATE_HZ, n_channels))
    samples[:, 1] = rng.uniform(-0.0015, 0.0015, len(samples))  # -56 dBFS
    _, closing = extract(wav(samples))
    expected = f"silent: the mean of its {n_channels} channels has no sample above -60 dBFS"
    assert closing["error"] == expected


def test_sound_without_structure_is_rejected(extract, wav):
    t_s = np.arange(5 * RATE_HZ) / RATE_HZ
    below_the_band = 0.5 * np.sin(2 * np.pi * 50 * t_s) * np.hanning(t_s.size)
    _, closing = extract(wav(below_the_band))
    assert closing["stage"] == "content"
    assert "no landmarks" in closing["error"]


def test_min_duration_is_a_setting(extract, wav, rng):
    path = wav(loud_noise(rng, 2))
    assert extract(path, min_duration_s=2.5)[1]["stage"] == "content"
    assert "error" not in extract(path, min_duration_s=1.5)[1]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("boom"), "boom"),
        (MemoryError(), "needs more memory than index.file_memory_mb allows"),
        (ValueError("odd"), "odd"),
    ],
)
def test_failing_decoder_rejects_the_file_and_not_the_job(
    extract, wav, rng, monkeypatch, error, words
):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("sonic_lib.fingerprint.extract.stream_hashes", fail)
    _, closing = extract(wav(loud_noise(rng, 5)))
    assert closing["stage"] == "decode"
    assert closing["error"] == words


def test_digest_is_of_the_bytes(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"some bytes")
    row = digest_row({"path": str(tmp_path / "a.wav"), "size_bytes": 10})
    sha256 = hashlib.sha256(b"some bytes").hexdigest()
    assert row["content_sha256"] == sha256
    assert row["song_id"] == int(sha256, 16) >> 193
    assert 0 <= row["song_id"] < 2**63
    assert row["size_bytes"] == 10
    assert set(row) <= set(DIGESTS.names)


def test_digest_of_an_unreadable_file_says_why(tmp_path):
    row = digest_row({"path": str(tmp_path / "absent.wav")})
    assert "content_sha256" not in row
    assert "No such file" in row["error"]


def test_sparse_file_is_rejected_before_it_is_read(tmp_path):
    for size_bytes, words in ((12 * 10**12, "more than 64 GB"), (2 * 10**9, "only 0.0 MB are on")):
        with open(tmp_path / "huge.wav", "wb") as file:
            file.truncate(size_bytes)
        row = digest_row({"path": str(tmp_path / "huge.wav"), "size_bytes": size_bytes})
        assert words in row["error"]
        assert "content_sha256" not in row
