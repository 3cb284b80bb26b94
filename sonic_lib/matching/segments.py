"""Join the lines of a clip's windows into segments: pure pandas and numpy.

Method
------
A short clip is one window, and its best songs are the answer.  The windows of a longer
recording overlap by half.  Consecutive windows on the same line of the same song form one
segment, which starts and ends with the hits on the line, not with the windows.  Of segments of
one song at the same time, such as the turns of a loop, the one with most votes is kept.

Windows that do not overlap are independent, so the scores of every other window of a segment are
summed; under the null model the sum is gamma distributed.  The p-value of a segment is the tail
of that distribution, times the number of windows of the recording (Bonferroni), since a false
segment could start at any of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from sonic_lib.fingerprint.query import MAX_SINGLE_S, n_windows
from sonic_lib.matching.scoring import TAIL, p_values

MAX_OFFSET_ERROR_S = 0.35  # between the song positions that neighbouring windows imply
_LEAST_EVIDENCE = 1e-9  # as a weight, so that lines without evidence have a mean, too
_MIN_SHARE = 0.1  # of a segment's largest evidence; windows with less do not move its ends
MAX_GAP = 1  # consecutive windows within a segment that may miss its song

COLUMNS = (
    *("clip_start_s", "clip_end_s", "rank", "song_id", "offset_s", "speed", "n_votes", "score"),
    *("p_value", "accepted", "pitch"),
)


class _Segment(NamedTuple):
    row: dict  # COLUMNS
    others: pd.DataFrame  # lines of the other songs in the seed's window


def find_segments(
    lines: pd.DataFrame, *, duration_s: float, false_accept_rate: float, n_listed: int
) -> pd.DataFrame:
    """Join the lines of one clip's windows into segments.

    Parameters
    ----------
    lines : pandas.DataFrame
        One row per window, song and line: window, start_s, end_s (of the window), rank (of the
        song in the window), line (its number), score, and the attributes of `alignment.Alignment`.
    duration_s : float
        Length of the clip.
    false_accept_rate : float in 0..1
        Accept a segment whose p-value is at most this.
    n_listed : int >= 1
        How many songs to list per segment.

    Returns
    -------
    pandas.DataFrame
        COLUMNS.  Accepted segments in order of time; if there are none, the best candidate for the
        whole clip, with accepted = False.
    """
    # Ties must not depend on the order in which an engine found the lines.
    lines = lines.sort_values(["window", "rank", "line"], ignore_index=True)
    if duration_s <= MAX_SINGLE_S:
        return _single(lines, duration_s, false_accept_rate, n_listed)
    found = _accepted_or_best(lines, n_windows(duration_s), false_accept_rate)
    if not found[0].row["accepted"]:
        found = [found[0]._replace(row=_whole_clip(found[0].row, duration_s))]
    rows = []
    for row, others in sorted(_without_repeats(found), key=lambda each: each.row["clip_start_s"]):
        listed = others.sort_values("rank").head(n_listed - 1)
        rows += [row, *(_other_song(row, other, i) for i, other in enumerate(listed.itertuples()))]
    return pd.DataFrame(rows, columns=COLUMNS)


def _accepted_or_best(
    lines: pd.DataFrame, n_tested: int, false_accept_rate: float
) -> list[_Segment]:
    """Return the accepted segments; if there are none, the one with the best seed."""
    by_song = dict(list(lines.groupby("song_id")))
    accepted: list[_Segment] = []
    best_rejected: list[_Segment] = []
    claimed: set[int] = set()
    seeds = lines[(lines["rank"] == 1) & (lines["line"] == 0)]
    for seed in seeds.sort_values(["score", "evidence"], ascending=False).itertuples():
        if seed.window in claimed:
            continue
        members = _grow(seed, by_song[seed.song_id])
        p_value = _p_value(members, n_tested)
        is_accepted = p_value <= false_accept_rate
        if not is_accepted and best_rejected:
            continue
        others = lines[(lines["window"] == seed.window) & (lines["line"] == 0)]
        segment = _Segment(
            _measured(members, p_value, accepted=is_accepted),
            others[others["song_id"] != seed.song_id],
        )
        if is_accepted:
            claimed.update(members["window"])
            accepted.append(segment)
        else:
            best_rejected.append(segment)
    return accepted or best_rejected


def _whole_clip(row: dict, duration_s: float) -> dict:
    """Extend a segment that is not accepted, whose extent is meaningless, to the whole clip."""
    offset_s = row["offset_s"] - row["speed"] * row["clip_start_s"]
    return row | {"offset_s": offset_s, "clip_start_s": 0.0, "clip_end_s": duration_s}


def _other_song(row: dict, other, place: int) -> dict:
    """Return the row of another song of a segment, from its line in the seed's window."""
    start_s = row["clip_start_s"] - 0.5 * (other.start_s + other.end_s)
    return (
        row
        | {"rank": place + 2, "song_id": other.song_id, "n_votes": other.n_votes}
        | {"speed": other.speed, "pitch": other.pitch}
        | {"offset_s": other.offset_s + other.speed * start_s}
        | {"score": 0.0, "p_value": 1.0, "accepted": False}
    )


def _single(
    lines: pd.DataFrame, duration_s: float, false_accept_rate: float, n_listed: int
) -> pd.DataFrame:
    """Return the songs of a clip of one window, by rank."""
    ranked = lines[lines["line"] == 0].sort_values("rank").head(n_listed)
    middle_s = 0.5 * (ranked["start_s"] + ranked["end_s"])
    p = p_values(ranked["score"].to_numpy())
    ranked = ranked.assign(
        clip_start_s=0.0,
        clip_end_s=duration_s,
        offset_s=ranked["offset_s"] - ranked["speed"] * middle_s,
        p_value=p,
        accepted=p <= false_accept_rate,
    )
    return ranked[list(COLUMNS)]


def _grow(seed, lines: pd.DataFrame) -> pd.DataFrame:
    """Return a seed and the rows to either side on its line, at most one per window."""
    members = [seed.Index]
    by_window = {window: rows for window, rows in lines.groupby("window")}
    for direction in (-1, 1):
        last, gap = seed, 0
        while gap <= MAX_GAP:
            window = last.window + direction * (gap + 1)
            gap += 1
            if window not in by_window:
                continue
            rows = by_window[window]
            passed_s = 0.5 * (rows["start_s"] + rows["end_s"] - last.start_s - last.end_s)
            # The speed of either window is uncertain if it has few hits, so take the better one.
            error_s = np.minimum(
                (rows["offset_s"] - last.offset_s - last.speed * passed_s).abs(),
                (rows["offset_s"] - last.offset_s - rows["speed"] * passed_s).abs(),
            )
            on_line = rows[error_s <= MAX_OFFSET_ERROR_S]
            if len(on_line):
                best = on_line.loc[[on_line["evidence"].idxmax()]]
                last, gap = next(best.itertuples()), 0
                members.append(last.Index)
    return lines.loc[members].sort_values("window")


def _without_repeats(segments: list[_Segment]) -> list[_Segment]:
    """Keep one of several segments of a song at the same time.

    Music that loops is on one line per turn of its loop; the line with most votes is kept.
    """
    kept: list[_Segment] = []
    for segment in sorted(segments, key=lambda each: -each.row["n_votes"]):
        if not any(_overlaps(segment.row, other.row) for other in kept):
            kept.append(segment)
    return kept


def _overlaps(segment: dict, other: dict) -> bool:
    """Whether another segment of the same song covers at least half of a segment."""
    if segment["song_id"] != other["song_id"]:
        return False
    start_s, end_s = segment["clip_start_s"], segment["clip_end_s"]
    shared_s = min(end_s, other["clip_end_s"]) - max(start_s, other["clip_start_s"])
    return shared_s >= 0.5 * (end_s - start_s)


def _p_value(members: pd.DataFrame, n_tested: int) -> float:
    # Imported late: a short clip, for which somebody is waiting, does not need it.
    from scipy.special import gammaincc

    p = 1.0
    for parity in (0, 1):
        scores = members["score"][members["window"] % 2 == parity]
        if len(scores):
            p = min(p, float(gammaincc(len(scores), scores.sum() / TAIL)))
    return min(1.0, n_tested * p)


def _measured(members: pd.DataFrame, p_value: float, *, accepted: bool) -> dict:
    middle_s = 0.5 * (members["start_s"] + members["end_s"]).to_numpy()
    song_s = members["offset_s"].to_numpy()
    best = members.loc[members["evidence"].idxmax()]
    speed = float(best["speed"])
    weights = np.maximum(members["evidence"], _LEAST_EVIDENCE)
    if len(members) > 2:
        speed = float(np.polyfit(middle_s, song_s, 1, w=np.sqrt(weights))[0])
    intercept_s = float(np.average(song_s - speed * middle_s, weights=weights))
    # A window of noise has a few hits on every line.  Windows overlap, so that without those of
    # little evidence the others still reach to both ends.
    is_strong = (members["evidence"] >= _MIN_SHARE * members["evidence"].max()).to_numpy()
    start_s = float((middle_s + members["first_s"])[is_strong].min())
    end_s = float((middle_s + members["last_s"])[is_strong].max())
    return {
        "clip_start_s": start_s,
        "clip_end_s": end_s,
        "rank": 1,
        # Not from `best`: pandas converts a row of numbers to float64, which is too narrow for ids.
        "song_id": int(members["song_id"].iloc[0]),
        "offset_s": intercept_s + speed * start_s,
        "speed": speed,
        "pitch": float(best["pitch"]) if best["pitch"] != best["speed"] else speed,
        "n_votes": int(members["n_votes"].sum()),
        "score": max(0.0, -TAIL * float(np.log(max(p_value, 1e-300)))),
        "p_value": p_value,
        "accepted": accepted,
    }
