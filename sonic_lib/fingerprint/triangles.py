"""Landmarks to triangles: Delaunay triangulation at several densities; pure numpy.

Method
------
Points are added in order of time (a sweep): each is joined to the hull edges visible from it, and
edges are flipped until every triangle's circumcircle is empty (Lawson 1977).  Landmarks lie in a
strip, so each new point is close to the one before and no search is needed.  Qhull, which handles
any number of dimensions, takes ten times as long for the few hundred points of a clip.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonic_lib.fingerprint.kernels import kernel
from sonic_lib.fingerprint.landmarks import BIN, FRAME, RANK

# 10 bins count as the same distance as 14 frames; the limits below are in these units.
_UNIT_BINS, _UNIT_FRAMES = 10.0, 14.0
MAX_SPAN_FRAMES = 63.0
MIN_SPAN_FRAMES = 0.5
MIN_AREA = 0.025
MAX_EDGE = 6.0
MAX_CIRCUMRADIUS = 4.0
# Determinants below this fraction of their terms are 0 within double precision.
_ROUNDING = 1e-14
_INDEX_BITS = 21  # per corner in a triangle's key: a chunk has about ten thousand landmarks


def landmark_triangles(
    landmarks: NDArray[np.float64], densities_per_s: tuple[int, ...]
) -> NDArray[np.intp]:
    """Join landmarks into triangles.

    Parameters
    ----------
    landmarks : np.ndarray [shape=(n, 4)]
        From `landmarks.analyse`, ordered by FRAME; fewer than 2**21.
    densities_per_s : tuple of int
        The constellation of each density is triangulated separately.

    Returns
    -------
    np.ndarray [shape=(m, 3)]
        Corners of each distinct triangle that is neither too large nor too flat: indices in
        `landmarks`, in order of time; rows ascending.
    """
    times = landmarks[:, FRAME] / _UNIT_FRAMES
    pitches = landmarks[:, BIN] / _UNIT_BINS
    keys = []
    for density in densities_per_s:
        chosen = np.flatnonzero(landmarks[:, RANK] < 2 * density)
        # Among simultaneous landmarks, the lower is added first.
        chosen = chosen[_lexical_order(times[chosen], pitches[chosen])]
        corners = delaunay(times[chosen], pitches[chosen])
        keys.append(_good_triangles(chosen[corners], times, pitches))
    distinct = np.unique(np.concatenate(keys))
    shifts = _INDEX_BITS * np.arange(2, -1, -1)
    return (distinct[:, np.newaxis] >> shifts & ((1 << _INDEX_BITS) - 1)).astype(np.intp)


@kernel(nogil=True)
def _lexical_order(x, y):
    """Order of points by x, then y; fast if they are nearly sorted."""
    order = np.arange(len(x))
    for i in range(1, len(x)):
        moved = order[i]
        j = i - 1
        while j >= 0 and (
            x[order[j]] > x[moved] or (x[order[j]] == x[moved] and y[order[j]] > y[moved])
        ):
            order[j + 1] = order[j]
            j -= 1
        order[j + 1] = moved
    return order


@kernel(nogil=True)
def _good_triangles(triangles, times, pitches):
    """Return keys (the ordered corners) of triangles that are neither too large nor too flat."""
    keys = np.empty(len(triangles), np.int64)
    n = 0
    for a, b, c in triangles:
        a, c, b = min(a, b, c), max(a, b, c), a + b + c - min(a, b, c) - max(a, b, c)
        span = (times[c] - times[a]) * _UNIT_FRAMES
        if not MIN_SPAN_FRAMES <= span <= MAX_SPAN_FRAMES:
            continue
        ab_x, ab_y = times[b] - times[a], pitches[b] - pitches[a]
        ac_x, ac_y = times[c] - times[a], pitches[c] - pitches[a]
        area = 0.5 * abs(ab_x * ac_y - ab_y * ac_x)
        if area < MIN_AREA:
            continue
        ab, ac = np.hypot(ab_x, ab_y), np.hypot(ac_x, ac_y)
        bc = np.hypot(times[c] - times[b], pitches[c] - pitches[b])
        if max(ab, ac, bc) <= MAX_EDGE and ab * ac * bc / (4 * area) <= MAX_CIRCUMRADIUS:
            keys[n] = (a << 2 * _INDEX_BITS) | (b << _INDEX_BITS) | c
            n += 1
    return keys[:n]


@kernel(nogil=True)
def _turn(x, y, a, b, c):
    """Return the orientation of a -> b -> c: 1 left turn, -1 right turn, 0 collinear."""
    left = (x[b] - x[a]) * (y[c] - y[a])
    right = (y[b] - y[a]) * (x[c] - x[a])
    if abs(left - right) <= _ROUNDING * (abs(left) + abs(right)):
        return 0
    return 1 if left > right else -1


@kernel(nogil=True)
def _is_within(x, y, a, b, c, p):
    """Whether p lies inside the circle through a, b and c, given counter-clockwise."""
    ax, ay = x[a] - x[p], y[a] - y[p]
    bx, by = x[b] - x[p], y[b] - y[p]
    cx, cy = x[c] - x[p], y[c] - y[p]
    aa, bb, cc = ax * ax + ay * ay, bx * bx + by * by, cx * cx + cy * cy
    bc, ca, ab = bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx
    terms = (
        aa * (abs(bx * cy) + abs(by * cx))
        + bb * (abs(cx * ay) + abs(cy * ax))
        + cc * (abs(ax * by) + abs(ay * bx))
    )
    return aa * bc + bb * ca + cc * ab > _ROUNDING * terms


@kernel(nogil=True)
def delaunay(x, y):
    """Triangulate points.

    Parameters
    ----------
    x, y : np.ndarray [shape=(n,), float64]
        Distinct points, ordered by x, then y.

    Returns
    -------
    np.ndarray [shape=(m, 3), int64]
        Corners of each triangle, counter-clockwise; none if all points are collinear.
        Four points on one circle are split either way.
    """
    n = len(x)
    corners = np.empty((max(2 * n, 1), 3), np.int64)
    # Edge 3 t + k runs from corner k of triangle t to the next; its twin is the same edge seen from
    # the other side, or -1 on the hull.
    twins = np.full(corners.size, -1)
    after, before = np.full(n, -1), np.full(n, -1)  # on the hull, to the left
    hull_edge = np.full(n, -1)  # that begins at a corner of the hull
    pending = np.empty(8 * n + 8, np.int64)

    last = _add_fan(x, y, corners, twins, after, before, hull_edge)
    if last == 0:
        return corners[:0]
    m = last - 1
    for p in range(last + 1, n):
        n_pending = 0
        # The hull from `start` to `end` is visible from p; the previous point is the nearest.
        start = end = last
        # Edges of the triangles with p: `outer` runs from p to `end`, `inner` from `last` to p, and
        # `opening` from `start` to p.
        outer = -1
        while _turn(x, y, end, after[end], p) == -1:
            a, b = end, after[end]
            corners[m] = b, a, p
            twins[3 * m], twins[hull_edge[a]] = hull_edge[a], 3 * m
            if a != last:
                twins[3 * m + 1], twins[outer] = outer, 3 * m + 1
            else:
                inner = 3 * m + 1
            outer = 3 * m + 2
            pending[n_pending] = 3 * m
            n_pending += 1
            m += 1
            end = b
        is_joined = end != last
        if is_joined:
            hull_edge[p] = outer
            opening = inner
        while _turn(x, y, before[start], start, p) == -1:
            a, b = before[start], start
            corners[m] = b, a, p
            twins[3 * m], twins[hull_edge[a]] = hull_edge[a], 3 * m
            if b != last or is_joined:
                twins[3 * m + 2], twins[opening] = opening, 3 * m + 2
            else:
                hull_edge[p] = 3 * m + 2
            opening = 3 * m + 1
            pending[n_pending] = 3 * m
            n_pending += 1
            m += 1
            start = a
        if start == end:  # p coincides with a corner, within double precision
            continue
        hull_edge[start] = opening
        after[start], before[p], after[p], before[end] = p, start, end, p
        last = p

        # Flip edges until every circumcircle is empty.  Not in a function of its own: passing it
        # the arrays takes a fifth of the time.
        while n_pending:
            n_pending -= 1
            edge = pending[n_pending]
            twin = twins[edge]
            if twin < 0:
                continue
            s, t = edge // 3, twin // 3
            i, j = edge - 3 * s, twin - 3 * t
            u, v, w = corners[s, i], corners[s, (i + 1) % 3], corners[s, (i + 2) % 3]
            q = corners[t, (j + 2) % 3]
            if not _is_within(x, y, u, v, w, q):
                continue
            # Triangles u v w and v u q become u q w and v w q.
            vw, wu = twins[3 * s + (i + 1) % 3], twins[3 * s + (i + 2) % 3]
            uq, qv = twins[3 * t + (j + 1) % 3], twins[3 * t + (j + 2) % 3]
            corners[s] = u, q, w
            corners[t] = v, w, q
            for edge, twin, corner in (
                (3 * s, uq, u),
                (3 * s + 2, wu, w),
                (3 * t, vw, v),
                (3 * t + 2, qv, q),
            ):
                twins[edge] = twin
                if twin >= 0:
                    twins[twin] = edge
                else:
                    hull_edge[corner] = edge
            twins[3 * s + 1], twins[3 * t + 1] = 3 * t + 1, 3 * s + 1
            if n_pending + 2 > len(pending):
                pending = np.concatenate((pending, np.empty_like(pending)))
            pending[n_pending], pending[n_pending + 1] = 3 * s, 3 * t + 2
            n_pending += 2
    return corners[:m]


@kernel(nogil=True)
def _add_fan(x, y, corners, twins, after, before, hull_edge):
    """Join the first point that is not collinear with those before it to all of them.

    Returns
    -------
    int
        That point, one more than the number of triangles; 0 if all points are collinear.
    """
    n, third = len(x), 2
    while third < n and _turn(x, y, 0, 1, third) == 0:
        third += 1
    if third >= n:
        return 0
    is_left = _turn(x, y, 0, 1, third) == 1
    for t in range(third - 1):
        first, second = (t, t + 1) if is_left else (t + 1, t)
        corners[t] = first, second, third
        hull_edge[first] = 3 * t
        after[first], before[second] = second, first
        if t:
            # Edge 1 runs from the second to the third, edge 2 back to the first.
            here, there = (3 * t + 2, 3 * t - 2) if is_left else (3 * t + 1, 3 * t - 1)
            twins[here], twins[there] = there, here
    low, high = (0, third - 1) if is_left else (third - 1, 0)
    after[high], before[third], after[third], before[low] = third, high, low, third
    hull_edge[high] = 3 * (third - 2) + 1 if is_left else 1
    hull_edge[third] = 2 if is_left else 3 * (third - 2) + 2
    return third
