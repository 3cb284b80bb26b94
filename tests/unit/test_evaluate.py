"""The plan of an evaluation, and its totals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import soundfile

from sonic_lib.errors import UsageError
from sonic_lib.fingerprint.params import SAMPLE_RATE_HZ
from sonic_lib.matching.cases import CONDITIONS, case_samples, plan_cases
from sonic_lib.matching.evaluation import ASKED, calibration, judge_answers, robustness


@pytest.fixture
def songs() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "song_id": [1, 2, 3, 4],
            "song_path": ["/1", "/2", "/3", "/4"],
            "duration_s": [60.0, 8.0, 60.0, 30.0],
            "is_known": [True, True, False, False],
        }
    )


def test_cases_lie_within_their_songs_and_are_reproducible(songs):
    cases = plan_cases(songs, n_clips=5, lengths_s=[3.0, 10.0], seed=3)
    assert len(cases) == 2 * 2 * 5 * len(CONDITIONS)
    assert cases["path"].is_unique
    duration_s = cases["song_id"].map(songs.set_index("song_id")["duration_s"])
    assert (cases["start_s"] >= 0).all()
    assert (cases["start_s"] + cases["length_s"] <= duration_s).all()
    assert set(cases.loc[cases["is_known"], "song_id"]) == {1, 2}
    pd.testing.assert_frame_equal(
        cases, plan_cases(songs, n_clips=5, lengths_s=[3.0, 10.0], seed=3)
    )


def test_songs_shorter_than_a_length_have_no_case_of_it(songs):
    cases = plan_cases(songs, n_clips=2, lengths_s=[40.0], seed=3)
    assert set(cases["song_id"]) == {1, 3}


@pytest.mark.parametrize(
    ("lengths_s", "all_known", "n_usable"), [([50.0, 80.0], False, 0), ([2.0], True, 4)]
)
def test_too_few_songs_are_refused(songs, lengths_s, all_known, n_usable):
    songs["is_known"] |= all_known
    with pytest.raises(UsageError, match=f"^{n_usable} songs .* too few"):
        plan_cases(songs, n_clips=2, lengths_s=lengths_s, seed=3)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_case_has_its_length_and_is_reproducible(tmp_path, rng, condition):
    path = str(tmp_path / "song.wav")
    soundfile.write(path, rng.normal(0, 0.1, (20 * SAMPLE_RATE_HZ, 2)), SAMPLE_RATE_HZ)
    case = {"song_path": path, "start_s": 7.0, "length_s": 5.0, "condition": condition, "seed": 9}
    samples = case_samples(case)
    assert len(samples) == 5 * SAMPLE_RATE_HZ
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    np.testing.assert_array_equal(samples, case_samples(case))


def test_shares_are_of_the_right_clips():
    answers = pd.DataFrame(
        {
            "condition": "clean",
            "length_s": 5.0,
            "is_known": [True] * 4 + [False] * 4,
            "song_id": [1, 1, 2, 2, 9, 9, 9, 9],
            "found_id": [1, 1, 2, 3, 1, 2, None, 3],
            "start_s": 10.0,
            "offset_s": [10.05, 12.0, 10.0, 10.0, 1, 1, np.nan, 1],
            "accepted": [True, False, True, True, False, True, False, False],
            "p_value": [0.0, 0.5, 0.0, 0.0, 0.3, 0.004, 1.0, 0.06],
        }
    )
    judged = judge_answers(answers)
    (row,) = robustness(judged).itertuples()
    assert (row.n, row.top1, row.placed, row.accepted) == (4, 75, 50, 50)
    curve = calibration(judged).set_index("asked")
    assert curve.index.tolist() == list(ASKED)
    assert curve["observed"].tolist() == [0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0]
    assert (curve["low"] <= curve["observed"]).all()
    assert (curve["high"] >= curve["observed"]).all()
    assert (curve["n"] == 4).all()


def test_conditions_are_sorted_by_severity():
    names = ["speed 10 %", "tempo 20 %", "speed 2 %", "speed 5 %"]
    judged = pd.DataFrame({"condition": names * 2}).assign(
        is_known=True, is_right=True, is_placed=True, accepted=True, length_s=[5.0] * 4 + [10.0] * 4
    )
    table = robustness(judged)
    assert list(dict.fromkeys(table["condition"])) == [names[2], names[3], names[0], names[1]]
    assert table["length_s"].tolist() == [5.0, 10.0] * 4
