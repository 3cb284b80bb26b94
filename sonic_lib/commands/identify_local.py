"""`sonic identify` without Spark: a few clips, an index on this machine's disk."""

from __future__ import annotations

import argparse
import atexit
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone

from sonic_lib.audio.folders import absolute, walk
from sonic_lib.audio.isolation import dismiss
from sonic_lib.commands.answers import COLUMNS, MAX_SHOWN_CLIPS, SHOWN, print_summary
from sonic_lib.commands.output import text_lines, write_rows
from sonic_lib.config import Config
from sonic_lib.errors import SetupError
from sonic_lib.local_tables import append, open_table
from sonic_lib.reader import LocalIndex, identify_clips, open_index, start_helper
from sonic_lib.run_rows import Run, new_run, run_row
from sonic_lib.saying import say

# Where starting Spark begins to pay; --engine says otherwise.
MAX_CLIPS = 20
MAX_CLIP_BYTES = 40_000_000
MAX_FINGERPRINTS = 20_000_000  # 1000 songs or so


def run(config: Config, args: argparse.Namespace, warehouse: str) -> int | None:
    """Identify the clips of the folders.

    Returns
    -------
    int, optional
        The exit code; None if the engine was left open and it is too much, or a table is not
        for delta-rs.
    """
    with _garbage_kept():
        return _run(config, args, warehouse)


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """Look for no garbage, now and at Python's end: that would take a fifth of the time.

    What is loaded stays, and what clips leave behind is little.
    """
    atexit.register(gc.freeze)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _run(config: Config, args: argparse.Namespace, warehouse: str) -> int | None:
    is_open = args.engine == "auto"
    started_s = time.monotonic()
    config = config.model_copy(update={"warehouse": absolute(warehouse)})
    clips = _clips(args.paths, stop_early=is_open)
    if clips is None:
        return None
    try:
        for name in ("songs", "fingerprints", "song_files", "matches", "runs"):
            open_table(config.warehouse, name)
        start_helper()
        index = open_index(config.warehouse, params=config.fingerprint.params())
    except SetupError:
        if is_open:
            return None
        raise
    if is_open and index.n_fingerprints > MAX_FINGERPRINTS:
        dismiss()
        return None
    this_run = new_run()
    try:
        found = identify_clips(sorted(clips), index, config, n_listed=args.candidates)
        matches = [_match(row, this_run) for row in found]
        _count(matches, this_run)
        append(matches, config.warehouse, "matches")
        named = _named(matches, clips, index)
        if args.output:
            _write(named, args.output, config.warehouse)
        elif len(clips) <= MAX_SHOWN_CLIPS:
            shown = [[row[name] for name in SHOWN] for row in named]
            say("\n".join(text_lines(SHOWN, shown)), answers=named)
        this_run.counts["seconds"] = time.monotonic() - started_s
    except BaseException:
        with suppress(Exception):  # on a full disk this fails, too, and would hide the reason
            _record(this_run, config, "failed")
        raise
    _record(this_run, config, "done")
    counts = this_run.counts
    print_summary(counts, run_id=this_run.run_id, warehouse=config.warehouse, output=args.output)
    return 1 if args.strict and counts["rejected"] else 0


def _clips(paths: list[str], *, stop_early: bool) -> dict[str, str] | None:
    """Paths of clips and their roots; None as soon as they are too many."""
    roots: dict[str, str] = {}
    n_bytes = 0
    for file in walk(paths):
        n_bytes += 0 if file["path"] in roots else file["size_bytes"]
        roots[file["path"]] = min(file["root"], roots.get(file["path"], file["root"]))
        if stop_early and (len(roots) > MAX_CLIPS or n_bytes > MAX_CLIP_BYTES):
            return None
    return roots


def _match(row: dict, this_run: Run) -> dict:
    """A row of `matches`: every clip has one, also if nothing was found or read."""
    nothing = {
        "clip_start_s": 0.0,
        "clip_end_s": row["duration_s"],
        "rank": 1,
        "song_id": None,
        "offset_s": None,
        "speed": None,
        "n_votes": 0,
        "score": 0.0,
        "p_value": 1.0,
        "accepted": False,
        "pitch": None,
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


def _named(matches: list[dict], clips: dict[str, str], index: LocalIndex) -> list[dict]:
    """Paths relative to the folders given, titles and artists in place of ids."""
    import pyarrow.compute as pc

    ids = list({row["song_id"] for row in matches} - {None})
    songs = index.songs.filter(pc.is_in(index.songs["song_id"], value_set=_ids(ids)))
    titles = {song["song_id"]: song for song in songs.to_pylist()}
    names = _file_names(ids, index.warehouse)
    rows = [
        {
            **row,
            "clip": _relative(row["clip_path"], clips[row["clip_path"]]),
            "song": names.get(row["song_id"]),
            "title": titles.get(row["song_id"], {}).get("title"),
            "artist": titles.get(row["song_id"], {}).get("artist"),
        }
        for row in matches
    ]
    rows.sort(key=lambda row: (row["clip"].encode(), row["clip_start_s"], row["rank"]))
    return [{name: row[name] for name in COLUMNS} for row in rows]


def _file_names(song_ids: list[int], warehouse: str) -> dict[int, str]:
    """The file of each song; of copies the first that was indexed."""
    import pyarrow.compute as pc

    files = open_table(warehouse, "song_files").to_pyarrow_dataset()
    rows = files.to_table(
        columns=["path", "root", "song_id", "status"],
        filter=pc.field("song_id").isin(_ids(song_ids)),
    ).to_pylist()
    best: dict[int, tuple[bool, str]] = {}
    for row in rows:
        name = (row["status"] == "duplicate", _relative(row["path"], row["root"]))
        best[row["song_id"]] = min(name, best.get(row["song_id"], name))
    return {song_id: name for song_id, (_, name) in best.items()}


def _ids(song_ids: list[int]):
    import pyarrow as pa

    return pa.array(song_ids, pa.int64())


def _relative(path: str, root: str) -> str:
    return path[len(root.rstrip("/")) + 1 :]


def _write(named: list[dict], output: str, warehouse: str) -> None:
    import pyarrow as pa

    stored = pa.schema(open_table(warehouse, "matches").schema().to_arrow())
    texts = ("clip", "song", "title", "artist")
    kinds = {name: pa.string() if name in texts else stored.field(name).type for name in COLUMNS}
    write_rows(named, output, schema=pa.schema(kinds))


def _record(this_run: Run, config: Config, status: str) -> None:
    """Write the run in one row at its end: it takes seconds."""
    row = run_row(this_run, job="identify", config=config, status=status)
    append([row | {"counts": list(row["counts"].items())}], config.warehouse, "runs")
