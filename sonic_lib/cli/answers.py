"""Print the answers of `sonic identify`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from sonic_lib.cli.writers import text_lines
from sonic_lib.console import paragraph, say
from sonic_lib.formats import clock, counted, p_text
from sonic_lib.workflows.answers import Answers

# Answers are printed for at most this many clips.
MAX_SHOWN_CLIPS = 20
_HEADS = ("clip", "from - to", "song", "at", "speed", "chance")
_ALWAYS = (0, 2)
_PLAIN_SPEED = 0.0015  # a smaller difference of the speed from 1 is not shown
_WIDTH = 140  # reasons are not cut
# Scores this close count as a tie: copies of a recording, or songs with the same intro.
_TIE = 0.95


def say_summary(answers: Answers, *, warehouse: str, output: str | None) -> None:
    """Print the number of clips found, and where the answers are."""
    counts, run_id = answers.counts, answers.run_id
    recorded = f"Run {run_id} in {warehouse}/matches" if run_id else "Not recorded"
    places = [recorded, *([output] if output else [])]
    say(
        f"{counted(counts['clips'], 'clip')}: {counts['identified']:.0f} identified, "
        f"{counts['clips'] - counts['identified'] - counts['rejected']:.0f} unknown, "
        f"{counts['rejected']:.0f} rejected, in {counts['seconds']:.1f} s\n"
        f"  {', and '.join(places)}",
        **counts,
        run_id=run_id,
        output=output,
    )


def say_answers(rows: Sequence[Mapping], *, n_listed: int = 1) -> None:
    """Print answers as a table.

    Parameters
    ----------
    rows : sequence of mapping
        Columns and order of `matches.csv`, from `Answers.met`.
    n_listed : int
        How many to print; others are only named if they tie with the best.
    """
    ties = _ties(rows)
    rows = [row for row in rows if row["rank"] <= n_listed]
    n_segments = Counter(row["clip"] for row in rows if row["rank"] == 1)
    cells = [
        list(
            _cells(
                row,
                is_part=bool(row["clip_start_s"]) or n_segments[row["clip"]] > 1,
                equals=ties.get((row["clip"], row["clip_start_s"]), []),
            )
        )
        for row in rows
    ]
    # Without columns that would be empty.
    used = [k for k in range(len(_HEADS)) if k in _ALWAYS or any(line[k] for line in cells)]
    lines = text_lines(
        [_HEADS[k] for k in used], [[line[k] for k in used] for line in cells], max_width=_WIDTH
    )
    say(
        paragraph(lines),
        answers=[dict(row) for row in rows],
        ties=[{"clip": clip, "songs": songs} for (clip, _), songs in ties.items()],
    )


def _ties(rows: Sequence[Mapping]) -> dict[tuple[str, float], list[str]]:
    """Return the names of the songs that tie with the best one, by clip and segment."""
    best = {(row["clip"], row["clip_start_s"]): row for row in rows if row["rank"] == 1}
    ties: dict[tuple[str, float], list[str]] = {}
    for row in rows:
        place = (row["clip"], row["clip_start_s"])
        first = best.get(place)
        if row["rank"] == 1 or first is None or not first["accepted"]:
            continue
        if (row["score"] or 0.0) >= _TIE * (first["score"] or 0.0) > 0:
            ties.setdefault(place, []).append(_name(row))
    return ties


def _name(row: Mapping) -> str:
    return " - ".join(part for part in (row["title"] or row["song"], row["artist"]) if part)


def _cells(row: Mapping, *, is_part: bool, equals: Sequence[str]) -> Iterator[str]:
    is_best, is_found = row["rank"] == 1, row["accepted"]
    name = _name(row)
    if is_best and equals:
        name = f"{name}, or equally {' or '.join(equals)}"
    yield row["clip"] if is_best else ""
    if is_part and is_best and is_found:
        yield f"{clock(row['clip_start_s'])} - {clock(row['clip_end_s'])}"
    else:
        yield ""
    if row["error"] is not None:
        yield f"not read: {row['error']}"
    elif not is_best:
        yield f"or {name}"
    else:
        yield (name if is_found else "unknown") + (f" ({row['note']})" if row["note"] else "")
    if not is_found:
        yield from ("", "", p_text(row["p_value"]) if name and is_best else "")
        return
    yield clock(row["offset_s"])
    yield f"{row['speed']:.3f}" if abs(row["speed"] - 1) > _PLAIN_SPEED else ""
    yield p_text(row["p_value"])
