"""Find lines in the hits of a window: the compiled kernels of `alignment`."""

from __future__ import annotations

import numpy as np

from sonic_lib.fingerprint.kernels import kernel

DRIFT_FRAMES = 1.5  # neighbouring slopes differ by this much over a window
# With less drift, a window is assumed to play at the song's speed.
PLAIN_DRIFT_FRAMES = 0.75
SHORT_FRAMES = 131  # 4.2 s: the few hits of such windows fit some slope better than the right one
SHORT_DRIFT_FRAMES = 1.6
LINE_FRAMES = 1.5  # to either side, as a landmark may fall on either side of a frame's edge
# Triangles of one instant share landmarks, so that a single drum beat which two songs sample has
# hundreds of nats of hits; clips of the right song have hits in many frames.
MAX_FRAME_NATS = 30.0
_ROUNDING = 1e-4  # error of sums of weights in single precision


@kernel(nogil=True)
def by_song(song_id, variant, n_variants):
    """Return a stable order by song and variant, and the index of each hit's song."""
    n = len(song_id)
    starts = np.zeros(n_variants + 1, np.int64)
    for i in range(n):
        starts[variant[i] + 1] += 1
    starts = np.cumsum(starts)
    by_variant = np.empty(n, np.int64)
    for i in range(n):
        by_variant[starts[variant[i]]] = i
        starts[variant[i]] += 1
    # A hash table: ids are digests, so with one bucket per hit few songs share a bucket.
    shift = 63
    while shift and (n >> (63 - shift)):
        shift -= 1
    starts = np.zeros((1 << (63 - shift)) + 1, np.int64)
    for i in range(n):
        starts[(song_id[i] >> shift) + 1] += 1
    starts = np.cumsum(starts)
    order = np.empty(n, np.int64)
    free = starts.copy()
    for i in by_variant:
        bucket = song_id[i] >> shift
        j = free[bucket]
        free[bucket] += 1
        while j > starts[bucket] and song_id[order[j - 1]] > song_id[i]:
            order[j] = order[j - 1]
            j -= 1
        order[j] = i
    codes = np.empty(n, np.int64)
    code = -1
    for j in range(n):
        if j == 0 or song_id[order[j]] != song_id[order[j - 1]]:
            code += 1
        codes[j] = code
    return order, codes


@kernel(nogil=True)
def best_lines(song, variant, song_frame, frame, weight, n_songs, slopes, variant_cost):
    """Find the best line of each song; hits are ordered by song and variant."""
    n = len(song)
    evidence = np.zeros(n_songs)
    best_variant = np.zeros(n_songs, np.int64)
    best_slope = np.ones(n_songs)
    best_offset = np.zeros(n_songs)
    n_votes = np.zeros(n_songs, np.int64)
    longest, size = 0, 0
    for i in range(n):
        longest = max(longest, abs(frame[i]))
        size = max(size, song_frame[i])
    margin = int(longest * max(1.0, slopes[-1])) + 3
    weights = np.zeros(size + 2 * margin + 1, np.float32)
    counts = np.zeros(len(weights), np.int32)
    place = np.empty(n, np.int64)
    # At slope 1, the hits of any line lie within two neighbouring cells of this width.
    width = 2 * (int(longest * max(abs(slopes[0] - 1), abs(slopes[-1] - 1))) + 3)
    cells = np.zeros(len(weights) // width + 3, np.float32)
    near = np.empty(n, np.int64)
    start = 0
    while start < n:
        stop = start
        while stop < n and song[stop] == song[start] and variant[stop] == variant[start]:
            stop += 1
        s = song[start]
        cost = variant_cost if variant[start] != 0 else 0.0
        if len(slopes) > 1:  # slope 1 is one of them
            for i in range(start, stop):
                place[i] = song_frame[i] - frame[i] + margin
            n_near = _near_best(
                place, weight, start, stop, width, evidence[s] + cost, weights, cells, near
            )
        else:
            n_near = stop - start
            near[:n_near] = np.arange(start, stop)
        for slope in slopes:
            for i in near[:n_near]:
                p = int(np.floor(song_frame[i] - slope * frame[i] + 0.5)) + margin
                place[i] = p
                weights[p] += weight[i]
                counts[p] += 1
            for i in near[:n_near]:
                p = place[i]
                e = weights[p] + 0.5 * (weights[p - 1] + weights[p + 1]) - cost
                if e > evidence[s]:
                    evidence[s] = e
                    best_variant[s] = variant[start]
                    best_slope[s] = slope
                    best_offset[s] = p - margin
                    n_votes[s] = counts[p] + counts[p - 1] + counts[p + 1]
            for i in near[:n_near]:
                weights[place[i]] = 0.0
                counts[place[i]] = 0
        start = stop
    return evidence, best_variant, best_slope, best_offset, n_votes


@kernel(nogil=True)
def evidence_of_lines(song, variant, song_frame, frame, weight, lines, variant_cost):
    """Weigh the lines that `best_lines` found, with at most `MAX_FRAME_NATS` per frame."""
    _, variants, slopes, offsets, _ = lines
    evidence = np.zeros(len(variants))
    longest = 0
    for t in frame:
        longest = max(longest, abs(t))
    nats = np.zeros(2 * longest + 1, np.float32)
    start = 0
    for s in range(len(variants)):
        stop = start
        while stop < len(song) and song[stop] == s:
            stop += 1
        for i in range(start, stop):
            if variant[i] == variants[s]:
                off_line = abs(np.floor(song_frame[i] - slopes[s] * frame[i] + 0.5) - offsets[s])
                if off_line <= 1:
                    nats[frame[i] + longest] += weight[i] if off_line == 0 else 0.5 * weight[i]
        for i in range(start, stop):
            evidence[s] += min(nats[frame[i] + longest], MAX_FRAME_NATS)
            nats[frame[i] + longest] = 0.0
        evidence[s] -= variant_cost if variants[s] != 0 else 0.0
        start = stop
    return np.maximum(evidence, 0.0)


@kernel(nogil=True)
def _near_best(place, weight, start, stop, width, least, weights, cells, near):
    """Find the hits of lines that can outweigh both `least` and the best line of slope 1."""
    for i in range(start, stop):
        weights[place[i]] += weight[i]
        cells[place[i] // width + 1] += weight[i]
    for i in range(start, stop):
        p = place[i]
        least = max(least, weights[p] + 0.5 * (weights[p - 1] + weights[p + 1]))
    n_near = 0
    for i in range(start, stop):
        c = place[i] // width + 1
        if cells[c] + max(cells[c - 1], cells[c + 1]) >= (1 - _ROUNDING) * least:
            near[n_near] = i
            n_near += 1
    for i in range(start, stop):
        weights[place[i]] = 0.0
        cells[place[i] // width + 1] = 0.0
    return n_near


@kernel(nogil=True)
def lines_of_song(
    variant, song_frame, frame, detune, weight, slopes, plain_slope, n_frames, n_lines
):
    """Measure the best lines of one song, each on the hits not used by the ones before.

    Returns
    -------
    list of tuple
        Weight, offset, slope, median detune, first and last frame, and number of the hits.
    """
    found = []
    song = np.zeros(len(frame), np.int64)
    for _ in range(n_lines):
        if not len(frame):
            return found
        _, _, best_slopes, best_offsets, _ = best_lines(
            song[: len(frame)], variant, song_frame, frame, weight, 1, slopes, 0.0
        )
        slope, at = _fitted(
            frame, song_frame, weight, best_slopes[0], best_offsets[0], plain_slope, n_frames
        )
        on_line = np.abs(song_frame - at - slope * frame) <= LINE_FRAMES
        if not on_line.any():
            return found
        weights, frames = weight[on_line], frame[on_line]
        median = _weighted_median(detune[on_line], weights)
        found.append((weights.sum(), at, slope, median, frames.min(), frames.max(), len(frames)))
        variant, song_frame, frame = variant[~on_line], song_frame[~on_line], frame[~on_line]
        detune, weight = detune[~on_line], weight[~on_line]
        slopes = np.array([slope])  # repetitions in the song have the same slope
    return found


@kernel(nogil=True)
def _fitted(frame, song_frame, weight, slope, offset, plain_slope, n_frames):
    first_slope = slope
    for _ in range(3):
        n, total, sum_frame, sum_offset = 0, 0.0, 0.0, 0.0
        for i in range(len(frame)):
            if abs(song_frame[i] - offset - slope * frame[i]) <= LINE_FRAMES:
                n += 1
                total += weight[i]
                sum_frame += weight[i] * frame[i]
                sum_offset += weight[i] * song_frame[i]
        if total <= 0:
            return slope, offset
        middle = sum_frame / total
        spread, covariance = 0.0, 0.0
        for i in range(len(frame)):
            if abs(song_frame[i] - offset - slope * frame[i]) <= LINE_FRAMES:
                spread += weight[i] * (frame[i] - middle) ** 2
                covariance += weight[i] * (frame[i] - middle) * song_frame[i]
        if n >= 8 and spread > 100.0 * total:
            limit = 2 * DRIFT_FRAMES / (4 * np.sqrt(spread / total))
            slope = min(max(covariance / spread, first_slope - limit), first_slope + limit)
        offset = (sum_offset - slope * sum_frame) / total
    least = SHORT_DRIFT_FRAMES if n_frames <= SHORT_FRAMES else PLAIN_DRIFT_FRAMES
    if abs(slope - plain_slope) * n_frames < least:
        total, sum_offset = 0.0, 0.0
        for i in range(len(frame)):
            if abs(song_frame[i] - offset - slope * frame[i]) <= LINE_FRAMES:
                total += weight[i]
                sum_offset += weight[i] * (song_frame[i] - plain_slope * frame[i])
        if total > 0:
            return plain_slope, sum_offset / total
    return slope, offset


@kernel(nogil=True)
def _weighted_median(values, weights):
    """Return the weighted median of the values that are not NaN; 0 if all are."""
    is_number = ~np.isnan(values)
    values, weights = values[is_number], weights[is_number]
    if not len(values):
        return 0.0
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return values[order[np.searchsorted(total, 0.5 * total[-1])]]
