"""Align a window of a clip with songs: find each song's line of hits; pure numpy.

Method
------
A hit is a hash that the window shares with a song, at frame t of the window (from its middle,
rescaled by the variant) and frame T of the song.  If the window plays the song, its hits lie
on a line T = offset + slope t, with a slope near 1: the speed that the variant leaves over.
Lines are found by a Hough transform over offset and a few slopes, so that drift does not smear
the votes.  The evidence for a line is the weight of the hits on it plus half of the weight of
those one frame off, since landmarks fall on either side of a frame's edge.

Every song is searched over the same slopes and variants, and the scores of the wrong songs show
what chance gives (`scoring`).  Chance gives more to long songs and to those made of common
hashes, and a query in noise has little else: `correct_for_background` removes that.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from sonic_lib.fingerprint.params import FRAME_S
from sonic_lib.fingerprint.variants import UNCHANGED, VARIANTS
from sonic_lib.matching.scoring import MAX_COPIES, N_CANDIDATES

MAX_DRIFT = 0.03  # of the slope, for every song; variants are twice as far apart
MAX_WIDE_DRIFT = 0.12  # for the best songs, which may be found without their variant
DRIFT_FRAMES = 1.5  # neighbouring slopes differ by this much over a window
# A changed speed is rarer than none: a line of a variant loses this many nats.
VARIANT_COST = 10.0
# A window that drifts less is taken to play at its song's speed.
PLAIN_DRIFT_FRAMES = 0.75
LINE_FRAMES = 1.5  # to either side: landmarks fall on either side of a frame's edge
MIN_SHARED = 10.0  # nats, about one hit: lower bound of what a song shares off its line
_ROUNDING = 1e-4  # of sums of weights in single precision
MIN_DETUNE = 0.012  # smaller ones are within the error of a short clip


class Hits(NamedTuple):
    """The hits of one window, as columns of shape (n,).

    Attributes
    ----------
    song_id : np.ndarray of int64
    variant : np.ndarray of int8
    offset_frames : np.ndarray of int32
        Frame T of the song.
    frame : np.ndarray of int32
        Frame t of the window, from its middle, times the variant's tempo.
    detune : np.ndarray of float32
        ln(frequency in the stretched query / in the song), or NaN.
    weight : np.ndarray of float32
        Evidence of the hit against chance, in nats.
    """

    song_id: NDArray
    variant: NDArray
    offset_frames: NDArray
    frame: NDArray
    detune: NDArray
    weight: NDArray


class Alignment(NamedTuple):
    """A song, and where the window lies in it.

    Attributes
    ----------
    song_id : int
    evidence : float
        In nats; that of a song's first line is comparable between songs.
    offset_s : float
        Position of the window's middle in the song.
    speed : float
        Seconds of the song per second of the window.
    pitch : float
        Frequencies in the window over those in the song.
    first_s, last_s : float
        Extent of the hits on the line, from the window's middle.
    n_votes : int
        Hits on the line.
    """

    song_id: int
    evidence: float
    offset_s: float
    speed: float
    pitch: float
    first_s: float
    last_s: float
    n_votes: int


def find_alignments(
    hits: Hits, *, n_songs: int, n_lined: int, n_lines: int
) -> list[list[Alignment]]:
    """Find the best songs of a window, and the best lines of the top ones.

    Parameters
    ----------
    n_songs : int
        How many songs to return, best first.
    n_lined : int
        How many of them to measure closely; the others have the speed of their variant.
    n_lines : int
        How many lines to return per song, best first: songs repeat themselves.

    Returns
    -------
    list of lists of Alignment
        One list per song.
    """
    n_frames = 2.0 * max(int(np.abs(hits.frame).max()), 1)  # of the window, approximately
    order, codes = _by_song(hits.song_id, hits.variant, len(VARIANTS))
    first = np.flatnonzero(np.diff(codes, prepend=-1))
    songs = hits.song_id[order[first]]
    variant, offset, frame, weight = (
        column[order] for column in (hits.variant, hits.offset_frames, hits.frame, hits.weight)
    )
    evidence, variants, slopes, offsets, n_votes = _best_lines(
        *(codes, variant, offset, frame, weight),
        *(len(songs), _slopes(n_frames, MAX_DRIFT), VARIANT_COST),
    )
    evidence = correct_for_background(evidence, np.bincount(codes, weights=weight) - evidence)
    best = np.lexsort((songs, -evidence))[:n_songs]
    found = []
    for rank, song in enumerate(best):
        plain = Alignment(
            int(songs[song]),
            float(evidence[song]),
            float(offsets[song] * FRAME_S),
            float(slopes[song] * VARIANTS[variants[song]].tempo),
            VARIANTS[variants[song]].pitch,
            *(-0.5 * n_frames * FRAME_S, 0.5 * n_frames * FRAME_S),
            int(n_votes[song]),
        )
        lines = [plain]
        if rank < n_lined:
            of_song = order[codes == song]
            on_song = Hits(*(c[of_song[hits.variant[of_song] == variants[song]]] for c in hits))
            lines = _lines_of_song(on_song, plain, n_frames, n_lines)
        found.append(lines)
    return found


def correct_for_background(
    evidence: NDArray[np.float64], off_line_weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Subtract what songs that share much with the window gain by chance.

    The best of many lines grows with the logarithm of what a song shares with the window over
    its whole length; the slope is fitted to the songs of this window, except the best.

    Parameters
    ----------
    evidence : np.ndarray [shape=(n_songs,), nats]
        Of each song's best line.
    off_line_weight : np.ndarray [shape=(n_songs,), nats]
        Weight of the song's hits that are not on that line.

    Returns
    -------
    np.ndarray [shape=(n_songs,), nats]
        Less than `evidence` for songs that share more than the median; unchanged for the others,
        and for all if there are too few songs.
    """
    if len(evidence) < N_CANDIDATES:
        return evidence
    shared = np.log(np.maximum(off_line_weight, MIN_SHARED))
    others = np.argsort(-evidence)[MAX_COPIES:]
    spread = shared[others] - shared[others].mean()
    slope = spread @ evidence[others] / max(spread @ spread, 1e-9)
    excess = np.maximum(shared - np.median(shared), 0.0)
    return np.maximum(evidence - max(slope, 0.0) * excess, 1.0)


def _slopes(n_frames: float, max_drift: float) -> NDArray[np.floating]:
    n = int(np.ceil(max_drift * n_frames / DRIFT_FRAMES))
    return 1.0 + np.arange(-n, n + 1) * DRIFT_FRAMES / n_frames


@numba.njit(cache=True, nogil=True)
def _by_song(song_id, variant, n_variants):
    """Stable order by song and variant, and the index of each hit's song."""
    n = len(song_id)
    starts = np.zeros(n_variants + 1, np.int64)
    for i in range(n):
        starts[variant[i] + 1] += 1
    starts = np.cumsum(starts)
    by_variant = np.empty(n, np.int64)
    for i in range(n):
        by_variant[starts[variant[i]]] = i
        starts[variant[i]] += 1
    # Ids are digests, uniformly distributed: with one bucket per hit, few songs share one.
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


@numba.njit(cache=True, nogil=True)
def _best_lines(song, variant, offset, frame, weight, n_songs, slopes, variant_cost):
    """Best line of each song; hits are ordered by song and variant."""
    n = len(song)
    evidence = np.zeros(n_songs)
    best_variant = np.zeros(n_songs, np.int64)
    best_slope = np.ones(n_songs)
    best_offset = np.zeros(n_songs)
    n_votes = np.zeros(n_songs, np.int64)
    longest, size = 0, 0
    for i in range(n):
        longest = max(longest, abs(frame[i]))
        size = max(size, offset[i])
    margin = int(longest * max(1.0, slopes[-1])) + 3
    weights = np.zeros(size + 2 * margin + 1, np.float32)
    counts = np.zeros(len(weights), np.int32)
    place = np.empty(n, np.int64)
    # By slope 1, the hits of any line lie within two neighbouring cells of this width.
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
                place[i] = offset[i] - frame[i] + margin
            n_near = _near_best(
                place[start:stop],
                weight[start:stop],
                width,
                evidence[s] + cost,
                weights,
                cells,
                near,
            )
            for k in range(n_near):
                near[k] += start
        else:
            n_near = stop - start
            near[:n_near] = np.arange(start, stop)
        for slope in slopes:
            for i in near[:n_near]:
                p = int(np.floor(offset[i] - slope * frame[i] + 0.5)) + margin
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


@numba.njit(cache=True, nogil=True)
def _near_best(place, weight, width, least, weights, cells, near):
    """Find the hits that a line can have that outweighs both `least` and the best of slope 1."""
    for i in range(len(place)):
        weights[place[i]] += weight[i]
        cells[place[i] // width + 1] += weight[i]
    for i in range(len(place)):
        p = place[i]
        least = max(least, weights[p] + 0.5 * (weights[p - 1] + weights[p + 1]))
    n_near = 0
    for i in range(len(place)):
        c = place[i] // width + 1
        if cells[c] + max(cells[c - 1], cells[c + 1]) >= (1 - _ROUNDING) * least:
            near[n_near] = i
            n_near += 1
    for i in range(len(place)):
        weights[place[i]] = 0.0
        cells[place[i] // width + 1] = 0.0
    return n_near


def _lines_of_song(hits: Hits, plain: Alignment, n_frames: float, n_lines: int) -> list[Alignment]:
    """The best lines of one song under one variant, with slope, extent and pitch."""
    variant = VARIANTS[hits.variant[0]] if len(hits.variant) else UNCHANGED
    lines: list[Alignment] = []
    for weight, offset, slope, detune, first, last, n_votes in _lines(
        *(hits.variant, hits.offset_frames, hits.frame, hits.detune, hits.weight),
        *(_slopes(n_frames, MAX_WIDE_DRIFT), 1 / variant.tempo, n_frames, n_lines),
    ):
        speed = slope * variant.tempo
        pitch = variant.pitch * np.exp(detune)
        if abs(np.log(speed)) > 1e-3 and abs(np.log(pitch / speed)) < abs(np.log(pitch)):
            pitch = speed  # changed together, as by a turntable; speed is measured more exactly
        elif abs(np.log(pitch)) < MIN_DETUNE:
            pitch = 1.0
        line = plain._replace(
            evidence=float(weight) if lines else plain.evidence,
            offset_s=float(offset) * FRAME_S,
            speed=float(speed),
            pitch=float(pitch),
            first_s=float(first) * FRAME_S / variant.tempo,
            last_s=float(last) * FRAME_S / variant.tempo,
            n_votes=int(n_votes),
        )
        lines.append(line)
    return lines or [plain]


@numba.njit(cache=True, nogil=True)
def _lines(variant, offset, frame, detune, weight, slopes, plain_slope, n_frames, n_lines):
    """Measure the best lines of one song, each on the hits that those before it left.

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
        _, _, best_slopes, best_offsets, _ = _best_lines(
            song[: len(frame)], variant, offset, frame, weight, 1, slopes, 0.0
        )
        slope, at = _fitted(
            frame, offset, weight, best_slopes[0], best_offsets[0], plain_slope, n_frames
        )
        on_line = np.abs(offset - at - slope * frame) <= LINE_FRAMES
        if not on_line.any():
            return found
        weights, frames = weight[on_line], frame[on_line]
        median = _weighted_median(detune[on_line], weights)
        found.append((weights.sum(), at, slope, median, frames.min(), frames.max(), len(frames)))
        variant, offset, frame = variant[~on_line], offset[~on_line], frame[~on_line]
        detune, weight = detune[~on_line], weight[~on_line]
        slopes = np.array([slope])  # repetitions in the song have the same
    return found


@numba.njit(cache=True, nogil=True)
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
    if abs(slope - plain_slope) * n_frames < PLAIN_DRIFT_FRAMES:
        total, sum_offset = 0.0, 0.0
        for i in range(len(frame)):
            if abs(song_frame[i] - offset - slope * frame[i]) <= LINE_FRAMES:
                total += weight[i]
                sum_offset += weight[i] * (song_frame[i] - plain_slope * frame[i])
        if total > 0:
            return plain_slope, sum_offset / total
    return slope, offset


@numba.njit(cache=True, nogil=True)
def _weighted_median(values, weights):
    """Weighted median of the values that are numbers; 0 if there is none."""
    is_number = ~np.isnan(values)
    values, weights = values[is_number], weights[is_number]
    if not len(values):
        return 0.0
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return values[order[np.searchsorted(total, 0.5 * total[-1])]]
