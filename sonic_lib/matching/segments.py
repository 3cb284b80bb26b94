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

import numpy as np
import pandas as pd

from sonic_lib.fingerprint.query import MAX_SINGLE_S, n_windows
from sonic_lib.matching.scoring import TAIL, p_values

MAX_OFFSET_ERROR_S = 0.35  # between the song positions that neighbouring windows imply
MAX_GAP = 1  # consecutive windows within a segment that may miss its song

COLUMNS = (
    *("clip_start_s", "clip_end_s", "rank", "song_id", "offset_s", "speed", "n_votes", "score"),
    *("p_value", "accepted", "pitch"),
)


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
    n_tested = n_windows(duration_s)
    by_song = dict(list(lines.groupby("song_id")))
    accepted: list[tuple] = []
    rejected: list[tuple] = []  # the best one only
    claimed: set[int] = set()
    seeds = lines[(lines["rank"] == 1) & (lines["line"] == 0)]
    for seed in seeds.sort_values(["score", "evidence"], ascending=False).itertuples():
        if seed.window in claimed:
            continue
        members = _grow(seed, by_song[seed.song_id])
        p_value = _p_value(members, n_tested)
        is_accepted = p_value <= false_accept_rate
        if not is_accepted and rejected:
            continue
        others = lines[(lines["window"] == seed.window) & (lines["line"] == 0)]
        found = (
            _measured(members, p_value, accepted=is_accepted),
            others[others["song_id"] != seed.song_id],
        )
        if is_accepted:
            claimed.update(members["window"])
            accepted.append(found)
        else:
            rejected.append(found)
    if not accepted:
        # The extent of a segment that is not accepted is meaningless.
        segment = rejected[0][0]
        segment["offset_s"] -= segment["speed"] * segment["clip_start_s"]
        segment |= {"clip_start_s": 0.0, "clip_end_s": duration_s}
    rows = []
    chosen = _without_repeats(accepted) or rejected
    by_time = sorted(chosen, key=lambda pair: pair[0]["clip_start_s"])
    for segment, others in by_time:
        rows.append(segment)
        for rank, other in enumerate(others.sort_values("rank").head(n_listed - 1).itertuples()):
            start_s = segment["clip_start_s"] - 0.5 * (other.start_s + other.end_s)
            rows.append(
                segment
                | {"rank": rank + 2, "song_id": other.song_id, "n_votes": other.n_votes}
                | {"speed": other.speed, "pitch": other.pitch}
                | {"offset_s": other.offset_s + other.speed * start_s}
                | {"score": 0.0, "p_value": 1.0, "accepted": False}
            )
    return pd.DataFrame(rows, columns=COLUMNS)


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


def _without_repeats(accepted: list[tuple]) -> list[tuple]:
    """Keep one of several segments of a song at the same time.

    Music that loops is on one line per turn of its loop; the line with most votes is kept.
    """
    kept: list[tuple] = []
    for found in sorted(accepted, key=lambda pair: -pair[0]["n_votes"]):
        if not any(_overlaps(found[0], other) for other, _ in kept):
            kept.append(found)
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
    if len(members) > 2:
        speed = float(np.polyfit(middle_s, song_s, 1, w=np.sqrt(members["evidence"]))[0])
    intercept_s = float(np.average(song_s - speed * middle_s, weights=members["evidence"]))
    start_s = float((middle_s + members["first_s"]).min())
    end_s = float((middle_s + members["last_s"]).max())
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
