"""Excerpts read by seeking equal those of the whole file; unusual files are read whole."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from sonic_lib.audio.decode import stream_mono
from sonic_lib.audio.seeking import read_parts
from sonic_lib.features import extract
from sonic_lib.features.descriptors import SAMPLE_RATE_HZ, excerpt_places, pick_excerpts
from tests.unit.test_damaged_files import with_hole
from tests.unit.test_stated_lengths import with_fewer_samples

DURATION_S = 75.3
SOUGHT = [
    *[("WAV", "PCM_16", 44_100), ("WAV", "FLOAT", 22_050), ("FLAC", "PCM_16", 48_000)],
    *[("AIFF", "PCM_24", 32_000), ("OGG", "VORBIS", 44_100), ("OGG", "OPUS", 48_000)],
    ("FLAC", "PCM_16", 44_100),
]


def encoded(form: str, subtype: str, rate_hz: int, n_channels: int = 2) -> bytes:
    """Sweeps and noise, so that both the position and the value of a sample matter."""
    t_s = np.arange(round(DURATION_S * rate_hz)) / rate_hz
    rng = np.random.default_rng(2)
    sweep = 0.4 * np.sin(2 * np.pi * (200 + 10 * t_s) * t_s)
    channels = [sweep * (0.5 + 0.3 * k) + rng.normal(0, 0.02, t_s.size) for k in range(n_channels)]
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", samplerate=rate_hz, channels=n_channels, format=form, subtype=subtype
    ) as sound:
        # libsndfile cannot write long blocks of Vorbis at once.
        for piece in np.array_split(np.stack(channels, 1), 200):
            sound.write(piece)
    return file.getvalue()


def read_whole(content: bytes) -> tuple[np.ndarray, float]:
    info, blocks = stream_mono(io.BytesIO(content), sample_rate_hz=SAMPLE_RATE_HZ)
    samples = np.concatenate(list(blocks))
    return pick_excerpts([samples], duration_s=info.duration_s), len(samples) / SAMPLE_RATE_HZ


@pytest.mark.parametrize(("form", "subtype", "rate_hz"), SOUGHT)
def test_parts_match_the_whole_file(form, subtype, rate_hz):
    content = encoded(form, subtype, rate_hz)
    whole, whole_s = read_whole(content)
    places = excerpt_places(DURATION_S)
    parts, duration_s = read_parts(io.BytesIO(content), places, sample_rate_hz=SAMPLE_RATE_HZ)
    assert duration_s == pytest.approx(whole_s, abs=2 / SAMPLE_RATE_HZ)
    difference = np.concatenate(parts) - whole
    # Opus decoding is not exactly reproducible; a shift of one sample would differ a hundredfold.
    assert np.sqrt(np.mean(difference**2)) < (2e-3 if subtype == "OPUS" else 1e-5)


@pytest.mark.parametrize(
    "content",
    [
        encoded("MP3", "MPEG_LAYER_III", 44_100),
        encoded("FLAC", "PCM_16", 44_100)[:-200_000],
        encoded("WAV", "PCM_16", 44_100)[:-200_000],
        encoded("OGG", "VORBIS", 44_100)[:-20_000],
        2 * encoded("OGG", "VORBIS", 44_100),
        2 * encoded("FLAC", "PCM_16", 44_100),
        with_hole(encoded("OGG", "VORBIS", 44_100)),
        with_hole(encoded("OGG", "OPUS", 48_000)),
        with_fewer_samples(encoded("WAV", "MS_ADPCM", 44_100), 0.9),
        b"no sound at all",
    ],
    ids=["mp3", "cut flac", "cut wav", "cut ogg", "joined ogg", "joined flac"]
    + ["holed ogg", "holed opus", "short adpcm", "text"],
)
def test_unusual_files_are_not_seeked(content):
    places = excerpt_places(DURATION_S)
    assert read_parts(io.BytesIO(content), places, sample_rate_hz=SAMPLE_RATE_HZ) is None


def test_channels_that_cancel_are_not_seeked():
    rate_hz = 22_050
    tone = np.sin(np.arange(80 * rate_hz) / 9) / 2
    file = io.BytesIO()
    soundfile.write(file, np.stack([tone, -tone], 1), rate_hz, format="WAV")
    assert read_parts(file, excerpt_places(80.0), sample_rate_hz=SAMPLE_RATE_HZ) is None


def test_long_songs_are_seeked_and_short_ones_read(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(extract, "describe", lambda excerpts: {"n": float(len(excerpts))})
    monkeypatch.setattr(
        extract, "read_parts", lambda *a, **k: asked.append(1) or read_parts(*a, **k)
    )
    (tmp_path / "long.flac").write_bytes(encoded("FLAC", "PCM_16", 44_100))
    soundfile.write(tmp_path / "short.wav", np.random.default_rng(1).normal(0, 0.1, 88_200), 44_100)
    long = extract.describe_row(str(tmp_path / "long.flac"), min_duration_s=1)
    assert (len(asked), long["numbers"]["n"], long["note"]) == (1, 60.0 * SAMPLE_RATE_HZ, None)
    assert long["numbers"]["duration_s"] == pytest.approx(DURATION_S, abs=1e-3)
    extract.describe_row(str(tmp_path / "short.wav"), min_duration_s=1)
    assert len(asked) == 1
