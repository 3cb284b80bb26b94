"""From windows to segments: grouping, boundaries and confidence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sonic_lib.matching.scoring import TAIL, p_values
from sonic_lib.matching.segments import COLUMNS, find_segments

NAMES = (
    *("window", "start_s", "end_s", "rank", "line", "score", "song_id", "evidence", "offset_s"),
    *("speed", "pitch", "first_s", "last_s", "n_votes"),
)


def window(number, *songs, speed=1.0, length_s=10.0):
    """Rows of one window: songs are (song_id, score, position of the window's middle)."""
    return [
        (
            *(number, 5.0 * number, 5.0 * number + length_s, rank, line, score, song),
            *(100.0 / rank / (1 + line), place, speed, speed, -4.5, 4.5, 50),
        )
        for rank, (song, score, places) in enumerate(songs, start=1)
        for line, place in enumerate(np.atleast_1d(places))
    ]


def found(rows, *, duration_s=60.0, rate=0.01, n_listed=1) -> pd.DataFrame:
    lines = pd.DataFrame([row for rows_ in rows for row in rows_], columns=NAMES)
    segments = find_segments(
        lines, duration_s=duration_s, false_accept_rate=rate, n_listed=n_listed
    )
    assert tuple(segments.columns) == COLUMNS
    return segments


def place(number, *, start_s=0.0, speed=1.0):
    """Where the middle of a window lies in a song that begins at `start_s`."""
    return (5.0 * number + 5 - start_s) * speed


def test_short_clip_is_one_segment():
    rows = [window(0, (4, 50.0, 33.0), (5, 0.0, 9.0), length_s=6.0)]
    (row,) = found(rows, duration_s=6.0).itertuples()
    assert (row.clip_start_s, row.clip_end_s, row.song_id, row.accepted) == (0, 6.0, 4, True)
    assert row.offset_s == pytest.approx(30.0)
    assert row.p_value == pytest.approx(p_values(np.array([50.0]))[0])


def test_candidates_of_a_short_clip_are_ranked():
    lines = [window(0, (4, 50.0, 33.0), (5, 0.0, 9.0), (6, 0.0, 9.0))]
    rows = found(lines, duration_s=10.0, n_listed=2)
    assert rows["song_id"].tolist() == [4, 5]
    assert rows["accepted"].tolist() == [True, False]


def test_song_in_the_first_window_only_does_not_fill_the_recording():
    (row,) = found([window(0, (4, 50.0, 33.0))]).itertuples()
    assert (row.clip_start_s, row.clip_end_s) == pytest.approx((0.5, 9.5))


def test_windows_on_one_line_are_one_segment():
    (row,) = found(
        [window(k, (4, 30.0, 20 + place(k)), (90 + k, 0.0, 3.0)) for k in range(6)]
    ).itertuples()
    assert (row.song_id, row.n_votes) == (4, 300)
    assert row.clip_start_s == pytest.approx(0.5)
    assert row.clip_end_s == pytest.approx(34.5)
    assert row.offset_s == pytest.approx(20.5)


def test_turns_of_a_loop_are_one_segment():
    # Windows 2 to 4 are on a second line, 40 s earlier in the song, whose first window wins.
    places = {k: [20 + place(k), 60 + place(k)] if 2 <= k <= 4 else [20 + place(k)]
              for k in range(9)}  # fmt: skip
    places[3].reverse()
    rows = [window(k, (4, 90.0 if k == 3 else 30.0, places[k])) for k in places]
    (row,) = found(rows).itertuples()
    assert (row.song_id, row.n_votes) == (4, 450)
    assert (row.clip_start_s, row.clip_end_s) == pytest.approx((0.5, 49.5))
    assert row.offset_s == pytest.approx(20.5)


@pytest.mark.parametrize("speed", [0.96, 1.04])
def test_speed_is_that_of_the_line_through_all_windows(speed):
    measured = [speed + e for e in (0.01, -0.01, 0.005, 0.0, -0.005, 0.01)]
    (row,) = found(
        [
            window(k, (4, 30.0, 20 + place(k, speed=speed)), speed=measured[k])
            for k in range(len(measured))
        ]
    ).itertuples()
    assert row.speed == pytest.approx(speed, abs=1e-6)
    assert row.offset_s == pytest.approx(20 + 0.5 * speed, abs=1e-6)


def test_weak_window_in_the_middle_is_no_gap_but_two_songs_are():
    rows = [window(k, (4, 40.0, place(k))) for k in (0, 1)]
    rows.append(window(2, (8, 1.0, 70.0), (4, 0.0, place(2))))
    rows.append(window(3, (8, 1.0, 10.0)))
    rows += [window(k, (4, 40.0, place(k))) for k in (4, 5)]
    rows += [window(k, (5, 40.0, place(k, start_s=30))) for k in range(6, 9)]
    segments = found(rows)
    assert segments["song_id"].tolist() == [4, 5]
    assert segments["clip_end_s"].tolist() == pytest.approx([34.5, 49.5])


def test_ids_keep_all_their_digits():
    song = 2**62 + 1  # not representable as float64
    rows = found([window(k, (song, 9.0, place(k))) for k in range(4)])
    assert rows["song_id"].tolist() == [song]


def test_one_song_twice_is_two_segments():
    rows = [window(k, (4, 40.0, place(k))) for k in range(3)]
    rows += [window(k, (4, 40.0, place(k, start_s=15))) for k in range(3, 6)]
    segments = found(rows)
    assert segments["song_id"].tolist() == [4, 4]
    assert segments["offset_s"].tolist() == pytest.approx([0.5, 0.5])


def test_loop_continues_on_the_matching_line():
    rows = [window(0, (4, 60.0, [place(0)]))]
    # Each window also matches 8 s later in the song, with more evidence.
    rows += [window(k, (4, 40.0, [place(k) + 8, place(k)])) for k in range(1, 5)]
    (row,) = found(rows).itertuples()
    assert row.offset_s == pytest.approx(0.5)
    assert row.clip_end_s == pytest.approx(29.5)


def test_overlapping_songs_give_overlapping_segments():
    rows = [window(k, (4, 40.0, place(k))) for k in range(3)]
    rows += [window(k, (4, 40.0, place(k)), (5, 0.0, place(k, start_s=15))) for k in (3, 4)]
    rows += [window(k, (5, 40.0, place(k, start_s=15))) for k in (5, 6)]
    segments = found(rows)
    assert segments["song_id"].tolist() == [4, 5]
    assert segments["clip_start_s"].tolist() == pytest.approx([0.5, 15.5])
    assert segments["clip_end_s"].tolist() == pytest.approx([29.5, 39.5])


def test_gaps_stay_empty_and_uncertain_windows_are_omitted():
    rows = [window(k, (50 + k, 2.0, 7.0)) for k in range(10)]
    rows[4] = window(4, (4, 60.0, place(4)))
    segments = found(rows)
    assert segments["song_id"].tolist() == [4]


def test_without_an_accepted_segment_the_best_candidate_is_returned():
    (row,) = found([window(k, (50 + k, 2.0 + k, 70.0)) for k in range(10)]).itertuples()
    assert (row.accepted, row.song_id) == (False, 59)
    assert (row.clip_start_s, row.clip_end_s) == (0.0, 60.0)
    assert row.offset_s == pytest.approx(70 - 50)


def test_lines_without_evidence_give_an_answer_that_is_not_accepted():
    lines = pd.DataFrame(window(0, (4, 0.0, 33.0)) + window(1, (4, 0.0, 38.0)), columns=NAMES)
    lines["evidence"] = 0.0
    rows = find_segments(lines, duration_s=20.0, false_accept_rate=0.01, n_listed=1)
    assert rows["accepted"].tolist() == [False]
    assert rows["offset_s"].tolist() == [pytest.approx(28.0)]


def test_noise_around_a_song_is_no_part_of_it():
    """A window of noise has a hit or two on the song's line, here at its far end."""
    rows = [window(k, (4, 60.0 if 2 <= k <= 5 else 0.0, place(k))) for k in range(9)]
    lines = pd.DataFrame([row for rows_ in rows for row in rows_], columns=NAMES)
    is_noise = ~lines["window"].between(2, 5)
    lines.loc[is_noise, "evidence"] = 8.0
    segments = find_segments(lines, duration_s=50.0, false_accept_rate=0.01, n_listed=1)
    (row,) = segments.itertuples()
    assert (row.clip_start_s, row.clip_end_s) == (15.0 - 4.5, 30.0 + 4.5)
    assert row.offset_s == pytest.approx(row.clip_start_s)


def test_weak_windows_that_agree_add_up():
    weak = 4.5 * TAIL
    alone = found([window(0, (4, weak, place(0))), window(9, (5, 0.0, 3.0))])
    agreeing = found([window(k, (4, weak, place(k))) for k in range(10)])
    assert not alone["accepted"][0]
    assert agreeing["accepted"][0]


def test_lone_chance_window_does_not_hide_weak_ones_that_agree():
    rows = [window(k, (4, 4.5 * TAIL, place(k))) for k in range(8)]
    rows.append(window(11, (5, 5.0 * TAIL, 3.0)))
    segments = found(rows)
    assert segments["song_id"].tolist() == [4]
    assert segments["accepted"].tolist() == [True]


def test_false_accept_rate_does_not_grow_with_length(rng):
    """Overlapping windows share half of their hits; here they are maximally dependent."""
    n_clips, n_windows, rate = 200, 12, 0.05
    accepted = 0
    for _ in range(n_clips):
        scores = np.repeat(rng.exponential(TAIL, n_windows // 2), 2)
        rows = [window(k, (50 + k, scores[k], 7.0)) for k in range(n_windows)]
        accepted += found(rows, rate=rate)["accepted"].any()
    assert accepted / n_clips <= rate + 3 * np.sqrt(rate * (1 - rate) / n_clips)


def test_candidates_are_listed_for_each_segment():
    rows = [window(k, (4, 40.0, place(k)), (9, 0.0, 3.0), (8, 0.0, 3.0)) for k in range(3)]
    rows += [window(k, (5, 40.0, place(k, start_s=15)), (7, 0.0, 3.0)) for k in range(3, 6)]
    segments = found(rows, n_listed=2)
    assert segments["song_id"].tolist() == [4, 9, 5, 7]
    assert segments["rank"].tolist() == [1, 2, 1, 2]
    assert segments["accepted"].tolist() == [True, False, True, False]
