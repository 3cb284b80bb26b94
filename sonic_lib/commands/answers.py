"""What `sonic identify` gives out, whichever engine found it."""

from __future__ import annotations

from collections.abc import Mapping

from sonic_lib.saying import say

COLUMNS = (
    *("clip", "rank", "song", "title", "artist", "clip_start_s", "clip_end_s", "offset_s"),
    *("speed", "n_votes", "score", "p_value", "accepted", "pitch", "note", "error"),
)
# For the terminal, if there are no more clips than a person looks through.
SHOWN = ("clip", "rank", "song", "clip_start_s", "offset_s", "speed", "p_value", "accepted")
MAX_SHOWN_CLIPS = 20


def print_summary(
    counts: Mapping[str, float], *, run_id: str, warehouse: str, output: str | None
) -> None:
    """Say what was found and where it stands."""
    say(
        f"{counts['clips']:.0f} clips: {counts['identified']:.0f} identified, "
        f"{counts['clips'] - counts['identified'] - counts['rejected']:.0f} unknown, "
        f"{counts['rejected']:.0f} rejected, in {counts['seconds']:.1f} s\n"
        f"  Run {run_id} in {warehouse}/matches" + (f", and {output}" if output else ""),
        **counts,
        run_id=run_id,
        output=output,
    )
