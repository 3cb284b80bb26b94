"""Audio and pictures that explain an answer."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from sonic_lib.audio.degradations import change_speed
from sonic_lib.report.excerpts import HEARD_RATE_HZ, excerpt, shared
from sonic_lib.synth.composer import synth_song

RATE_HZ = HEARD_RATE_HZ
START_S = 7.0
COMMON = {"clip_start_s": 1.0, "clip_end_s": 7.0, "pitch": 1.0, "speed": 1.0}


@pytest.fixture(scope="module")
def songs(tmp_path_factory) -> dict[str, str]:
    """Two songs, a clip of the first starting at 6 s, and the same clip 5 % faster."""
    folder = tmp_path_factory.mktemp("music")
    wanted = {
        name: synth_song(seed, style="folk", duration_s=16.0, sample_rate_hz=RATE_HZ).mean(axis=1)
        for name, seed in (("song", 3), ("other", 4))
    }
    wanted["clip"] = wanted["song"][6 * RATE_HZ : 14 * RATE_HZ]
    wanted["faster"] = change_speed(wanted["clip"], factor=1.05)
    for name, samples in wanted.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE_HZ)
    return {name: str(folder / f"{name}.wav") for name in wanted}


def heard(content: bytes) -> np.ndarray:
    samples, rate_hz = soundfile.read(io.BytesIO(content), dtype="float32")
    assert rate_hz == RATE_HZ
    return samples


def test_clip_and_song_match_in_sound_and_picture(songs, params):
    parts = excerpt(
        COMMON | {"clip_path": songs["clip"], "song_path": songs["song"], "offset_s": START_S},
        params=params,
    )
    assert parts["length_s"] == 6.0
    clip, song = heard(parts["clip_audio"]), heard(parts["song_audio"])
    assert abs(len(clip) - 6 * RATE_HZ) < 0.1 * RATE_HZ
    n = min(len(clip), len(song))
    assert np.corrcoef(clip[:n], song[:n])[0, 1] > 0.95
    assert len(parts["clip_time_s"]) > 40
    assert np.mean(parts["clip_is_shared"]) > 0.95


def test_another_song_shares_few_landmarks(songs, params):
    answer = COMMON | {"clip_path": songs["clip"], "song_path": songs["other"], "offset_s": 2.0}
    assert np.mean(excerpt(answer, params=params)["clip_is_shared"]) < 0.5


def test_faster_clip_is_aligned_with_its_song(songs, params):
    answer = {
        "clip_path": songs["faster"],
        "song_path": songs["song"],
        "clip_start_s": 0.0,
        "clip_end_s": 7.5,
        "offset_s": 6.0,
    }
    right = excerpt(answer | {"speed": 1.05, "pitch": 1.05}, params=params)
    wrong = excerpt(answer | {"speed": 1.0, "pitch": 1.0}, params=params)
    assert np.mean(right["clip_is_shared"]) > 0.6
    assert np.mean(wrong["clip_is_shared"]) < 0.5 * np.mean(right["clip_is_shared"])


@pytest.mark.parametrize(
    ("clip", "song", "keys"),
    [
        ("clip", "/absent/song.wav", {"clip_audio", "clip_time_s", "clip_khz", "clip_is_shared"}),
        ("clip", None, {"clip_audio", "clip_time_s", "clip_khz", "clip_is_shared"}),
        ("/absent/clip.wav", "song", {"song_audio", "song_time_s", "song_khz"}),
    ],
)
def test_unreadable_parts_are_omitted(songs, params, clip, song, keys):
    paths = {"clip_path": songs.get(clip, clip), "song_path": songs.get(song, song)}
    parts = excerpt(COMMON | paths | {"offset_s": START_S}, params=params)
    assert set(parts) == keys | {"length_s"}
    assert not any(parts.get("clip_is_shared", []))


def test_answer_without_a_position_is_cut_from_the_start(songs, params):
    nothing = dict.fromkeys([*COMMON, "offset_s", "song_path"]) | {"clip_path": songs["song"]}
    parts = excerpt(nothing, params=params)
    assert parts["length_s"] == 10.0
    assert abs(len(heard(parts["clip_audio"])) - 10 * RATE_HZ) < 0.1 * RATE_HZ


def test_landmarks_are_shared_within_a_frame_and_a_half():
    points = np.array([[1.0, 2.0], [1.0, 3.0], [5.0, 1.0]])
    others = np.array([[1.047, 2.023], [1.049, 3.0], [5.0, 1.024]])
    assert shared(points, others).tolist() == [True, False, False]
    assert shared(points, np.zeros((0, 2))).tolist() == [False] * 3
