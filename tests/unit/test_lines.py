"""Alignments of hits, compared with a search in plain Python and with known alignments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonic_lib.fingerprint.params import FRAME_S, FRAMES_PER_S
from sonic_lib.fingerprint.variants import PITCHES, SPEEDS, VARIANTS
from sonic_lib.matching.alignment import (
    MIN_SHARED,
    VARIANT_COST,
    Hits,
    _slopes,
    correct_for_background,
    find_alignments,
)
from sonic_lib.matching.lines import MAX_FRAME_NATS, best_lines, evidence_of_lines
from sonic_lib.matching.ranking import chance_evidence, window_rows


def hits_of(rows) -> Hits:
    """Rows of song, variant, offset_frames, frame, detune, weight as columns."""
    kinds = (np.int64, np.int32, np.int32, np.int32, np.float32, np.float32)
    columns = zip(*rows, strict=True) if rows else [()] * 6
    return Hits(*(np.array(c, kind) for c, kind in zip(columns, kinds, strict=True)))


def on_a_line(
    rng, *, song=7, n=60, length_s=10.0, offset=3000.0, speed=1.0, pitch=1.0, variant=0, weight=8.0
):
    """Hits of a window on its song, as the query would return them."""
    tempo, tuned = VARIANTS[variant]
    t = rng.uniform(-0.5, 0.5, n) * length_s * FRAMES_PER_S
    jitter = rng.normal(0, 0.3, n)
    return [
        (song, variant, round(offset + speed * x + j), round(x * tempo), d, weight)
        for x, j, d in zip(t, jitter, np.log(pitch / tuned) + rng.normal(0, 0.01, n), strict=True)
    ]


def by_chance(rng, *, songs=range(20, 60), n=40, variant=0):
    return [
        (s, variant, int(rng.integers(0, 6000)), int(rng.integers(-150, 150)), 0.0, 8.0)
        for s in songs
        for _ in range(n)
    ]


def search(hits, **options):
    return find_alignments(hits, **({"n_songs": 5, "n_lined": 2, "n_lines": 3} | options))


def searched(hits: Hits, slopes):
    """Song ids, the columns of `best_lines` ordered by song, and what it finds in them."""
    songs, codes = np.unique(hits.song_id, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    names = ("variant", "offset_frames", "frame", "weight")
    columns = (codes[order], *(getattr(hits, name)[order] for name in names))
    return songs, columns, best_lines(*columns, len(songs), slopes, VARIANT_COST)


def by_brute_force(hits: Hits, slopes) -> dict[int, float]:
    best = {}
    for song in set(hits.song_id.tolist()):
        for variant in set(hits.variant[hits.song_id == song].tolist()):
            of = (hits.song_id == song) & (hits.variant == variant)
            for slope in slopes:
                place = np.floor(hits.offset_frames[of] - slope * hits.frame[of] + 0.5)
                for p in set(place):
                    near = np.maximum(0, 1 - 0.5 * np.abs(place - p))
                    near[np.abs(place - p) > 1] = 0
                    evidence = float((near * hits.weight[of]).sum()) - VARIANT_COST * (variant > 0)
                    best[song] = max(best.get(song, 0.0), evidence)
    return best


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_evidence_matches_brute_force(seed):
    rng = np.random.default_rng(seed)
    rows = [
        (*rng.integers([0, 0, 0, -60], [4, 3, 200, 60]).tolist(), 0.0, float(rng.uniform(1, 9)))
        for _ in range(rng.integers(1, 120))
    ]
    hits = hits_of(sorted(rows))
    slopes = _slopes(120, 0.05)
    songs, _, (evidence, *_) = searched(hits, slopes)
    expected = by_brute_force(hits, slopes)
    np.testing.assert_allclose(evidence, [expected[s] for s in songs.tolist()], rtol=1e-4)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_hits_of_one_frame_are_bounded_together(seed):
    rng = np.random.default_rng(seed)
    rows = [
        # Few frames and offsets, so that many hits on a line are in the same frame.
        (*rng.integers([0, 0, 0, -4], [4, 3, 12, 5]).tolist(), 0.0, float(rng.uniform(1, 15)))
        for _ in range(rng.integers(1, 200))
    ]
    _, columns, lines = searched(hits_of(sorted(rows)), _slopes(8, 0.05))
    evidence = evidence_of_lines(*columns, lines, VARIANT_COST)
    _, variants, slopes, offsets, _ = lines
    for song, found in enumerate(evidence):
        of_frame: dict[int, float] = {}
        for code, variant, offset, frame, weight in zip(*columns, strict=True):
            off_line = abs(np.floor(offset - slopes[song] * frame + 0.5) - offsets[song])
            if code == song and variant == variants[song] and off_line <= 1:
                of_frame[frame] = of_frame.get(frame, 0.0) + weight / (1 + off_line)
        bounded = sum(min(nats, MAX_FRAME_NATS) for nats in of_frame.values())
        expected = max(0.0, bounded - VARIANT_COST * (variants[song] > 0))
        assert found == pytest.approx(expected, rel=1e-4)


def test_shared_drum_beat_does_not_outweigh_the_right_song(rng):
    beat = [(3, 0, 3000 + frame, frame, 0.0, 9.0) for frame in (-40, 0, 40) for _ in range(60)]
    found = search(hits_of(on_a_line(rng, n=60) + beat + by_chance(rng)), n_songs=2)
    assert [lines[0].song_id for lines in found] == [7, 3]
    assert found[1][0].evidence < 0.5 * found[0][0].evidence


@pytest.mark.parametrize("length_s", [3.0, 5.0, 10.0])
@pytest.mark.parametrize("speed", [1.0, 0.98, 1.021, 1.05])
def test_song_offset_and_speed_are_found_without_a_variant(rng, length_s, speed):
    rows = on_a_line(rng, speed=speed, pitch=speed, length_s=length_s) + by_chance(rng)
    best = search(hits_of(rows))[0][0]
    assert best.song_id == 7
    assert best.offset_s == pytest.approx(3000 * FRAME_S, abs=0.02)
    assert best.speed == pytest.approx(speed, abs=0.02 / length_s * 3)
    assert best.n_votes > 50


@pytest.mark.parametrize("variant", [VARIANTS.index(SPEEDS[0]), VARIANTS.index(SPEEDS[-1])])
@pytest.mark.parametrize("rest", [0.985, 1.0, 1.015])
def test_speed_is_refined_from_that_of_the_variant(rng, variant, rest):
    speed = VARIANTS[variant].tempo * rest
    rows = on_a_line(rng, speed=speed, pitch=speed, variant=variant) + by_chance(rng)
    best = search(hits_of(rows))[0][0]
    assert best.speed == pytest.approx(speed, abs=0.004)
    assert best.pitch == best.speed  # as on a turntable
    assert best.offset_s == pytest.approx(3000 * FRAME_S, abs=0.03)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_low_landmarks_do_not_affect_the_pitch(rng, share):
    variant = VARIANTS.index(PITCHES[2])
    rows = on_a_line(rng, pitch=1.02 * VARIANTS[variant].pitch, variant=variant)
    n_low = int(share * len(rows))
    rows = [(*row[:4], np.nan, row[5]) for row in rows[:n_low]] + rows[n_low:]
    ((best, *_), *_) = search(hits_of(rows + by_chance(rng)))
    expected_pitch = VARIANTS[variant].pitch * (1.02 if share < 1 else 1.0)
    assert best.pitch == pytest.approx(expected_pitch, rel=0.005)


def test_pitch_shift_leaves_the_speed_unchanged(rng):
    variant = VARIANTS.index(PITCHES[-1])
    pitch = VARIANTS[variant].pitch
    rows = on_a_line(rng, pitch=pitch, variant=variant) + by_chance(rng)
    best = search(hits_of(rows))[0][0]
    assert best.speed == 1.0
    assert best.pitch == pytest.approx(pitch, rel=0.01)


def test_clip_at_original_speed_has_speed_one(rng):
    best = search(hits_of(on_a_line(rng) + by_chance(rng)))[0][0]
    assert (best.speed, best.pitch) == (1.0, 1.0)


def test_few_hits_of_a_short_clip_make_no_other_speed(rng):
    rows = [on_a_line(rng, n=9, length_s=2.0) for _ in range(100)]
    lines = [search(hits_of(each))[0][0] for each in rows]
    assert np.mean([line.speed == 1.0 for line in lines]) > 0.9
    fast = search(hits_of(on_a_line(rng, n=60, length_s=2.0, speed=1.1)))[0][0]
    assert fast.speed == pytest.approx(1.1, abs=0.02)


def test_repetitive_song_gives_several_lines(rng):
    rows = on_a_line(rng, offset=1000, n=60) + on_a_line(rng, offset=4000, n=40)
    lines = search(hits_of(rows + by_chance(rng)))[0]
    places = [line.offset_s / FRAME_S for line in lines[:2]]
    assert places == pytest.approx([1000, 4000], abs=1)
    assert lines[0].n_votes > lines[1].n_votes


def test_chance_line_of_a_song_does_not_get_the_score_of_its_best_line(rng):
    rows = on_a_line(rng, offset=1000, n=60) + on_a_line(rng, offset=4000, n=3)
    first, second, *_ = window_rows(
        hits_of(rows + by_chance(rng)), chance=chance_evidence(1e6), n_listed=1
    )
    assert (first["rank"], second["rank"], second["line"]) == (1, 1, 1)
    assert 0 < second["score"] < 0.2 * first["score"]


def test_extent_is_that_of_the_hits(rng):
    rows = [row for row in on_a_line(rng, n=200) if 0 <= row[3] <= 90]
    line = search(hits_of(rows))[0][0]
    assert line.first_s == pytest.approx(0, abs=0.2)
    assert line.last_s == pytest.approx(90 * FRAME_S, abs=0.2)


def test_songs_are_sorted_by_evidence_and_limited(rng):
    rows = by_chance(rng) + on_a_line(rng, song=3, n=80) + on_a_line(rng, song=2, n=50)
    found = search(hits_of(rows), n_songs=4)
    assert [lines[0].song_id for lines in found[:2]] == [3, 2]
    assert len(found) == 4
    evidence = [lines[0].evidence for lines in found]
    assert evidence == sorted(evidence, reverse=True)
    assert all(len(lines) == 1 for lines in found[2:])


@given(
    st.lists(st.tuples(st.floats(1, 1e4), st.floats(0, 1e5)), min_size=1, max_size=80).map(np.array)
)
def test_background_correction_raises_no_song_and_keeps_those_that_share_little(songs):
    evidence, off_line_weight = songs.T
    found = correct_for_background(evidence, off_line_weight)
    assert (found <= evidence).all()
    assert (found >= np.minimum(evidence, 1.0)).all()
    little = np.maximum(off_line_weight, MIN_SHARED) <= np.median(
        np.maximum(off_line_weight, MIN_SHARED)
    )
    np.testing.assert_array_equal(found[little], evidence[little])
    if len(songs) < 28:
        np.testing.assert_array_equal(found, evidence)


def test_song_that_shares_hashes_everywhere_does_not_hide_the_right_one(rng):
    n_hidden = 0
    for _ in range(10):
        rows = on_a_line(rng, n=7) + by_chance(rng, songs=range(20, 80), n=40)
        for song in range(100, 130):  # chance rises with what they share, up to 64-fold
            rows += by_chance(rng, songs=[song], n=int(40 * 2 ** rng.uniform(0, 6)))
        hits = hits_of(rows)
        songs, _, (raw, *_) = searched(hits, _slopes(2.0 * np.abs(hits.frame).max(), 0.03))
        n_hidden += songs[np.argmax(raw)] != 7
        ranked = [lines[0].song_id for lines in search(hits)]
        assert ranked[0] == 7
    assert n_hidden >= 2


def test_one_hit_is_a_line_too():
    ((line,),) = search(hits_of([(5, 0, 100, 3, 0.0, 9.0)]))
    assert (line.song_id, line.n_votes, line.evidence) == (5, 1, 9.0)
