"""Triangulation, compared with Qhull and with the definition of Delaunay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull, Delaunay

from sonic_lib.fingerprint.landmarks import BIN, FRAME, find_landmarks
from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.fingerprint.triangles import delaunay, landmark_triangles

PARAMS = FingerprintParams()
ON_A_GRID = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), max_size=40)


def triangulated(points: np.ndarray) -> np.ndarray:
    return delaunay(*np.ascontiguousarray(points.T))


def as_set(triangles) -> set[tuple[int, ...]]:
    return set(map(tuple, np.sort(triangles, axis=1).tolist()))


def areas(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Signed area of each triangle, negative if clockwise."""
    (ax, ay), (bx, by), (cx, cy) = points[triangles].transpose(1, 2, 0)
    return 0.5 * ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(3, 300), stretch=st.floats(0.1, 100))
def test_random_points_match_qhull(seed, n, stretch):
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 10, (n, 2)) * [stretch, 1.0]
    points = points[np.lexsort(points.T[::-1])]
    assert as_set(triangulated(points)) == as_set(Delaunay(points).simplices)


@settings(deadline=None)
@given(places=ON_A_GRID)
def test_points_on_lines_and_circles_are_covered_once_by_empty_circles(places):
    points = np.array(sorted(set(places)), float).reshape(-1, 2)
    triangles = triangulated(points)
    size = areas(points, triangles)
    assert (size > 0).all()
    from_first = [[0, 1, k] for k in range(2, len(points))]
    if not from_first or not areas(points, np.array(from_first)).any():
        assert len(triangles) == 0
        return
    assert size.sum() == pytest.approx(ConvexHull(points).volume)  # the area, in two dimensions
    for corners in points[triangles]:
        a, b, c = corners
        around = np.linalg.solve(2 * np.array([b - a, c - a]), [b @ b - a @ a, c @ c - a @ a])
        radius = np.hypot(*(a - around))
        assert (np.hypot(*(points - around).T) >= radius - 1e-9).all()


def test_triangles_of_music_match_qhull(make_song):
    landmarks = find_landmarks(make_song(), params=PARAMS)
    chosen = landmarks[landmarks[:, 3] < 2 * PARAMS.densities_per_s[0]]
    points = np.column_stack([chosen[:, FRAME] / 14.0, chosen[:, BIN] / 10.0])
    ours = as_set(landmark_triangles(chosen, PARAMS.densities_per_s[:1]))
    theirs = as_set(Delaunay(points).simplices)
    assert len(ours) > 100
    assert ours <= theirs
    large_or_flat = theirs - ours
    assert len(large_or_flat) < 0.5 * len(theirs)


def test_simultaneous_landmarks_may_come_in_any_order():
    frames = [5.0, 5.0, 5.0, 12.0, 12.0, 20.0]
    bins = [120.0, 100.0, 110.0, 105.0, 95.0, 110.0]
    landmarks = np.column_stack([frames, bins, np.ones(6), np.zeros(6)])
    order = np.array([1, 2, 0, 4, 3, 5])
    found = landmark_triangles(landmarks, (8,))
    same = order[landmark_triangles(landmarks[order], (8,))]
    assert len(found) > 2
    assert as_set(found) == as_set(same)
