"""The script for TRANSFORM: lines of text in, lines of text out."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile

from sonic_lib.audio.sandbox import Limits
from sonic_lib.fingerprint.params import SAMPLE_RATE_HZ, FingerprintParams
from sonic_lib.sql import functions as sql_functions
from sonic_lib.sql import transform_script
from sonic_lib.synth.composer import synth_song

OPTIONS = {"params": FingerprintParams(), "prefix_bits": 4, "limits": Limits()}


def audio() -> bytes:
    song = synth_song(1, style="folk", duration_s=8.0, sample_rate_hz=SAMPLE_RATE_HZ)
    file = io.BytesIO()
    soundfile.write(file, song, SAMPLE_RATE_HZ, format="wav")
    return file.getvalue()


def test_each_row_is_a_line_with_the_key_of_its_file(monkeypatch, capsys):
    given = {"a song.wav": audio(), "a\tletter\r.mp3": b"no\tsound"}
    lines = [f"{key}\t{content.hex().upper()}\n" for key, content in given.items()]
    for what, rows in (("audio", sql_functions.audio_rows), ("clip", sql_functions.clip_rows)):
        monkeypatch.setattr(
            "sys.argv", ["sql_transform", what, "--set", "fingerprint.prefix_bits=5"]
        )
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("".join(lines).encode())))
        transform_script.main()
        n_columns = {"audio": 5, "clip": 6}[what]
        *written, end = capsys.readouterr().out.split("\n")
        assert end == ""
        printed = [line.rsplit("\t", n_columns) for line in written]
        expected = list(rows(given["a song.wav"], **OPTIONS | {"prefix_bits": 5}))
        *found, letter = printed
        assert {row[0] for row in found} == {"a song.wav"}
        values = [tuple(map(int, row[1:-1])) for row in found]
        assert values == [row[:-1] for row in expected]
        assert letter[0] == "a\tletter\r.mp3"
        assert letter[1:-1] == [r"\N"] * (len(letter) - 2)
        assert "not audio" in letter[-1]


def test_missing_content_is_one_row_with_the_reason():
    ((line),) = transform_script.answers(
        ["a.mp3\t\\N\n"], lambda content: sql_functions.audio_rows(content, **OPTIONS)
    )
    assert line.startswith("a.mp3\t\\N")
    assert "is empty" in line


def test_prefixes_are_the_leading_bits():
    prefix, hash_, _, _, error = next(sql_functions.audio_rows(audio(), **OPTIONS))
    assert (prefix, error) == (hash_ >> 36, None)
    assert np.log2(hash_) < 40


@pytest.mark.parametrize(
    ("rows", "name"),
    [(sql_functions.audio_rows, "song_hashes"), (sql_functions.clip_rows, "clip_hashes")],
)
def test_crashed_decoder_is_one_row_with_the_reason(monkeypatch, rows, name):
    expected = list(rows(audio(), **OPTIONS))
    monkeypatch.setattr(sql_functions, name, crashes)
    ((*nulls, error),) = rows(b"x", **OPTIONS)
    assert set(nulls) == {None}
    assert len(nulls) == len(expected[0]) - 1
    assert "crashed: signal 6" in error
    monkeypatch.undo()
    assert list(rows(audio(), **OPTIONS)) == expected
    assert "is empty" in next(rows(None, **OPTIONS))[-1]


def crashes(content: bytes, *, params: FingerprintParams) -> Iterator[dict]:
    """Abort, as a C library does that detects heap corruption."""
    os.abort()
    yield {}
