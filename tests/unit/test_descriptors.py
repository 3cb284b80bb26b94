"""Audio descriptors, compared with librosa, and on sounds whose values are known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sonic_lib.errors import DecodeError, SetupError
from sonic_lib.features import extract
from sonic_lib.features.catalog import DESCRIPTORS, FAMILIES
from sonic_lib.features.descriptors import (
    EXCERPT_S,
    N_EXCERPTS,
    SAMPLE_RATE_HZ,
    describe,
    pick_excerpts,
)
from sonic_lib.features.extract import describe_row
from sonic_lib.features.librosa_import import load_librosa
from sonic_lib.synth.composer import synth_song

librosa = load_librosa()


@pytest.fixture(scope="module")
def song() -> np.ndarray:
    return synth_song(3, style="folk", duration_s=12.0).mean(axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def described(song) -> dict[str, float]:
    return describe(song)


def tone(hz: float, *, amplitude: float = 1.0, duration_s: float = 3.0) -> np.ndarray:
    times_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (amplitude * np.sin(2 * np.pi * hz * times_s)).astype(np.float32)


# ---- against librosa ----

ORACLES = {
    "mfcc": lambda y: librosa.feature.mfcc(y=y, sr=SAMPLE_RATE_HZ, n_mfcc=20),
    "chroma": lambda y: librosa.feature.chroma_stft(y=y, sr=SAMPLE_RATE_HZ, tuning=0.0),
    "tonnetz": lambda y: librosa.feature.tonnetz(chroma=ORACLES["chroma"](y)),
    "spectral_centroid_hz": lambda y: librosa.feature.spectral_centroid(y=y),
    "spectral_bandwidth_hz": lambda y: librosa.feature.spectral_bandwidth(y=y),
    "spectral_rolloff_hz": lambda y: librosa.feature.spectral_rolloff(y=y),
    "spectral_flatness": lambda y: librosa.feature.spectral_flatness(y=y),
    "spectral_contrast_db": lambda y: librosa.feature.spectral_contrast(y=y),
    "loudness_db": lambda y: librosa.amplitude_to_db(
        librosa.feature.rms(y=y), amin=1e-5, top_db=None
    ),
    "onset_strength": lambda y: librosa.onset.onset_strength(y=y),
}


@pytest.mark.parametrize("name", ORACLES)
def test_families_agree_with_librosa(name, song, described):
    (family,) = (family for family in FAMILIES if family.name == name)
    expected = []
    for part in np.atleast_2d(ORACLES[name](song)):
        slope = librosa.feature.delta(part)
        of = {"mean": part.mean(), "std": part.std(), "delta_std": slope.std()}
        expected += [of[statistic] for statistic in family.statistics]
    found = [described[name] for name in family.descriptors()]
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-4)


def test_beats_and_crossings_agree_with_librosa(song, described):
    assert described["tempo_bpm"] == pytest.approx(librosa.feature.tempo(y=song)[0])
    n_onsets = len(librosa.onset.onset_detect(y=song))
    assert described["onset_rate_hz"] == pytest.approx(n_onsets / 12.0)
    crossings = librosa.zero_crossings(song, pad=False).mean()
    assert described["zero_crossing_rate_mean"] == pytest.approx(crossings, rel=1e-2)


# ---- sounds whose answer is known ----


def test_tone_has_its_frequency_and_level():
    heard = describe(tone(440.0))
    assert heard["spectral_centroid_hz_mean"] == pytest.approx(440, abs=10)
    assert heard["spectral_rolloff_hz_mean"] == pytest.approx(440, abs=15)
    assert heard["zero_crossing_rate_mean"] == pytest.approx(880 / SAMPLE_RATE_HZ, rel=0.01)
    assert heard["loudness_db_mean"] == pytest.approx(20 * np.log10(np.sqrt(0.5)), abs=0.2)
    chroma = {name: heard[name] for name in DESCRIPTORS if name.startswith("chroma")}
    assert max(chroma, key=chroma.get) == "chroma_a_mean"
    assert chroma["chroma_a_mean"] == pytest.approx(1.0)


def test_noise_is_flatter_wider_and_less_tonal_than_a_tone(rng):
    noise = describe(rng.normal(0, 0.1, 3 * SAMPLE_RATE_HZ).astype(np.float32))
    pure = describe(tone(440.0))
    for name in ("spectral_flatness_mean", "spectral_bandwidth_hz_mean"):
        assert noise[name] > 10 * pure[name]
    assert noise["chroma_c_mean"] > 0.5 > pure["chroma_c_mean"]


@pytest.mark.parametrize("bpm", [90, 120, 140])
def test_clicks_have_their_tempo_and_more_beat_than_noise(bpm, rng):
    clicks = np.zeros(15 * SAMPLE_RATE_HZ, np.float32)
    for beat in np.arange(0, 15, 60 / bpm):
        clicks[round(beat * SAMPLE_RATE_HZ) :][:200] = 0.9
    heard = describe(clicks)
    assert heard["tempo_bpm"] == pytest.approx(bpm, rel=0.03)
    assert heard["onset_rate_hz"] == pytest.approx(bpm / 60, abs=0.15)
    noise = describe(rng.normal(0, 0.1, clicks.size).astype(np.float32))
    assert heard["beat_strength"] > noise["beat_strength"] + 0.1


def test_louder_song_differs_only_in_level(song, described):
    louder = describe(4 * song)
    gain_db = louder["loudness_db_mean"] - described["loudness_db_mean"]
    assert gain_db == pytest.approx(20 * np.log10(4), abs=0.05)
    for name in ("loudness_range_db", "spectral_centroid_hz_mean", "mfcc_02_mean", "tempo_bpm"):
        assert louder[name] == pytest.approx(described[name], rel=1e-3)


@settings(max_examples=15, deadline=None)
@given(
    n_samples=st.integers(0, 20_000),
    scale=st.sampled_from([0.0, 1e-9, 1e-3, 1.0]),
    step=st.booleans(),
)
def test_every_sound_has_all_values_finite(n_samples, scale, step):
    samples = np.random.default_rng(n_samples).normal(0, scale, n_samples).astype(np.float32)
    if step:
        samples[n_samples // 2 :] = 0.0
    heard = describe(samples)
    assert tuple(heard) == DESCRIPTORS
    assert np.isfinite(list(heard.values())).all()


def test_without_librosa_it_says_what_to_install(monkeypatch, song):
    monkeypatch.setitem(__import__("sys").modules, "librosa", None)
    with pytest.raises(SetupError, match=r"pip install \'librosa"):
        describe(song)


def test_librosa_is_compiled_by_one_process_at_a_time():
    """The lock is held from before the first kernel is compiled until after the last."""
    script = """
import fcntl, os, sys
from sonic_lib.features.librosa_import import load_librosa

lock = fcntl.flock
kernels = {"librosa.core.audio", "librosa.core.pitch", "librosa.util.utils"}

def noted(file, operation):
    assert operation == fcntl.LOCK_EX | fcntl.LOCK_NB
    lock(file, operation)
    held.append((file, kernels & set(sys.modules)))

held = []
fcntl.flock = noted
load_librosa()
[(number, loaded)] = held
assert not loaded
assert kernels <= set(sys.modules)
try:
    os.fstat(number)
except OSError:
    print("released")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("released\n", "")


# ---- excerpts ----


def in_blocks(samples: np.ndarray, n: int) -> list[np.ndarray]:
    return [samples[i : i + n] for i in range(0, len(samples), n)]


def test_excerpts_are_the_middles_of_equal_parts():
    song = np.arange(100 * SAMPLE_RATE_HZ, dtype=np.float32)
    picked = pick_excerpts(
        in_blocks(song, 30 * SAMPLE_RATE_HZ), duration_s=100.0, n_excerpts=2, excerpt_s=10.0
    )
    first, second = picked.reshape(2, -1) / SAMPLE_RATE_HZ
    assert (first[0], second[0]) == (20.0, 70.0)
    assert len(first) == 10 * SAMPLE_RATE_HZ


@given(block_s=st.floats(0.5, 200.0), duration_s=st.floats(0.0, 300.0))
@settings(max_examples=25, deadline=None)
def test_excerpts_do_not_depend_on_blocks_and_stay_bounded(block_s, duration_s):
    song = np.arange(round(duration_s * 1000), dtype=np.float32).repeat(22)
    whole = pick_excerpts([song], duration_s=duration_s)
    pieces = pick_excerpts(in_blocks(song, round(block_s * SAMPLE_RATE_HZ)), duration_s=duration_s)
    np.testing.assert_array_equal(whole, pieces)
    assert len(whole) <= N_EXCERPTS * EXCERPT_S * SAMPLE_RATE_HZ
    if duration_s < N_EXCERPTS * EXCERPT_S:
        np.testing.assert_array_equal(whole, song)


def test_wrong_duration_still_gives_excerpts():
    song = np.ones(100 * SAMPLE_RATE_HZ, np.float32)
    assert 0 < len(pick_excerpts([song], duration_s=110.0)) <= len(song)
    assert len(pick_excerpts([song], duration_s=1.0)) == N_EXCERPTS * EXCERPT_S * SAMPLE_RATE_HZ


# ---- files ----


@pytest.fixture
def wav(tmp_path, song):
    def write(samples=song, name="Folk/a song.wav"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="FLOAT")
        return str(path)

    return write


def test_file_has_descriptors_and_texts(wav, described):
    path = wav()
    row = describe_row(path, min_duration_s=3.0)
    assert row == {
        "path": path,
        "numbers": {"duration_s": 12.0, **described},
        "texts": {"title": "a song", "folder": "Folk"},
        "note": None,
    }


def test_tags_become_texts(tmp_path, song):
    path = tmp_path / "x.flac"
    with soundfile.SoundFile(path, "w", SAMPLE_RATE_HZ, 1) as file:
        file.title, file.artist, file.album = "T", "A", "B"
        file.genre, file.date = "Folk", "1999-05-01"
        file.write(song)
    texts = describe_row(str(path), min_duration_s=3.0)["texts"]
    assert texts == {
        "title": "T",
        "artist": "A",
        "album": "B",
        "genre": "Folk",
        "release_date": "1999",
        "folder": tmp_path.name,
    }


def test_bad_files_are_rejected_with_stage_and_reason(wav, tmp_path, song):
    letter = tmp_path / "letter.mp3"
    letter.write_text("no sound " * 500)
    rejected = {
        str(tmp_path / "nothing.wav"): ("open", "No such file"),
        str(letter): ("decode", ""),
        wav(0 * song, "silent.wav"): ("content", "above -60 dBFS"),
        wav(np.stack([0 * song] * 3, axis=1), "surround.wav"): (
            "content",
            "silent: the mean of its 3 channels has no sample above -60 dBFS in excerpts",
        ),
        wav(song[:SAMPLE_RATE_HZ], "short.wav"): ("content", "too short: 1.00 s"),
    }
    for path, (stage, reason) in rejected.items():
        row = describe_row(path, min_duration_s=3.0)
        assert (row["path"], row["stage"]) == (path, stage)
        assert reason in row["error"]
        assert "numbers" not in row


def test_file_of_unknown_duration_has_the_same_descriptors(wav, song, monkeypatch):
    long = np.tile(song, 7)
    announced = describe_row(wav(long), min_duration_s=3.0)

    def stream_unknown(file, *, sample_rate_hz):
        info, blocks = stream(file, sample_rate_hz=sample_rate_hz)
        return type(info)(**{**vars(info), "duration_s": None}), blocks

    stream = extract.stream_mono
    monkeypatch.setattr(extract, "stream_mono", stream_unknown)
    assert describe_row(wav(long), min_duration_s=3.0) == announced
    assert announced["numbers"]["duration_s"] == pytest.approx(84.0)


def test_file_that_fails_halfway_is_rejected(wav, monkeypatch):
    def broken(*_, **__):
        raise DecodeError("decode", "broken after 1 s")

    monkeypatch.setattr(extract, "pick_excerpts", broken)
    assert describe_row(wav(), min_duration_s=3.0)["error"] == "broken after 1 s"


# ---- names ----


def test_docs_list_every_family():
    docs = Path(__file__).parents[2].joinpath("docs/features.md").read_text(encoding="utf-8")
    for family in FAMILIES:
        first, last = family.descriptors()[0], family.descriptors()[-1]
        names = f"`{first}`" if first == last else f"`{first}` … `{last}`"
        n = len(family.descriptors())
        assert f"| {names} | {n} | {family.unit} | {family.meaning} |" in docs
    assert f"{len(DESCRIPTORS)} descriptors" in docs
