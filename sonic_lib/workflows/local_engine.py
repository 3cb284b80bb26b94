"""The index without Spark: a few clips against a warehouse on this machine's disk.

delta-rs finds the files of the same Delta tables, and the same kernels read them and make the
same hashes, hits, lines, scores and segments, so the answers are those of the Spark job.  What
Spark does with shuffles is done here in memory: right for some hundred clips, whatever the index.

Examples
--------
>>> from sonic_lib.config import load_config
>>> from sonic_lib.workflows.local_engine import identify_clips, open_index
>>> config = load_config()
>>> index = open_index("sonic-warehouse", params=config.fingerprint.params())  # doctest: +SKIP
>>> identify_clips(["clip.wav"], index, config)  # doctest: +SKIP
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from sonic_lib.audio.sandbox import isolated, packed, prepare
from sonic_lib.console import progress
from sonic_lib.fingerprint.variants import FIRST_PASS, SECOND_PASS, Probe
from sonic_lib.matching import budget
from sonic_lib.storage.delta_rs import LocalIndex, open_index

if TYPE_CHECKING:  # the helper process loads this module, and has no use for it
    from sonic_lib.config import Config

__all__ = ["LocalIndex", "extract_clip", "identify_clips", "open_index"]

# A file, and which of its windows; None for all.
Job: TypeAlias = tuple[str, list[int] | None]

PARTS_BITS = 4  # of the hashes, which threads share
# A helper takes a second to load what it needs: the next one is for so many files more.
FILES_PER_HELPER = 8
# What is looked up together: a window of 5 s takes 0.1 MB in the first pass, 3 MB in the second.
# Each chunk reads the table, so those for a larger table are larger.
CHUNK_BYTES = 100_000_000
CHUNK_BYTES_PER_ROW = 1
# Of a long recording: what comes before them is decoded, too.
WINDOWS_PER_JOB = 64


def identify_clips(
    paths: Sequence[str], index: LocalIndex, config: Config, *, n_listed: int = 1
) -> list[dict]:
    """Identify clips in two passes, as `workflows.identification.search` does.

    Parameters
    ----------
    paths : sequence of str
        Audio files.
    n_listed : int >= 1
        Songs to list for each segment.

    Returns
    -------
    list of dict
        path, duration_s, error (if the clip could not be read), and the columns of
        `schemas.SEGMENTS`, absent for a clip that shares nothing with the index.

    Notes
    -----
    Files are decoded by helper processes, one a core, a chunk of them while the chunk before is
    looked up; memory is bounded by chunks, whatever the number of clips.
    """
    paths = list(dict.fromkeys(paths))
    max_hits = config.identify.max_hits_per_window
    chunk_bytes = max(CHUNK_BYTES, CHUNK_BYTES_PER_ROW * index.files.n_fingerprints)
    ends: dict[str, dict] = {}
    lines: dict[str, list[dict]] = {path: [] for path in paths}
    windows: dict[str, set[int]] = {}
    with progress("clips", total=len(paths), done=lambda: len(ends)):
        whole: list[Job] = [(path, None) for path in paths]
        for chunk in _extracted(whole, config, probes=FIRST_PASS, chunk_bytes=chunk_bytes):
            ends |= {path: end for path, _, end in chunk}
            readable = [(path, row) for path, rows, end in chunk if not _error(end) for row in rows]
            for path, row in readable:
                windows.setdefault(path, set()).add(row["window"])
            first_hits = budget.first_pass_hits(max_hits)
            for path, line in _match(readable, index, max_hits=first_hits, n_listed=n_listed):
                lines[path].append(line)
    jobs = _unsure_jobs(windows, lines, config)
    n_unsure = len({path for path, _ in jobs})
    seen: set[str] = set()
    with progress("unsure clips, closely", total=n_unsure, done=lambda: len(seen)):
        for chunk in _extracted(jobs, config, probes=SECOND_PASS, chunk_bytes=chunk_bytes):
            seen |= {path for path, *_ in chunk}
            rows = [(path, row) for path, rows, _ in chunk for row in rows]
            for path, line in _match(rows, index, max_hits=max_hits, n_listed=n_listed):
                lines[path].append(line)
    return [
        row
        for path, end in ends.items()
        for row in _segments(path, end, lines[path], config, n_listed)
    ]


def _unsure_jobs(
    windows: dict[str, set[int]], lines: dict[str, list[dict]], config: Config
) -> list[Job]:
    """Windows that no song is sure of, some at a time; their lines are forgotten."""
    from sonic_lib.matching.scoring import second_pass_threshold

    sure = second_pass_threshold(config.identify.false_accept_rate)
    jobs: list[Job] = []
    for path, found in windows.items():
        unsure = _unsure(found, lines[path], sure)
        lines[path] = [line for line in lines[path] if line["window"] not in unsure]
        again = sorted(unsure)
        for first in range(0, len(again), WINDOWS_PER_JOB):
            jobs.append((path, again[first : first + WINDOWS_PER_JOB]))
    return jobs


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
    from sonic_lib.matching.alignment import Hits
    from sonic_lib.matching.ranking import window_rows

    # Compiled kernels come from their cache at the first call.
    kinds = (np.int64, np.int8, np.int32, np.int32, np.float32, np.float32)
    hit = Hits(*(np.ones(1, kind) for kind in kinds))._replace(variant=np.zeros(1, np.int8))
    window_rows(hit, chance=1.0, n_listed=1)


def _extracted(
    jobs: Sequence[Job], config: Config, *, probes: Sequence[Probe], chunk_bytes: int
) -> Iterator[list[tuple[str, list[dict], dict]]]:
    """Decode and hash files, on all cores, and give them in chunks: path, rows, closing row."""
    n_helpers = min(os.cpu_count() or 1, 1 + len(jobs) // FILES_PER_HELPER)
    chunk: list[tuple[str, list[dict], dict]] = []
    n_bytes = 0
    waiting: deque[Future] = deque()
    left = iter(jobs)
    with ThreadPoolExecutor(n_helpers) as pool:
        while True:
            # One more than there are helpers: what is ready takes memory.
            for path, windows in itertools.islice(left, n_helpers + 1 - len(waiting)):
                waiting.append(
                    pool.submit(extract_clip, path, config, windows=windows, probes=probes)
                )
            if not waiting:
                break
            if not chunk:
                _load()
            chunk.append(waiting.popleft().result())
            n_bytes += sum(len(row["queries"]) for row in chunk[-1][1])
            if n_bytes >= chunk_bytes:
                yield chunk
                chunk, n_bytes = [], 0
    if chunk:
        yield chunk


def extract_clip(
    path: str, config: Config, *, windows: list[int] | None, probes: Sequence[Probe]
) -> tuple[str, list[dict], dict]:
    """Hash one file in a helper process: path, rows of its windows, closing row."""
    work = packed(
        clip_rows,
        params=config.fingerprint.params(),
        min_duration_s=budget.MIN_CLIP_S,
        probes=probes,
    )
    *rows, end = isolated(
        work,
        path,
        path=path,
        size_bytes=os.path.getsize(path) if os.path.exists(path) else 0,
        limits=config.index.limits(),
        windows=windows,
    )
    return path, rows, end


def _error(end: dict) -> str | None:
    return end.get("error") or end.get("stage")


def _unsure(windows: set[int], lines: list[dict], sure: float) -> set[int]:
    """Every other window, and the last, that no song is sure of."""
    is_sure = {line["window"] for line in lines if line["score"] >= sure}
    return {w for w in windows if w % 2 == 0 or w == max(windows)} - is_sure


def _match(
    windows: Sequence[tuple[str, dict]], index: LocalIndex, *, max_hits: int, n_listed: int
) -> Iterator[tuple[str, dict]]:
    """Lines of windows, with the path of each."""
    from sonic_lib.matching.alignment import Hits
    from sonic_lib.matching.join import gather
    from sonic_lib.matching.ranking import chance_evidence, window_rows
    from sonic_lib.matching.scan import find_hits

    queries = gather([row["queries"] for _, row in windows], bits=index.files.slice_bits)
    kept: list[list[Hits]] = [[] for _ in windows]

    def join(part: int) -> list:
        return list(
            find_hits(queries, index.files, part=part, parts_bits=PARTS_BITS, max_hits=max_hits)
        )

    chance = chance_evidence(index.files.n_frames)

    def judge(number: int) -> list[dict]:
        if not kept[number]:
            return []
        hits = Hits(*map(np.concatenate, zip(*kept[number], strict=True)))
        kept[number].clear()
        return window_rows(hits, chance=chance, n_listed=n_listed)

    # Files are read, hits counted and lines searched without Python's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(join, range(1 << PARTS_BITS)):
            for _, numbers, stops, hits in found:
                parts = [np.split(column, stops[:-1]) for column in hits]
                for number, *part in zip(numbers, *parts, strict=True):
                    kept[number].append(Hits(*part))
        for (path, window), rows in zip(windows, pool.map(judge, range(len(windows))), strict=True):
            place = {name: window[name] for name in ("window", "start_s", "end_s")}
            for row in rows:
                yield path, row | place


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
