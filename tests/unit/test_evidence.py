"""All hits of a clip with given songs, compared with those the join keeps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from sonic_lib.fingerprint.params import FRAME_S
from sonic_lib.matching.evidence import OFFSET_STEP_S, _slice_hits, offset_votes, on_line, placed
from sonic_lib.matching.slices import gather, within
from tests.unit.test_join import N_FRAMES, QUERIES, ROWS, hits_by_brute_force, packed, table


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, queries=QUERIES)
def test_hits_equal_those_of_the_join_for_the_given_songs(rows, queries):
    asked = within(gather([packed(window) for window in queries], bits=0), 0)
    wanted = [1, 3]
    found = _slice_hits(asked, table(rows), np.array(wanted), N_FRAMES)
    strong = found[found["weight"] > 1]  # the join groups weights into classes
    for number, expected in enumerate(hits_by_brute_force(rows, queries)):
        own = strong[strong["window"] == number]
        columns = own[["song_id", "offset_frames", "frame", "weight"]]
        given_ = sorted(columns.itertuples(index=False, name=None))
        kept = [hit for hit in expected if hit[0] in wanted and hit[3] > 1]
        assert [hit[:3] for hit in given_] == [hit[:3] for hit in kept]
        np.testing.assert_allclose([hit[3] for hit in given_], [hit[3] for hit in kept], rtol=1e-5)


def answer(**more) -> pd.Series:
    plain = {"song_id": 1, "offset_s": 20.0, "speed": 1.0, "clip_start_s": 2.0, "clip_end_s": 8.0}
    return pd.Series(plain | more)


def test_positions_are_in_the_clip_whatever_the_variant():
    columns = {"variant": [0, 0], "frame": [0, 100], "offset_frames": [10, 20]}
    hits = placed(pd.DataFrame(columns | {"start_s": 4.0, "end_s": 6.0}))
    assert hits["clip_s"].tolist() == pytest.approx([5.0, 5.0 + 100 * FRAME_S])
    assert hits["song_s"].tolist() == pytest.approx([10 * FRAME_S, 20 * FRAME_S])


@pytest.mark.parametrize("speed", [1.0, 1.05])
def test_histogram_bin_of_the_answer_holds_the_hits_on_its_line(speed, rng):
    """The number of hits in the text equals the peak in the picture."""
    clip_s = rng.uniform(2, 8, 300)
    apart_s = np.concatenate([rng.uniform(-1.4, 1.4, 200) * FRAME_S, rng.uniform(-9, 9, 100)])
    song_s = 20.0 + speed * (clip_s - 2.0) + apart_s
    hits = pd.DataFrame({"song_id": 1, "clip_s": clip_s, "song_s": song_s})
    best = answer(speed=speed)
    steps, places_s, votes = offset_votes(hits, best)
    at = int(np.flatnonzero(steps == 0)[0])
    assert votes[at] == on_line(hits, best).sum() >= 200
    assert places_s[at] == pytest.approx(20.0)
    assert votes.sum() == 300
    assert np.abs(np.diff(places_s) / OFFSET_STEP_S).min() >= 0.99
