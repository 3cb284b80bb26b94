"""The index without Spark: a few clips against a warehouse on this machine's disk.

delta-rs reads the same Delta tables, and the same kernels make the same hashes, lines, scores
and segments, so the answers are those of the Spark job.  What Spark does with shuffles is done
here in memory, file after file of the table: right for a laptop's index, and for no larger one.

Examples
--------
>>> from sonic_lib.config import load_config
>>> from sonic_lib.reader import identify_clips, open_index
>>> config = load_config()
>>> index = open_index("sonic-warehouse", params=config.fingerprint.params())  # doctest: +SKIP
>>> identify_clips(["clip.wav"], index, config)  # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from sonic_lib.audio.isolation import isolated, packed, prepare
from sonic_lib.fingerprint.variants import FIRST_LOOKS, SECOND_LOOKS
from sonic_lib.fingerprint.window import WindowHashes
from sonic_lib.local_tables import LocalIndex, find_entries, open_index
from sonic_lib.matching import limits

if TYPE_CHECKING:  # the helper process loads this module, and has no use for it
    from sonic_lib.config import Config

__all__ = ["LocalIndex", "identify_clips", "open_index"]


def identify_clips(
    paths: Sequence[str], index: LocalIndex, config: Config, *, n_listed: int = 1
) -> list[dict]:
    """Identify clips in two passes, as `commands.search.search` does on Spark.

    Parameters
    ----------
    paths : sequence of str
        Audio files. What they hold is kept in memory together: some 3 MB for 10 s of audio.
    n_listed : int >= 1
        Songs to list for each segment.

    Returns
    -------
    list of dict
        path, duration_s, error (if the clip could not be read), and the columns of
        `schemas.SEGMENTS`, absent for a clip that shares nothing with the index.
    """
    with ThreadPoolExecutor(1) as waiting:
        extracts = waiting.submit(_extract_all, paths, config)
        _load()
    from sonic_lib.matching.decide import sure_score

    found = {path: (_windows(rows), end) for path, (rows, end) in extracts.result().items()}
    readable = {path: windows for path, (windows, end) in found.items() if not _error(end)}
    max_hits = config.identify.max_hits_per_window
    lines = _match(readable, index, max_hits_per_window=max_hits, n_listed=n_listed)

    sure = sure_score(config.identify.false_accept_rate)
    again = {}
    for path, windows in readable.items():
        unsure = _unsure({w.window for w in windows}, lines[path], sure)
        if unsure:
            rows, _ = _extract(path, config, windows=sorted(unsure), looks=SECOND_LOOKS)
            again[path] = _windows(rows)
            lines[path] = [line for line in lines[path] if line["window"] not in unsure]
    second = _match(
        again,
        index,
        max_hits_per_window=limits.SECOND_PASS_HITS * max_hits,
        n_listed=n_listed,
    )
    for path, more in second.items():
        lines[path] += more
    return [
        row
        for path, (_, end) in found.items()
        for row in _segments(path, end, lines.get(path, []), config, n_listed)
    ]


def start_helper() -> None:
    """Let the process that fingerprints clips load what it needs while an index is opened."""
    prepare(packed(_load_in_helper))


def _load_in_helper() -> None:
    from sonic_lib.fingerprint import extract  # noqa: F401


def clip_rows(path: str, **options) -> Iterator[dict]:
    """Call `extract.clip_rows`, of which only the helper process loads the module."""
    from sonic_lib.fingerprint import extract

    return extract.clip_rows(path, **options)


def _load() -> None:
    """Load what is needed once the clips are fingerprinted, which another process does."""
    import pandas  # noqa: F401

    from sonic_lib.matching import lookup, segments  # noqa: F401
    from sonic_lib.matching.lines import Hits
    from sonic_lib.matching.windows import window_rows

    # Compiled kernels come from their cache at the first call.
    kinds = (np.int64, np.int32, np.int32, np.int32, np.float32, np.float32)
    hit = Hits(*(np.ones(1, kind) for kind in kinds))._replace(variant=np.zeros(1, np.int32))
    window_rows(hit, chance=1.0, n_listed=1)


def _extract_all(paths: Sequence[str], config: Config) -> dict[str, tuple[list[dict], dict]]:
    return {path: _extract(path, config, looks=FIRST_LOOKS) for path in dict.fromkeys(paths)}


def _extract(
    path: str, config: Config, *, windows: list[int] | None = None, **options
) -> tuple[list[dict], dict]:
    """The windows of a clip, and its closing row."""
    work = packed(
        clip_rows,
        params=config.fingerprint.params(),
        min_duration_s=limits.MIN_CLIP_S,
        **options,
    )
    *rows, end = isolated(
        work,
        path,
        path=path,
        size_bytes=os.path.getsize(path) if os.path.exists(path) else 0,
        limits=config.index.limits(),
        windows=windows,
    )
    return rows, end


def _windows(rows: list[dict]) -> list[WindowHashes]:
    return [WindowHashes(*(row[name] for name in WindowHashes._fields)) for row in rows]


def _error(end: dict) -> str | None:
    return end.get("error") or end.get("stage")


def _unsure(windows: set[int], lines: list[dict], sure: float) -> set[int]:
    """Every other window, and the last, that no song is sure of."""
    is_sure = {line["window"] for line in lines if line["score"] >= sure}
    return {w for w in windows if w % 2 == 0 or w == max(windows)} - is_sure


def _match(
    clips: dict[str, list[WindowHashes]],
    index: LocalIndex,
    *,
    max_hits_per_window: int,
    n_listed: int,
) -> dict[str, list[dict]]:
    """Lines of all windows, by clip."""
    from sonic_lib.matching import lookup
    from sonic_lib.matching.windows import chance_evidence, window_rows

    queries = [query for windows in clips.values() for query in windows]
    if not queries:
        return {path: [] for path in clips}
    n_hashes = sum(len(query.hashes) for query in queries)
    entries = find_entries(index, np.unique(np.concatenate([q.hashes for q in queries])))
    n_windows = sum(len({w.window for w in windows}) for windows in clips.values())
    max_hits = max(limits.MIN_HITS, n_windows * max_hits_per_window)
    max_rows = limits.MAX_ROWS_PER_HASH
    if limits.HITS_PER_PAIR * n_hashes * index.n_fingerprints > max_hits:
        n_hits = lookup.hits_by_frequency(entries, queries, prefix_bits=index.prefix_bits)
        max_rows = limits.affordable_frequency(n_hits, max_hits=max_hits)
    entries = lookup.without_frequent(
        entries, max_rows_per_hash=max_rows, n_index_frames=index.n_frames
    )
    chance = chance_evidence(index.n_frames)
    lines: dict[str, list[dict]] = {path: [] for path in clips}
    for path, windows in clips.items():
        for same in _by_window(windows):
            hits = lookup.window_hits(same, entries, n_index_frames=index.n_frames)
            if not len(hits.song_id):
                continue
            place = {name: getattr(same[0], name) for name in ("window", "start_s", "end_s")}
            rows = window_rows(hits, chance=chance, n_listed=n_listed)
            lines[path] += [row | place for row in rows]
    return lines


def _by_window(windows: list[WindowHashes]) -> Iterator[list[WindowHashes]]:
    for number in sorted({window.window for window in windows}):
        yield [window for window in windows if window.window == number]


def _segments(path: str, end: dict, lines: list[dict], config: Config, n_listed: int) -> list[dict]:
    import pandas as pd

    from sonic_lib.matching.segments import find_segments

    closing = {"path": path, "duration_s": end.get("duration_s"), "error": _error(end)}
    closing["note"] = end.get("note")
    if not lines:
        return [closing]
    found = find_segments(
        pd.DataFrame(lines),
        duration_s=end["duration_s"],
        false_accept_rate=config.identify.false_accept_rate,
        n_listed=n_listed,
    )
    return [closing | row for row in found.to_dict("records")]
