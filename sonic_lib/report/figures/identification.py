"""Figures of landmarks, votes and evaluations, without I/O and without pyplot's state.

Saved figures are 1200 pixels wide.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sonic_lib.fingerprint.landmarks import BIN, FRAME, RANK, find_landmarks
from sonic_lib.fingerprint.params import (
    BIN_HZ,
    FRAME_S,
    SAMPLE_RATE_HZ,
    WINDOW_SAMPLES,
    FingerprintParams,
)
from sonic_lib.fingerprint.spectrogram import log_spectrogram
from sonic_lib.fingerprint.triangles import landmark_triangles
from sonic_lib.matching.evidence import offset_votes
from sonic_lib.report.figures.style import BLUE, GREEN, GREY, STYLE, VERMILION, headline

_FRAME_CENTRE_S = 0.5 * WINDOW_SAMPLES / SAMPLE_RATE_HZ
_MAX_PANELS = 4
_LEVEL_COLOURS = (VERMILION, BLUE, GREEN)


def constellation(
    samples: NDArray[np.float32],
    *,
    params: FingerprintParams,
    start_s: float,
    length_s: float,
    title: str,
) -> Figure:
    """Plot the landmarks of a passage, and the triangles of the lowest density.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), float32]
        Mono samples of the whole song at 12 kHz, so that landmarks get the same ranks as in the
        index.
    params : FingerprintParams
        Parameters of the fingerprint.
    start_s, length_s : float
        The passage, in seconds.

    Returns
    -------
    Figure
        The spectrogram (s, kHz) with the landmarks over it.
    """
    levels = log_spectrogram(samples, params=params)
    landmarks = find_landmarks(samples, params=params)
    points = np.column_stack([_frame_s(landmarks[:, FRAME]), landmarks[:, BIN] * BIN_HZ / 1e3])
    inside = (points[:, 0] >= start_s) & (points[:, 0] <= start_s + length_s)
    triangles = landmark_triangles(landmarks, params.densities_per_s[:1])
    triangles = triangles[inside[triangles].all(axis=1)]

    with rc_context(STYLE):
        figure = Figure()
        axes = figure.subplots()
        _draw_levels(axes, levels, params)
        mesh = PolyCollection(
            points[triangles], facecolor="none", edgecolor=VERMILION, linewidth=0.8, alpha=0.6
        )
        mesh.set_label(f"triangles of the {params.densities_per_s[0]}")
        n_stronger = 0
        for i, density in enumerate(params.densities_per_s):
            rank = landmarks[:, RANK]
            chosen = inside & (rank >= n_stronger) & (rank < 2 * density)
            axes.scatter(
                *points[chosen].T,
                s=36 / 2**i,
                color=_LEVEL_COLOURS[i % len(_LEVEL_COLOURS)],
                edgecolor="white",
                linewidth=0.6,
                zorder=3,
                label=f"{'strongest ' if i == 0 else ''}{density} a second",
            )
            n_stronger = 2 * density
        axes.add_collection(mesh, autolim=False)
        axes.set_xlim(start_s, start_s + length_s)
        axes.set_ylim(params.min_hz / 1e3, params.max_hz / 1e3)
        axes.set_xlabel("time in the song (s)")
        axes.set_ylabel("frequency (kHz)")
        headline(figure, title)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=4, handletextpad=0.4)
    return figure


def explanation(hits: pd.DataFrame, answers: pd.DataFrame, *, title: str) -> Figure:
    """Plot the hits behind a clip's answers.

    Parameters
    ----------
    hits : pandas.DataFrame
        song_id, clip_s, song_s and weight.
    answers : pandas.DataFrame
        Segments (rank 1) and runners-up: rank, song_id, title, clip_start_s, clip_end_s,
        offset_s, speed.

    Returns
    -------
    Figure
        One panel per song: hits by their times in clip and song, with the drift line; next to it,
        the number of hits at each offset after removing the drift.
    """
    panels = answers.drop_duplicates("song_id").head(_MAX_PANELS)
    with rc_context(STYLE):
        figure = Figure(figsize=(8.0, 0.6 + 2.4 * len(panels)))
        rows = figure.subplots(len(panels), 2, squeeze=False, width_ratios=(3, 2))
        for (places, offsets), (_, song) in zip(rows, panels.iterrows(), strict=True):
            colour = BLUE if song["rank"] == 1 else VERMILION
            own = hits[hits["song_id"] == song.song_id]
            places.scatter(own["clip_s"], own["song_s"], s=6, color=colour, alpha=0.4, linewidth=0)
            for _, line in answers[answers["song_id"] == song.song_id].iterrows():
                ends_s = np.array([line.clip_start_s, line.clip_end_s])
                song_s = line.offset_s + line.speed * (ends_s - ends_s[0])
                places.plot(ends_s, song_s, color=GREY, linewidth=1)
            name = "answer" if song["rank"] == 1 else "runner-up"
            places.set_title(f"{name}: {song.title}", loc="left", color=colour)
            places.set_ylabel("song (s)")
            _, places_s, votes = offset_votes(own, song)
            _draw_votes(offsets, places_s, votes, colour=colour)
            offsets.set_ylabel("hashes")
        rows[-1][0].set_xlabel("clip (s)")
        rows[-1][1].set_xlabel("offset, drift removed (s)")
        headline(figure, title)
    return figure


def robustness_bars(table: pd.DataFrame, *, title: str) -> Figure:
    """Plot the share of degraded clips that are found, by condition.

    Parameters
    ----------
    table : pandas.DataFrame
        From `matching.evaluation.robustness`.

    Returns
    -------
    Figure
        One row per condition and one colour per length: a pale bar for right, a full one for right
        and accepted.
    """
    conditions = list(dict.fromkeys(table["condition"]))[::-1]
    lengths_s = sorted(table["length_s"].unique())
    with rc_context(STYLE):
        figure = Figure(figsize=(8.0, 1.0 + 0.32 * len(conditions)))
        axes = figure.subplots()
        height = 0.8 / len(lengths_s)
        for i, length_s in enumerate(lengths_s):
            rows = table[table["length_s"] == length_s].set_index("condition")
            rows = rows.reindex(conditions).fillna(0.0)
            place = np.arange(len(conditions)) + 0.4 - (i + 0.5) * height
            colour = _LEVEL_COLOURS[i % len(_LEVEL_COLOURS)]
            axes.barh(place, rows["top1"], height, color=colour, alpha=0.35)
            axes.barh(place, rows["accepted"], height, color=colour, label=f"{length_s:g} s")
        axes.set_yticks(np.arange(len(conditions)), conditions)
        axes.set_xlim(0, 100)
        axes.set_xlabel("clips (%): pale = right song first, full = also accepted")
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=len(lengths_s))
        headline(figure, title)
    return figure


def calibration_curve(curve: pd.DataFrame, *, title: str) -> Figure:
    """Plot observed against requested false-accept rates.

    Parameters
    ----------
    curve : pandas.DataFrame
        From `matching.evaluation.calibration`.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(5.2, 4.8))
        axes = figure.subplots()
        axes.plot(curve["asked"], curve["asked"], color=GREY, linewidth=1, label="as requested")
        axes.fill_between(curve["asked"], curve["low"], curve["high"], color=BLUE, alpha=0.2)
        label = f"observed, {curve['n'].iloc[0]} clips; 95 % interval"
        axes.plot(curve["asked"], curve["observed"], "o-", color=BLUE, label=label)
        axes.set_xscale("log")
        axes.set_yscale("symlog", linthresh=float(curve["asked"].min()))
        axes.set_ylim(0, None)
        for axis in (axes.xaxis, axes.yaxis):  # the default formatter uses TeX for powers
            axis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
        axes.set_xlabel("requested false-accept rate")
        axes.set_ylabel("share of unknown clips accepted")
        # Above the axes, as with few clips the band fills every corner inside.
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2)
        headline(figure, title)
    return figure


def _frame_s(frames: NDArray) -> NDArray[np.float64]:
    """Return the time of the middle of a frame's window, where a short sound appears."""
    return frames * FRAME_S + _FRAME_CENTRE_S


def _draw_levels(axes: Axes, levels: NDArray, params: FingerprintParams) -> None:
    # Pale, so that the overlay stands out.
    low, high = np.percentile(levels, [25, 100])
    time_s = _frame_s(np.array([-0.5, len(levels) - 0.5]))
    band_khz = (np.array([params.first_bin, params.last_bin]) - 0.5) * BIN_HZ / 1e3
    axes.imshow(
        levels.T,
        origin="lower",
        aspect="auto",
        extent=(*time_s, *band_khz),
        cmap="gray_r",
        vmin=low,
        vmax=high + 0.3 * (high - low),
    )


def _draw_votes(axes: Axes, offsets_s: NDArray, votes: NDArray, *, colour: str) -> None:
    axes.vlines(offsets_s, 0, votes, color=colour, linewidth=1.5)
    if not len(votes):
        return
    peak = np.argmax(votes)
    has_room_right = offsets_s[peak] <= 0.5 * (offsets_s.min() + offsets_s.max())
    axes.plot(offsets_s[peak], votes[peak], "o", color=colour, markersize=6)
    axes.annotate(
        f"{votes[peak]:.0f} at {offsets_s[peak]:.2f} s",
        (offsets_s[peak], votes[peak]),
        xytext=(8 if has_room_right else -8, 3),
        textcoords="offset points",
        horizontalalignment="left" if has_room_right else "right",
        color=GREY,
    )
