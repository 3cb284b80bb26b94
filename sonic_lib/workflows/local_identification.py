"""Identify folders of clips without Spark, record the answers and add song names."""

from __future__ import annotations

import atexit
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone

from sonic_lib.audio.local_files import add_once, walk
from sonic_lib.audio.sandbox import dismiss
from sonic_lib.config import Config
from sonic_lib.errors import SetupError
from sonic_lib.storage.delta_rs import append, first_files, open_table, write_run
from sonic_lib.storage.local_index import LocalIndex, open_index
from sonic_lib.storage.run_rows import Run, new_run, run_row
from sonic_lib.workflows.answers import COLUMNS, NO_MATCH, Answers, can_record, n_asked
from sonic_lib.workflows.local_engine import identify_clips, start_helper

# For longer runs, Spark's retries are worth its overhead; `engine` overrides the choice.
MAX_S = 1800.0
# Measured on the two cores of the benchmarks: per clip of up to 10 s, a third of them uncertain;
# per byte of longer, mostly unknown clips; per row of the table, read once; per row and clip.
S_PER_CLIP = 0.1
SHORT_BYTES = 500_000
S_PER_BYTE = 0.8e-6
S_PER_ROW = 2.5e-8
S_PER_CLIP_ROW = 1.5e-10
CLIPS_PER_READ = 250


atexit.register(gc.freeze)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Turn garbage collection off, including at exit: it would take a fifth of the time.

    Modules stay loaded anyway, and clips leave little garbage.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_without_garbage_collection()
def identify_folders(
    config: Config,
    paths: list[str],
    *,
    n_listed: int = 1,
    record: bool = True,
    follow_links: bool = True,
    only_if_quick: bool = False,
) -> Answers | None:
    """Identify the clips of folders.

    Parameters
    ----------
    paths : list of str
        Local folders or audio files.
    n_listed : int >= 1
        Songs to list per segment.
    record : bool
        Write the answers to the tables `matches` and `runs`, if these are writable.
    only_if_quick : bool
        Do nothing if this would take longer than `MAX_S`, or delta-rs cannot read the tables.

    Returns
    -------
    Answers, optional
        None if Spark is needed.

    Raises
    ------
    TableError
        If there is no index, or it has no songs.
    SetupError
        If delta-rs is missing or cannot read a table.
    """
    started_s = time.monotonic()
    record = record and can_record(config.warehouse)
    clips = _clips(paths, stop_early=only_if_quick, follow_links=follow_links)
    if clips is None:
        return None
    roots = {path: root for path, (root, _) in clips.items()}
    try:
        for name in ("songs", "fingerprints", "song_files", "matches", "runs"):
            open_table(config.warehouse, name)
        start_helper()
        index = open_index(config.warehouse, params=config.fingerprint.params())
    except SetupError:
        if only_if_quick:
            return None
        raise
    n_bytes = sum(size_bytes for _, size_bytes in clips.values())
    if only_if_quick and estimated_s(len(clips), n_bytes, index.files.n_fingerprints) > MAX_S:
        dismiss()
        return None
    this_run = new_run()
    try:
        found = identify_clips(sorted(clips), index, config, n_listed=n_asked(n_listed))
        candidates = [_match(row, this_run) for row in found]
        matches = [row for row in candidates if row["rank"] <= n_listed]
        _count(matches, this_run)
        if record:
            append(matches, config.warehouse, "matches")
        named = _named(candidates, roots, index)
        this_run.counts["seconds"] = time.monotonic() - started_s
    except BaseException:
        with suppress(Exception):  # a second failure, as on a full disk, would hide the cause
            if record:
                _record(this_run, config, "failed")
        raise
    if record:
        _record(this_run, config, "done")
    listed = [row for row in named if row["rank"] <= n_listed]
    return Answers(listed, named, this_run.counts, this_run.run_id if record else None)


def estimated_s(n_clips: int, n_bytes: int, n_fingerprints: int) -> float:
    """Estimate how long this engine takes, in seconds.

    Parameters
    ----------
    n_clips, n_bytes : int
        Number of clips, and the total size of their files.
    n_fingerprints : int
        Rows of the index.

    Examples
    --------
    >>> estimated_s(1, 100_000, 300_000_000) < MAX_S
    True
    >>> estimated_s(10_000, 1_000_000_000, 1_000_000) < MAX_S
    False
    """
    long_bytes = max(0, n_bytes - SHORT_BYTES * n_clips)
    n_reads = 2 + n_clips / CLIPS_PER_READ
    return (
        (S_PER_CLIP + S_PER_CLIP_ROW * n_fingerprints) * n_clips
        + S_PER_BYTE * long_bytes
        + S_PER_ROW * n_fingerprints * n_reads
    )


def _clips(
    paths: list[str], *, stop_early: bool, follow_links: bool
) -> dict[str, tuple[str, int]] | None:
    """Return root and size of each clip, by path; None if there are too many."""
    found: dict[str, dict] = {}
    n_bytes = 0
    for file in walk(paths, follow_links=follow_links):
        n_bytes += 0 if file["real"] in found else file["size_bytes"]
        add_once(found, file)
        if stop_early and estimated_s(len(found), n_bytes, 0) > MAX_S:
            return None
    return {file["path"]: (file["root"], file["size_bytes"]) for file in found.values()}


def _match(row: dict, this_run: Run) -> dict:
    """Return a row of `matches`; clips without an answer or with an error also get one."""
    nothing = {
        "clip_end_s": row["duration_s"],
        **dict.fromkeys(("song_id", "offset_s", "speed", "pitch")),
        **NO_MATCH,
    }
    return {
        "run_id": this_run.run_id,
        "run_date": datetime.now(timezone.utc).date(),
        "clip_path": row["path"],
        **{name: row.get(name, value) for name, value in nothing.items()},
        "error": row["error"],
        "note": row["note"],
    }


def _count(matches: list[dict], this_run: Run) -> None:
    best = [row for row in matches if row["rank"] == 1]
    this_run.counts |= {
        "clips": len({row["clip_path"] for row in best}),
        "identified": len({row["clip_path"] for row in best if row["accepted"]}),
        "segments": sum(row["accepted"] for row in best),
        "rejected": sum(row["error"] is not None for row in best),
    }


def _named(matches: list[dict], roots: dict[str, str], index: LocalIndex) -> list[dict]:
    """Replace absolute paths by relative ones, and song ids by titles and artists."""
    import pyarrow.compute as pc

    ids = list({row["song_id"] for row in matches} - {None})
    songs = index.songs.filter(pc.is_in(index.songs["song_id"], value_set=_ids(ids)))
    titles = {song["song_id"]: song for song in songs.to_pylist()}
    files = first_files(index.warehouse, song_ids=_ids(ids)).to_pylist()
    names = {file["song_id"]: _relative(file["path"], file["root"]) for file in files}
    rows = [
        {
            **row,
            "clip": _relative(row["clip_path"], roots[row["clip_path"]]),
            "song": names.get(row["song_id"]),
            "title": titles.get(row["song_id"], {}).get("title"),
            "artist": titles.get(row["song_id"], {}).get("artist"),
        }
        for row in matches
    ]
    rows.sort(key=lambda row: (row["clip"].encode(), row["clip_start_s"], row["rank"]))
    return [{name: row[name] for name in COLUMNS} for row in rows]


def _ids(song_ids: list[int]):
    import pyarrow as pa

    return pa.array(song_ids, pa.int64())


def _relative(path: str, root: str) -> str:
    return path[len(root.rstrip("/")) + 1 :]


def answer_schema(warehouse: str):
    """Return the Arrow schema of `COLUMNS`, with the types of the table `matches`."""
    import pyarrow as pa

    stored = pa.schema(open_table(warehouse, "matches").schema().to_arrow())
    texts = ("clip", "song", "title", "artist")
    kinds = {name: pa.string() if name in texts else stored.field(name).type for name in COLUMNS}
    return pa.schema(kinds)


def _record(this_run: Run, config: Config, status: str) -> None:
    """Record the run at its end; not before, since it only takes seconds."""
    row = run_row(this_run, job="identify", config=config, status=status)
    write_run(row, config.warehouse)
