"""The lists of the benchmark kit: songs, and which of them are the same."""

from __future__ import annotations

import csv
from pathlib import Path

from sonic_lib.audio.listing import SUFFIXES


def read_list(path: Path) -> list[str]:
    """One song a line, relative to the folder of songs."""
    return [x for x in map(str.strip, path.read_text(encoding="utf-8").splitlines()) if x]


def audio_names(folder: Path) -> list[str]:
    """All songs of a folder, as the lists name them."""
    found = (p for p in folder.rglob("*") if p.suffix[1:].lower() in SUFFIXES and p.is_file())
    return sorted(p.relative_to(folder).as_posix() for p in found)


def same_songs(bench: Path) -> dict[str, str]:
    """One name for all copies of a recording; songs without copies are left out."""
    pairs = []
    for row in _rows(bench / "dev" / "same.csv"):
        pairs.append((row["song"], row["group"]))
    pairs += near_duplicates(bench)
    group = {name: name for pair in pairs for name in pair}
    for a, b in pairs:
        merged, kept = group[b], group[a]
        group = {name: kept if x == merged else x for name, x in group.items()}
    return group


def near_duplicates(bench: Path) -> list[tuple[str, str]]:
    """Pairs of songs of the corpus that are known to hold the same music."""
    return [
        # Here, and only here, paths are relative to the folder above the songs.
        tuple(row[side].removeprefix("music/") for side in ("path_a", "path_b"))
        for row in _rows(bench / "corpus" / "near_duplicates.csv")
    ]


def _rows(path: Path) -> list[dict]:
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
