"""Align a window of a clip with songs: find each song's line of hits; pure numpy.

Method
------
A hit is a hash that the window shares with a song, at frame t of the window (from its middle,
rescaled by the variant) and frame T of the song.  If the window plays the song, its hits lie
on a line T = offset + slope t, with a slope near 1: the speed change that the variant does not
cover.  Lines are found by a Hough transform over offset and a few slopes, so that drift does not
smear the votes.  The evidence for a line is the weight of the hits on it plus half of the weight
of those one frame off, since a landmark may fall on either side of a frame's edge.  What the hits
of one instant add is bounded: two songs may share a drum beat.

Every song is searched over the same slopes and variants, so the scores of the wrong songs show
what chance reaches (`scoring`).  Chance reaches more for long songs and for songs of common hashes,
and a noisy query has little else; `correct_for_background` removes this effect.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonic_lib.fingerprint.params import FRAME_S
from sonic_lib.fingerprint.variants import UNCHANGED, VARIANTS
from sonic_lib.matching.lines import (
    DRIFT_FRAMES,
    best_lines,
    by_song,
    evidence_of_lines,
    lines_of_song,
)
from sonic_lib.matching.scoring import MAX_COPIES, N_CANDIDATES

MAX_DRIFT = 0.03  # range of slopes around 1, for every song; variants are twice as far apart
MAX_WIDE_DRIFT = 0.12  # for the best songs, which may be found by the wrong variant
# Prior in nats: a changed speed is rarer than an unchanged one.
VARIANT_COST = 10.0
MIN_SHARED = 10.0  # nats, about one hit: lower bound of what a song shares off its line
MIN_DETUNE = 0.012  # less is within the measurement error of a short clip


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
    """A song and the position of the window in it.

    Attributes
    ----------
    song_id : int
    evidence : float
        In nats; only that of a song's first line is comparable between songs.
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
        How many of them to measure precisely; the others get the speed of their variant.
    n_lines : int
        How many lines to return per song, best first, since songs repeat themselves.

    Returns
    -------
    list of lists of Alignment
        One list per song.
    """
    n_frames = 2.0 * max(int(np.abs(hits.frame).max()), 1)  # of the window, approximately
    order, codes = by_song(hits.song_id, hits.variant, len(VARIANTS))
    first = np.flatnonzero(np.diff(codes, prepend=-1))
    songs = hits.song_id[order[first]]
    variant, offset, frame, weight = (
        column[order] for column in (hits.variant, hits.offset_frames, hits.frame, hits.weight)
    )
    columns = (codes, variant, offset, frame, weight)
    of_songs = best_lines(*columns, len(songs), _slopes(n_frames, MAX_DRIFT), VARIANT_COST)
    on_line, variants, slopes, offsets, n_votes = of_songs
    evidence = evidence_of_lines(*columns, of_songs, VARIANT_COST)
    evidence = correct_for_background(evidence, np.bincount(codes, weights=weight) - on_line)
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
    """Subtract the evidence that songs gain by chance from sharing many hashes with the window.

    The evidence of the best of many chance lines grows with the logarithm of the weight that a song
    shares with the window overall.  The slope is fitted to all songs of this window but the best.

    Parameters
    ----------
    evidence : np.ndarray [shape=(n_songs,), nats]
        Of each song's best line.
    off_line_weight : np.ndarray [shape=(n_songs,), nats]
        Weight of the song's hits that are not on that line.

    Returns
    -------
    np.ndarray [shape=(n_songs,), nats]
        Less than `evidence` for songs that share more than the median.  Unchanged for the others,
        and for all songs if there are too few.
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


def _lines_of_song(hits: Hits, plain: Alignment, n_frames: float, n_lines: int) -> list[Alignment]:
    """Return the best lines of one song under one variant, with slope, extent and pitch."""
    variant = VARIANTS[hits.variant[0]] if len(hits.variant) else UNCHANGED
    lines: list[Alignment] = []
    for weight, offset, slope, detune, first, last, n_votes in lines_of_song(
        *(hits.variant, hits.offset_frames, hits.frame, hits.detune, hits.weight),
        *(_slopes(n_frames, MAX_WIDE_DRIFT), 1 / variant.tempo, n_frames, n_lines),
    ):
        speed = slope * variant.tempo
        pitch = variant.pitch * np.exp(detune)
        if abs(np.log(speed)) > 1e-3 and abs(np.log(pitch / speed)) < abs(np.log(pitch)):
            pitch = speed  # changed together, as on a turntable; the speed is more precise
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
