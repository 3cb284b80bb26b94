"""The index without Spark: a few clips against a warehouse on this machine's disk.

delta-rs finds the files of the same Delta tables, and the same kernels read them and make the
same hashes, hits, lines, scores and segments, so the answers are those of the Spark job.  What
Spark does with shuffles is done here in memory: right for some hundred clips, whatever the index.

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
from sonic_lib.local_tables import LocalIndex, open_index
from sonic_lib.matching import limits

if TYPE_CHECKING:  # the helper process loads this module, and has no use for it
    from sonic_lib.config import Config

__all__ = ["LocalIndex", "identify_clips", "open_index"]

PARTS_BITS = 4  # of the hashes, which threads share


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

    found = extracts.result()
    readable = {path: rows for path, (rows, end) in found.items() if not _error(end)}
    max_hits = config.identify.max_hits_per_window
    first_hits = limits.first_pass_hits(max_hits)
    lines = _match(readable, index, max_hits=first_hits, n_listed=n_listed)

    sure = sure_score(config.identify.false_accept_rate)
    again = {}
    for path, rows in readable.items():
        unsure = _unsure({row["window"] for row in rows}, lines[path], sure)
        if unsure:
            again[path], _ = _extract(path, config, windows=sorted(unsure), looks=SECOND_LOOKS)
            lines[path] = [line for line in lines[path] if line["window"] not in unsure]
    second = _match(again, index, max_hits=max_hits, n_listed=n_listed)
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

    from sonic_lib.matching import scan, segments  # noqa: F401
    from sonic_lib.matching.lines import Hits
    from sonic_lib.matching.windows import window_rows

    # Compiled kernels come from their cache at the first call.
    kinds = (np.int64, np.int8, np.int32, np.int32, np.float32, np.float32)
    hit = Hits(*(np.ones(1, kind) for kind in kinds))._replace(variant=np.zeros(1, np.int8))
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


def _error(end: dict) -> str | None:
    return end.get("error") or end.get("stage")


def _unsure(windows: set[int], lines: list[dict], sure: float) -> set[int]:
    """Every other window, and the last, that no song is sure of."""
    is_sure = {line["window"] for line in lines if line["score"] >= sure}
    return {w for w in windows if w % 2 == 0 or w == max(windows)} - is_sure


def _match(
    clips: dict[str, list[dict]], index: LocalIndex, *, max_hits: int, n_listed: int
) -> dict[str, list[dict]]:
    """Lines of all windows, by clip."""
    from sonic_lib.matching.join import gather, pack_hits, unpack_hits
    from sonic_lib.matching.scan import find_hits
    from sonic_lib.matching.windows import chance_evidence, window_rows

    windows = [(path, row) for path, rows in clips.items() for row in rows]
    queries = gather([row["queries"] for _, row in windows])
    kept: list[list[bytes]] = [[] for _ in windows]

    def join(part: int) -> list:
        return list(
            find_hits(queries, index.files, part=part, parts_bits=PARTS_BITS, max_hits=max_hits)
        )

    # Files are read, and hits counted, without Python's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(join, range(1 << PARTS_BITS)):
            for _, numbers, stops, hits in found:
                packed_hits = np.split(pack_hits(hits), stops[:-1])
                for number, part in zip(numbers, packed_hits, strict=True):
                    kept[number].append(part.tobytes())
    chance = chance_evidence(index.files.n_frames)
    lines: dict[str, list[dict]] = {path: [] for path in clips}
    for (path, window), parts in zip(windows, kept, strict=True):
        if parts:
            place = {name: window[name] for name in ("window", "start_s", "end_s")}
            rows = window_rows(unpack_hits(parts), chance=chance, n_listed=n_listed)
            lines[path] += [row | place for row in rows]
    return lines


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
