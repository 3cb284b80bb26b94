"""Present an identification run as a section of a page; no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sonic_lib.formats import clock
from sonic_lib.report.data import Findings
from sonic_lib.report.figures import runs as run_plots
from sonic_lib.report.page import Column, Section, Table, data_uri, is_missing, rows_of
from sonic_lib.report.page import picture as draw

_WIDTH, _HEIGHT = 240, 80  # of a constellation, in the picture's units
_TOP_KHZ = 6.0
_HEARD_CHANGE = 0.0005

_ANSWERS = (
    Column("clip_path", "Clip", "file"),
    Column("verdict", "Verdict", "verdict"),
    Column("answer", "Best answer", "named"),
    Column("in_clip", "In the clip", "named"),
    Column("in_song", "In the song", "named"),
    Column("p_value", "p-value", "p"),
    Column("score", "Score", "number", 1),
    Column("landmarks", "Landmarks", "landmarks"),
    Column("sounds", "Listen", "listen"),
)


def run_section(found: Findings) -> Section:
    """Summarise a run of identify, and list the answers for the clips to show."""
    verdicts = found.verdicts
    n_unknown = verdicts["n_clips"] - verdicts["n_identified"] - verdicts["n_rejected"]
    asked = found.run["config"].get("identify", {}).get("false_accept_rate")
    tiles = [
        ("Clips", f"{verdicts['n_clips']:,}"),
        ("Identified", f"{verdicts['n_identified']:,}"),
        ("Nothing accepted", f"{n_unknown:,}"),
        ("Unreadable", f"{verdicts['n_rejected']:,}"),
        ("Passages accepted", f"{verdicts['n_segments']:,}"),
        ("Different songs", f"{verdicts['n_songs']:,}"),
    ]
    pictures = []
    if found.certainty is not None and len(found.certainty):
        n = int(found.certainty["n"].sum())
        figure = run_plots.certainty_bars(
            found.certainty, asked=asked, title=f"p-values of the answers, {n:,} passages"
        )
        n_sure = int(found.certainty.loc[found.certainty["accepted"], "n"].sum())
        alt = f"Histogram of p-values: {n_sure:,} of {n:,} best answers are accepted."
        pictures.append(draw(figure, alt=alt))
    intro = f"Run {found.run['run_id']} of {found.run['started_at']:%Y-%m-%d %H:%M} UTC."
    if asked is not None:
        intro += f" An answer is accepted when p is at most {asked:g}."
    rows = [_answer(row) for row in rows_of(found.answers)]
    n_shown = len({row["clip_path"] for row in rows})
    note = (
        "Times are in minutes and seconds. p is the probability that a clip of a song outside the "
        "index scores this high. Landmarks: grey dots are those of the song, blue dots those that "
        "the clip shares with it, orange dots those of the clip alone."
    )
    caption = f"Answers for {n_shown:,} of {verdicts['n_clips']:,} clips"
    tables = [Table("answers", caption, _ANSWERS, rows, note)] if rows else []
    return Section("identification", "Identification", intro, tiles, pictures, tables)


def constellation(row: Mapping[str, Any]) -> dict | None:
    """Draw the landmarks of a clip over those of the song, as SVG paths of dots.

    Parameters
    ----------
    row : mapping
        Columns of `schemas.EXCERPTS`.

    Returns
    -------
    dict or None
        width, height, alt and the paths song, alone and shared; None without a clip.
    """
    if not _is_there(row.get("clip_time_s")) or not row["length_s"]:
        return None
    across = _WIDTH / row["length_s"]

    def dots(times, bands, chosen=None) -> str:
        chosen = [True] * len(times) if chosen is None else chosen
        return "".join(
            f"M{across * time:.1f} {_HEIGHT * (1 - khz / _TOP_KHZ):.1f}h0"
            for time, khz, is_chosen in zip(times, bands, chosen, strict=True)
            if is_chosen
        )

    clip = (row["clip_time_s"], row["clip_khz"])
    is_shared = list(row["clip_is_shared"])
    has_song = _is_there(row.get("song_time_s"))
    n, n_shared = len(is_shared), sum(is_shared)
    shared = f"{n_shared} of {n} landmarks of the clip are in the song" if has_song else "no song"
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "alt": f"Landmarks of {row['length_s']:.0f} s from 0 to {_TOP_KHZ:.0f} kHz: {shared}",
        "song": dots(row["song_time_s"], row["song_khz"]) if has_song else "",
        "alone": dots(*clip, [not there for there in is_shared]),
        "shared": dots(*clip, is_shared),
    }


def _answer(row: dict) -> dict:
    if not is_missing(row["error"]):
        verdict = {"kind": "bad", "text": "unreadable", "why": row["error"]}
    elif row["accepted"]:
        n = row["n_segments"]
        why = f"one of {n} passages" if n > 1 else ""
        verdict = {"kind": "good", "text": "identified", "why": why}
    else:
        verdict = {"kind": "", "text": "not accepted", "why": ""}
    title = row["song"] if is_missing(row["title"]) else row["title"]
    artist = "" if is_missing(row["artist"]) else row["artist"]
    return row | {
        "verdict": verdict,
        "clip_path": "/".join(row["clip_path"].split("/")[-2:]),
        "answer": None if is_missing(row["song_id"]) else {"main": title, "sub": artist},
        "in_clip": _passage(row),
        "in_song": _place(row),
        "landmarks": constellation(row),
        "sounds": list(_sounds(row, title)),
    }


def _passage(row: dict) -> dict | None:
    if is_missing(row["clip_end_s"]):
        return None
    times = f"{clock(row['clip_start_s'])} – {clock(row['clip_end_s'])}"
    return {"main": times, "sub": "", "key": row["clip_start_s"]}


def _place(row: dict) -> dict | None:
    """Describe the position in the song, and changes of speed and pitch."""
    if is_missing(row["offset_s"]):
        return None
    changes = [
        f"{name} {100 * (row[key] - 1):+.1f} %"
        for name, key in (("speed", "speed"), ("pitch", "pitch"))
        if not is_missing(row[key]) and abs(row[key] - 1) >= _HEARD_CHANGE
    ]
    return {"main": clock(row["offset_s"]), "sub": ", ".join(changes), "key": row["offset_s"]}


def _sounds(row: dict, title: str | None) -> Iterator[dict]:
    place = "" if is_missing(row["offset_s"]) else f" at {clock(row['offset_s'])}"
    for label, content, what in (
        ("clip", row.get("clip_audio"), row["clip_path"].rpartition("/")[2]),
        ("song", row.get("song_audio"), f"{title}{place}"),
    ):
        if _is_there(content):
            source = data_uri(bytes(content or b""), "audio/mpeg")
            yield {"label": label, "alt": f"{label}: {what}", "source": source}


def _is_there(value: Any) -> bool:
    """Whether a cell has bytes or a list; a missing one is None or NaN."""
    return value is not None and hasattr(value, "__len__") and len(value) > 0
