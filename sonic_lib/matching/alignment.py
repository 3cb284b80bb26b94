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
    hits = Hits(*(column[order] for column in hits))
    songs = hits.song_id[np.diff(codes, prepend=-1) != 0]
    evidence, variants, slopes, offsets, n_votes = _best_lines(
        codes,
        *(hits.variant, hits.offset_frames, hits.frame, hits.weight),
        *(len(songs), _slopes(n_frames, MAX_DRIFT), VARIANT_COST),
    )
    evidence = correct_for_background(evidence, np.bincount(codes, weights=hits.weight) - evidence)
    best = np.lexsort((songs, -evidence))[:n_songs]
    found = []
    for rank, song in enumerate(best):
        first, last = np.searchsorted(codes, [song, song + 1])
        on_song = Hits(*(column[first:last] for column in hits))
        on_song = Hits(*(c[on_song.variant == variants[song]] for c in on_song))
        plain = Alignment(
            int(songs[song]),
            float(evidence[song]),
            float(offsets[song] * FRAME_S),
            float(slopes[song] * VARIANTS[variants[song]].tempo),
            VARIANTS[variants[song]].pitch,
            *(-0.5 * n_frames * FRAME_S, 0.5 * n_frames * FRAME_S),
            int(n_votes[song]),
        )
        lines = _lines_of_song(on_song, plain, n_frames, n_lines) if rank < n_lined else [plain]
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
    reach = 0.0
    for i in range(n):
        reach = max(reach, abs(frame[i]) * slopes[-1])
    margin = int(reach) + 3
    size = 0
    for i in range(n):
        size = max(size, offset[i])
    weights = np.zeros(size + 2 * margin + 1, np.float32)
    counts = np.zeros(size + 2 * margin + 1, np.int32)
    place = np.empty(n, np.int64)
    start = 0
    while start < n:
        stop = start
        while stop < n and song[stop] == song[start] and variant[stop] == variant[start]:
            stop += 1
        s = song[start]
        cost = variant_cost if variant[start] != 0 else 0.0
        for slope in slopes:
            for i in range(start, stop):
                p = int(np.floor(offset[i] - slope * frame[i] + 0.5)) + margin
                place[i] = p
                weights[p] += weight[i]
                counts[p] += 1
            for i in range(start, stop):
                p = place[i]
                e = weights[p] + 0.5 * (weights[p - 1] + weights[p + 1]) - cost
                if e > evidence[s]:
                    evidence[s] = e
                    best_variant[s] = variant[start]
                    best_slope[s] = slope
                    best_offset[s] = p - margin
                    n_votes[s] = counts[p] + counts[p - 1] + counts[p + 1]
            for i in range(start, stop):
                weights[place[i]] = 0.0
                counts[place[i]] = 0
        start = stop
    return evidence, best_variant, best_slope, best_offset, n_votes


def _lines_of_song(hits: Hits, plain: Alignment, n_frames: float, n_lines: int) -> list[Alignment]:
    """The best lines of one song under one variant, with slope, extent and pitch."""
    variant = VARIANTS[hits.variant[0]] if len(hits.variant) else UNCHANGED
    _, _, slope, offset, _ = (
        column[0]
        for column in _best_lines(
            np.zeros(len(hits.frame), np.int64),
            *(hits.variant, hits.offset_frames, hits.frame, hits.weight),
            *(1, _slopes(n_frames, MAX_WIDE_DRIFT), 0.0),
        )
    )
    lines: list[Alignment] = []
    left = hits
    for _ in range(n_lines):
        slope, offset, on_line = _fit(
            left, offset, slope, plain_slope=1 / variant.tempo, n_frames=n_frames
        )
        if not on_line.any():
            break
        line = _measured(Hits(*(c[on_line] for c in left)), plain, variant, slope, offset)
        lines.append(line._replace(evidence=line.evidence if lines else plain.evidence))
        left = Hits(*(c[~on_line] for c in left))
        if not len(left.frame):
            break
        # Repetitions in the song have the same slope.
        _, _, _, offsets, _ = _best_lines(
            np.zeros(len(left.frame), np.int64),
            *(left.variant, left.offset_frames, left.frame, left.weight),
            *(1, np.array([slope]), 0.0),
        )
        offset = offsets[0]
    return lines or [plain]


def _fit(
    hits: Hits, offset: float, slope: float, *, plain_slope: float, n_frames: float
) -> tuple[float, float, NDArray[np.bool_]]:
    """Least squares through the hits within 1.5 frames: slope, offset, hits on the line."""
    slope, offset = _fitted(
        *(hits.frame, hits.offset_frames, hits.weight),
        *(float(slope), float(offset), plain_slope, n_frames),
    )
    on_line = np.abs(hits.offset_frames - offset - slope * hits.frame) <= LINE_FRAMES
    return slope, offset, on_line


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


def _measured(on_line: Hits, plain: Alignment, variant, slope: float, offset: float) -> Alignment:
    speed = slope * variant.tempo
    times_s = on_line.frame * (FRAME_S / variant.tempo)
    tells = ~np.isnan(on_line.detune)
    pitch = variant.pitch * np.exp(_weighted_median(on_line.detune[tells], on_line.weight[tells]))
    if abs(np.log(speed)) > 1e-3 and abs(np.log(pitch / speed)) < abs(np.log(pitch)):
        pitch = speed  # changed together, as by a turntable; speed is measured more exactly
    elif abs(np.log(pitch)) < MIN_DETUNE:
        pitch = 1.0
    return plain._replace(
        evidence=float(on_line.weight.sum()),
        offset_s=offset * FRAME_S,
        speed=float(speed),
        pitch=float(pitch),
        first_s=float(times_s.min()),
        last_s=float(times_s.max()),
        n_votes=len(times_s),
    )


def _weighted_median(values: NDArray, weights: NDArray) -> float:
    """Weighted median; 0 if there is no value."""
    if not len(values):
        return 0.0
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, 0.5 * total[-1])])
