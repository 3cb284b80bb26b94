"""Lists of the benchmark kit: song names, and which songs are the same recording."""

from __future__ import annotations

import csv
from pathlib import Path

from sonic_lib.audio.listing import SUFFIXES

# Pairs that the kit's lists lack: the same recording, once with bells.  Its spectra (`alike`) are
# most similar, up to 0.81, at the same position in 8 of 11 windows of 10 s.  Of the 1,325 pairs of
# an unknown song and another of its game this is the only such pair.
FURTHER_PAIRS = [
    (
        "supertux-data/supertux2/music/misc/theme.ogg",
        "supertux-data/supertux2/music/misc/christmas_theme.ogg",
    ),
]


def read_list(path: Path) -> list[str]:
    """Read a list with one song per line, relative to the folder of songs."""
    return [x for x in map(str.strip, path.read_text(encoding="utf-8").splitlines()) if x]


def audio_names(folder: Path) -> list[str]:
    """Return all songs of a folder, named as in the lists."""
    found = (p for p in folder.rglob("*") if p.suffix[1:].lower() in SUFFIXES and p.is_file())
    return sorted(p.relative_to(folder).as_posix() for p in found)


def same_songs(bench: Path) -> dict[str, str]:
    """Map all copies of a recording to one name; songs without copies are omitted."""
    pairs = []
    for row in _rows(bench / "dev" / "same.csv"):
        pairs.append((row["song"], row["group"]))
    pairs += near_duplicates(bench) + FURTHER_PAIRS
    group = {name: name for pair in pairs for name in pair}
    for a, b in pairs:
        merged, kept = group[b], group[a]
        group = {name: kept if x == merged else x for name, x in group.items()}
    return group


def near_duplicates(bench: Path) -> list[tuple[str, str]]:
    """Return pairs of corpus songs that are known to contain the same music."""
    return [
        # Only in this file are paths relative to the parent of the folder of songs.
        tuple(row[side].removeprefix("music/") for side in ("path_a", "path_b"))
        for row in _rows(bench / "corpus" / "near_duplicates.csv")
    ]


def _rows(path: Path) -> list[dict]:
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
