"""The synthesiser, the degradations, and the demo built from them."""

from __future__ import annotations

import csv
import io
from collections import Counter

import numpy as np
import pytest
import soundfile
from scipy.signal import correlate, stft

from sonic_lib.audio.decode import stream_mono
from sonic_lib.audio.degradations import add_noise, cut, low_bitrate
from sonic_lib.synth.collection import (
    SAMPLE_RATE_HZ,
    _plan_clips,
    demo_songs,
    write_demo,
    write_song,
)
from sonic_lib.synth.composer import synth_song
from sonic_lib.synth.styles import STYLES

RATE_HZ = 22_050


def play(seed: int, style: str, duration_s: float = 12.0) -> np.ndarray:
    return synth_song(seed, style=style, duration_s=duration_s).mean(axis=1)


def read(path) -> np.ndarray:
    with open(path, "rb") as file:
        return np.concatenate(list(stream_mono(file, sample_rate_hz=SAMPLE_RATE_HZ)[1]))


def best_lag(clip: np.ndarray, song: np.ndarray) -> tuple[int, float]:
    """Find where in a song a clip lies, and the correlation there."""
    products = correlate(song, clip, mode="valid", method="fft")
    squares = np.concatenate([[0.0], np.cumsum(song.astype(np.float64) ** 2)])
    energies = squares[len(clip) :] - squares[: len(products)]
    correlations = products / np.sqrt(np.maximum(energies, 1e-6) * np.sum(clip**2))
    lag = int(np.argmax(np.abs(correlations)))
    return lag, float(np.abs(correlations[lag]))


@pytest.mark.parametrize("style", STYLES)
def test_song_is_loud_stereo_and_reproducible(style):
    x = synth_song(5, style=style, duration_s=8.0)
    assert x.shape == (8 * RATE_HZ, 2)
    assert x.dtype == np.float32
    assert np.abs(x).max() < 1
    assert not np.array_equal(x[:, 0], x[:, 1])
    seconds = x[: 7 * RATE_HZ].reshape(7, -1)
    assert (seconds.std(axis=1) > 0.02).all()
    np.testing.assert_array_equal(x, synth_song(5, style=style, duration_s=8.0))


@pytest.mark.parametrize("style", STYLES)
def test_songs_of_one_style_share_no_excerpt(style):
    songs = [play(seed, style) for seed in range(3)]
    for i, song in enumerate(songs):
        passage = song[4 * RATE_HZ : 7 * RATE_HZ]
        assert best_lag(passage, song) == (4 * RATE_HZ, pytest.approx(1.0, abs=1e-3))
        for other in songs[i + 1 :]:
            assert best_lag(passage, other)[1] < 0.6


@pytest.mark.parametrize("style", STYLES)
def test_song_does_not_repeat_itself(style):
    song = play(9, style, 60.0)
    passage = song[5 * RATE_HZ : 10 * RATE_HZ]
    rest = song[10 * RATE_HZ :]
    assert best_lag(passage, rest)[1] < 0.9


def descriptors(x: np.ndarray) -> np.ndarray:
    """Shape of the spectrum and of its changes, each on its own scale."""
    f_hz, _, spectrum = stft(x, RATE_HZ, nperseg=1024)
    level = np.log(np.abs(spectrum) + 1e-4)
    bands = np.array_split(level, 12)
    power = np.abs(spectrum) ** 2
    flatness = np.mean(level.mean(axis=0) - np.log(power.mean(axis=0) + 1e-8) / 2)
    centroid = np.log((f_hz @ power.mean(axis=1)) / power.mean(axis=1).sum())
    flux = [np.abs(np.diff(band.mean(axis=0))).mean() for band in bands]
    return np.array([flatness, centroid, *flux, *(band.mean() for band in bands)])


def test_styles_differ_audibly():
    n_seeds = 5
    points = np.array(
        [[descriptors(play(s, style, 8.0)) for s in range(n_seeds)] for style in STYLES]
    )
    points = (points - points.mean(axis=(0, 1))) / points.std(axis=(0, 1))
    flat = points.reshape(-1, points.shape[-1])
    distances = np.linalg.norm(flat[:, None] - flat, axis=-1)
    np.fill_diagonal(distances, np.inf)
    labels = np.repeat(np.arange(len(STYLES)), n_seeds)
    share_alike = np.mean(labels[distances.argmin(axis=1)] == labels)
    assert share_alike > 0.7  # chance is 0.1


def test_another_sample_rate_gives_the_same_song():
    slow = synth_song(4, style="waltz", duration_s=5.0, sample_rate_hz=RATE_HZ)
    fast = synth_song(4, style="waltz", duration_s=5.0, sample_rate_hz=2 * RATE_HZ)
    assert len(fast) == 2 * len(slow)
    assert np.corrcoef(fast[::2, 0], slow[:, 0])[0, 1] > 0.8  # the rooms differ


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
@pytest.mark.parametrize("n_channels", [None, 2])
def test_noise_has_the_requested_level(rng, snr_db, n_channels):
    shape = 50_001 if n_channels is None else (50_001, n_channels)
    x = 0.01 * rng.standard_normal(shape).astype(np.float32)
    noisy = add_noise(x, snr_db=snr_db, sample_rate_hz=RATE_HZ, rng=rng)
    assert noisy.shape == x.shape
    assert noisy.dtype == np.float32
    power_ratio = np.mean(x**2) / np.mean((noisy - x) ** 2)
    assert 10 * np.log10(power_ratio) == pytest.approx(snr_db, abs=0.1)


def test_noise_on_a_loud_signal_does_not_clip(rng):
    x = np.sign(rng.standard_normal(RATE_HZ)).astype(np.float32)
    noisy = add_noise(x, snr_db=0.0, sample_rate_hz=RATE_HZ, rng=rng)
    assert np.abs(noisy).max() == pytest.approx(1.0)


def test_low_bitrate_keeps_timing_and_loses_treble():
    x = synth_song(6, style="techno", duration_s=6.0)
    poor = low_bitrate(x, sample_rate_hz=RATE_HZ)
    assert poor.shape == (len(x),)
    assert best_lag(poor[RATE_HZ : 3 * RATE_HZ], x.mean(axis=1))[0] == RATE_HZ
    treble = np.fft.rfftfreq(len(x), 1 / RATE_HZ) > 8_500
    before, after = (np.abs(np.fft.rfft(y))[treble].sum() for y in (x.mean(axis=1), poor))
    assert after < 0.05 * before


def test_cut_returns_a_copy():
    x = np.arange(100.0)
    passage = cut(x, start_s=2.0, length_s=3.0, sample_rate_hz=10)
    np.testing.assert_array_equal(passage, np.arange(20.0, 50.0))
    passage[:] = 0
    assert x[20] == 20


def test_collection_has_all_styles_formats_and_unusual_names():
    songs = demo_songs(36, seed=1)
    assert songs == demo_songs(40, seed=1)[:36]
    assert songs != demo_songs(36, seed=2)
    assert {song.genre for song in songs} == set(STYLES)
    formats_by_style = Counter((song.genre, song.path[-3:]) for song in songs)
    assert len(formats_by_style) >= 4 * len(STYLES)
    assert len({song.path for song in songs}) == len({song.seed for song in songs}) == 36
    assert all(40 <= song.duration_s <= 90 for song in songs)
    assert all(song.path.count("/") == 1 for song in songs)
    paths = "".join(song.path for song in songs)
    assert set("%#['\"?ø竹 ") <= set(paths)
    assert len({song.path for song in demo_songs(500, seed=1)}) == 500


@pytest.fixture(scope="module")
def small_demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    steps = []
    write_demo(
        folder, n_songs=4, n_clips=8, n_unknown_songs=2, seed=7, progress=lambda *s: steps.append(s)
    )
    assert steps == [(i, 6) for i in range(1, 7)]
    return folder


def truth(folder) -> list[dict[str, str]]:
    with open(folder / "truth.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_truth_of_the_clips_is_right(small_demo):
    rows = truth(small_demo)
    assert len(rows) == 8
    assert {row["clip"] for row in rows} == {p.name for p in (small_demo / "clips").iterdir()}
    assert {row["condition"] for row in rows if row["song"]} == {"clean", "noise", "low-bitrate"}
    songs = {row["song"]: read(small_demo / "songs" / row["song"]) for row in rows if row["song"]}
    assert len(songs) == 4
    for row in rows:
        clip = read(small_demo / "clips" / row["clip"])
        assert len(clip) / SAMPLE_RATE_HZ == pytest.approx(float(row["length_s"]), abs=1e-3)
        assert 5 <= float(row["length_s"]) <= 10
        if row["song"]:
            lag, correlation = best_lag(clip, songs[row["song"]])
            assert lag / SAMPLE_RATE_HZ == pytest.approx(float(row["offset_s"]), abs=0.01)
            assert correlation > 0.6
        else:
            assert row["offset_s"] == ""
            assert max(best_lag(clip, song)[1] for song in songs.values()) < 0.6


def test_planned_demo_has_the_planned_conditions():
    songs = demo_songs(46, seed=1)
    clips = _plan_clips(songs, n_known=50, n_songs=36, seed=1)
    known = Counter(clip.condition for clip in clips if clip.song in songs[:36])
    unknown = Counter(clip.condition for clip in clips if clip.song in songs[36:])
    assert known == {"clean": 20, "noise": 15, "low-bitrate": 15}
    assert unknown == {"clean": 5, "noise": 5}


@pytest.mark.parametrize("extension", ["wav", "flac", "mp3", "ogg"])
def test_same_song_is_written_identically(tmp_path, extension):
    song = next(s for s in demo_songs(8, seed=2) if s.path.endswith(extension))
    short = type(song)(**{**vars(song), "duration_s": 3.0})
    samples = write_song(short, tmp_path / "a")
    write_song(short, tmp_path / "b")
    a, b = ((tmp_path / folder / song.path).read_bytes() for folder in "ab")
    if extension == "ogg":  # libsndfile draws a serial number for each stream
        np.testing.assert_array_equal(*(soundfile.read(io.BytesIO(file))[0] for file in (a, b)))
    else:
        assert a == b
    decoded = read(tmp_path / "a" / song.path)
    assert np.corrcoef(decoded, samples.mean(axis=1))[0, 1] > 0.98
