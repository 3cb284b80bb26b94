"""Identify clips without Spark, in a warehouse on this machine.

delta-rs finds the files of the same Delta tables, and the same kernels read them and compute
hashes, hits, lines, scores and segments, so the answers are those of the Spark job.  Everything
happens in memory, in chunks of clips, instead of by shuffles.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Full, Queue
from threading import Event
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from sonic_lib.audio.sandbox import isolated, packed, prepare
from sonic_lib.console import progress
from sonic_lib.fingerprint.variants import FIRST_PASS, FIRST_PASS_ONLY, SECOND_PASS, Probe
from sonic_lib.matching import budget
from sonic_lib.spark.machine import n_cores

if TYPE_CHECKING:  # the helper process imports this module but does not need these
    from sonic_lib.config import Config
    from sonic_lib.storage.local_index import LocalIndex

# A file, and the windows to look up; None for all.
Job: TypeAlias = tuple[str, list[int] | None]

PARTS_BITS = 4  # of the hashes, shared by threads
# A helper takes a second to start: one per this many files, where a megabyte counts as a file.
FILES_PER_HELPER = 8
# Windows queued while others are looked up; each takes 0.1 MB in the first pass, then 3 MB.
N_WAITING = 32


def identify_clips(
    paths: Sequence[str], index: LocalIndex, config: Config, *, n_listed: int
) -> list[dict]:
    """Identify clips in two passes, as `workflows.identification.search` does.

    Parameters
    ----------
    paths : sequence of str
        Audio files.
    n_listed : int >= 1
        Songs to list per segment.

    Returns
    -------
    list of dict
        path, duration_s, error (if the clip could not be read), and the columns of
        `schemas.SEGMENTS`, absent for a clip that shares no hash with the index.

    Notes
    -----
    Helper processes, one per core, decode files while earlier windows are looked up, in chunks:
    memory is bounded, whatever the number and the length of the clips.
    """
    paths = list(dict.fromkeys(paths))
    max_hits = config.identify.max_hits_per_window
    chunk_bytes = budget.chunk_bytes(index.files.n_fingerprints)
    ends: dict[str, dict] = {}
    lines: dict[str, list[dict]] = {path: [] for path in paths}
    windows: dict[str, set[int]] = {path: set() for path in paths}
    with progress("clips", total=len(paths), done=lambda: len(ends)):
        whole: list[Job] = [(path, None) for path in paths]
        for chunk in _extracted(whole, ends, config, probes=FIRST_PASS, chunk_bytes=chunk_bytes):
            for path, row in chunk:
                windows[path].add(row["window"])
            first_hits = budget.first_pass_hits(max_hits)
            for path, line in _match(chunk, index, max_hits=first_hits, n_listed=n_listed):
                lines[path].append(line)
    for path, end in ends.items():
        if _error(end):
            windows[path].clear()
            lines[path].clear()
    jobs = _unsure_jobs(windows, lines, config)
    done: dict[str, dict] = {}
    again: dict[str, list[dict]] = {path: [] for path, _ in jobs}
    with progress("uncertain clips, second pass", total=len(jobs), done=lambda: len(done)):
        for chunk in _extracted(jobs, done, config, probes=SECOND_PASS, chunk_bytes=chunk_bytes):
            for path, line in _match(chunk, index, max_hits=max_hits, n_listed=n_listed):
                again[path].append(line)
    for path, asked in jobs:
        # Windows without sound or structure are no failure: they have no hashes to look up.
        if (failure := _error(done[path])) and done[path].get("stage") != "content":
            notes = (ends[path].get("note"), f"{FIRST_PASS_ONLY}: {failure}")
            ends[path]["note"] = "; ".join(filter(None, notes))
        else:
            unsure = set(asked or ())
            sure = [line for line in lines[path] if line["window"] not in unsure]
            lines[path] = sure + again[path]
    return [
        row for path in paths for row in _segments(path, ends[path], lines[path], config, n_listed)
    ]


def _unsure_jobs(
    windows: dict[str, set[int]], lines: dict[str, list[dict]], config: Config
) -> list[Job]:
    """Return the uncertain windows of each clip that the second pass searches, as jobs."""
    from sonic_lib.matching.scoring import second_pass_threshold

    threshold = second_pass_threshold(config.identify.false_accept_rate)
    jobs: list[Job] = []
    for path, found in windows.items():
        sure = {line["window"] for line in lines[path] if line["score"] >= threshold}
        last = max(found, default=0)
        if unsure := {w for w in found - sure if budget.is_searched_again(w, last)}:
            jobs.append((path, sorted(unsure)))
    return jobs


def start_helper() -> None:
    """Start the fingerprinting process, so that it loads its modules while an index is opened."""
    prepare(packed(_load_in_helper))


def _load_in_helper() -> None:
    from sonic_lib.fingerprint import extract  # noqa: F401


def clip_rows(path: str, **options) -> Iterator[dict]:
    """Call `extract.clip_rows`; only the helper process loads that module."""
    from sonic_lib.fingerprint import extract

    return extract.clip_rows(path, **options)


def _load() -> None:
    """Load the matching modules while another process fingerprints the clips."""
    import pandas  # noqa: F401

    from sonic_lib.matching import scan, segments  # noqa: F401
    from sonic_lib.matching.alignment import Hits
    from sonic_lib.matching.ranking import window_rows

    # The first call loads compiled kernels from their cache.
    kinds = (np.int64, np.int8, np.int32, np.int32, np.float32, np.float32)
    hit = Hits(*(np.ones(1, kind) for kind in kinds))._replace(variant=np.zeros(1, np.int8))
    window_rows(hit, chance=1.0, n_listed=1)


def _extracted(
    jobs: Sequence[Job],
    ends: dict[str, dict],
    config: Config,
    *,
    probes: Sequence[Probe],
    chunk_bytes: int,
) -> Iterator[list[tuple[str, dict]]]:
    """Decode and hash files on all cores; yields chunks of windows, fills `ends` with summaries."""
    chunk: list[tuple[str, dict]] = []
    n_bytes = 0
    for path, row in _rows(jobs, config, probes=probes):
        if "queries" not in row:
            ends[path] = row
            continue
        chunk.append((path, row))
        n_bytes += len(row["queries"])
        if n_bytes >= chunk_bytes:
            yield chunk
            chunk, n_bytes = [], 0
    if chunk:
        yield chunk


def _rows(
    jobs: Sequence[Job], config: Config, *, probes: Sequence[Probe]
) -> Iterator[tuple[str, dict]]:
    """Yield the rows of all files as their threads find them; a file's summary is its last."""
    n_files = sum(1 + _size_bytes(path) // 1_000_000 for path, _ in jobs)
    n_helpers = min(n_cores(), max(len(jobs), 1), 1 + n_files // FILES_PER_HELPER)
    waiting: Queue[tuple[str, dict] | BaseException] = Queue(N_WAITING)
    is_over = Event()

    def give(found: tuple[str, dict] | BaseException) -> None:
        while not is_over.is_set():
            try:
                return waiting.put(found, timeout=1)
            except Full:
                continue

    def extract(job: Job) -> None:
        path, windows = job
        try:
            for row in _clip_rows(path, config, windows=windows, probes=probes):
                give((path, row))
                if is_over.is_set():
                    return
        except BaseException as error:  # raised again in the thread that waits for the rows
            give(error)

    with ThreadPoolExecutor(n_helpers) as pool:
        try:
            for job in jobs:
                pool.submit(extract, job)
            if jobs:
                _load()
            unfinished = {path for path, _ in jobs}
            while unfinished:
                found = waiting.get()
                if isinstance(found, BaseException):
                    raise found
                path, row = found
                if "queries" not in row:
                    unfinished.discard(path)
                yield path, row
        finally:
            is_over.set()
            pool.shutdown(wait=False, cancel_futures=True)


def extract_clip(path: str, config: Config, *, probes: Sequence[Probe]) -> list[dict]:
    """Return the queries of each window of a file, as rows of `extract.clip_rows`."""
    *rows, _ = _clip_rows(path, config, windows=None, probes=probes)
    return rows


def _clip_rows(
    path: str, config: Config, *, windows: list[int] | None, probes: Sequence[Probe]
) -> Iterator[dict]:
    work = packed(
        clip_rows,
        params=config.fingerprint.params(),
        probes=probes,
    )
    yield from isolated(
        work,
        path,
        path=path,
        size_bytes=_size_bytes(path),
        limits=config.index.limits(),
        windows=windows,
    )


def _size_bytes(path: str) -> int:
    return os.path.getsize(path) if os.path.exists(path) else 0


def _error(end: dict) -> str | None:
    return end.get("error") or end.get("stage")


def _match(
    windows: Sequence[tuple[str, dict]], index: LocalIndex, *, max_hits: int, n_listed: int
) -> Iterator[tuple[str, dict]]:
    """Find the lines of windows, with the path of the clip."""
    from sonic_lib.matching.alignment import Hits
    from sonic_lib.matching.ranking import chance_evidence, window_rows
    from sonic_lib.matching.scan import find_hits
    from sonic_lib.matching.slices import gather

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

    # Threads help: reading files, counting hits and finding lines release Python's global lock.
    with ThreadPoolExecutor(n_cores()) as pool:
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

    summary = {"path": path, "duration_s": end.get("duration_s"), "error": _error(end)}
    summary["note"] = end.get("note")
    if not lines:
        return [summary]
    found = find_segments(
        pd.DataFrame(lines),
        duration_s=end["duration_s"],
        false_accept_rate=config.identify.false_accept_rate,
        n_listed=n_listed,
    )
    return [summary | row for row in found.to_dict("records")]
