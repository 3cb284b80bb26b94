"""Compare the tables and answers of two commits, row for row.

    python benchmarks/same_answers.py --before COMMIT --after COMMIT [--songs FOLDER]

The library of each commit, in a worktree of its own, takes the demo's tour and, if `--songs` names
a folder, indexes the first `N_SONGS` songs of it and identifies clips cut from them and from the
songs after them.  Tables and CSV files must then hold the same rows, but for run ids and times.
The packages are those of this environment, so both commits need to run with them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from corpus import audio_names

N_SONGS, N_UNKNOWN = 24, 6
CLIP_S, CLIP_START_S = 6.0, 20.0
TABLES = ("songs", "song_files", "fingerprints", "matches", "features", "feature_files")
# They differ between any two runs.
VOLATILE = ("run_id", "run_date", "version", "indexed_at", "computed_at", "seen_at")

SYNTHESISED = (
    "demo/songs",
    "demo/clips",
    "demo/truth.csv",
    "demo/popularity.csv",
    "demo/demo.json",
)
# `main` was moved once.
START = """
import sys
try:
    from sonic_lib.cli.main import main
except ImportError:
    from sonic_lib.cli import main
sys.exit(main())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", required=True, help="a commit")
    parser.add_argument("--after", default="HEAD", help="another one")
    parser.add_argument("--songs", type=Path, help="folder of real songs")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        if args.songs and args.songs.is_dir():
            link_songs(args.songs, place / "songs", place / "clips")
        found = {}
        for commit in (args.before, args.after):
            # Both in the same folder, as paths are part of the answers.
            work = place / "work"
            (work / "demo").mkdir(parents=True)
            if found:  # the same songs: an encoder writes other bytes each time
                for path in SYNTHESISED:
                    (place / "done" / path).rename(work / path)
            run(place, commit, work)
            found[commit] = dict(frames(work))
            if commit == args.before:
                work.rename(place / "done")
    before, after = (found[commit] for commit in (args.before, args.after))
    lines = list(differences(before, after))
    print("\n".join(lines))
    n_differing = sum(": differ" in line for line in lines)
    sys.exit(f"{n_differing} of {len(lines)} differ" if n_differing else 0)


def link_songs(songs: Path, linked: Path, clips: Path) -> None:
    """Link every song to index, and cut a clip from it or from one that is not indexed."""
    for folder in (linked, clips):
        folder.mkdir()
    names = audio_names(songs)
    names = names[:: max(1, len(names) // (N_SONGS + N_UNKNOWN))][: N_SONGS + N_UNKNOWN]
    for number, name in enumerate(names):
        if number < N_SONGS:
            os.symlink(songs / name, linked / f"{number:02}{Path(name).suffix}")
        with soundfile.SoundFile(songs / name) as file:
            file.seek(min(int(CLIP_START_S * file.samplerate), file.frames // 2))
            samples = file.read(int(CLIP_S * file.samplerate))
            soundfile.write(clips / f"{number:02}.wav", samples, file.samplerate)


def run(place: Path, commit: str, work: Path) -> None:
    """Run the commands of a commit in `work`."""
    tree = place / f"tree-{commit.replace('/', '-')}"
    git = ["git", "-C", str(Path(__file__).parent), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", tree, commit], check=True)
    commands = [["demo", "--folder", "demo"]]
    if (place / "songs").is_dir():
        commands.append(["index", "../songs", "--warehouse", "real"])
        for engine in ("local", "spark"):
            commands.append(["identify", "../clips", "--warehouse", "real", "--engine", engine])
            commands[-1] += ["--output", f"{engine}.csv"]
    try:
        for words in commands:
            subprocess.run(
                [sys.executable, "-c", START, *words],
                cwd=work,
                env=os.environ | {"PYTHONPATH": str(tree)},
                stdout=subprocess.DEVNULL,
                check=True,
            )
    finally:
        subprocess.run([*git, "remove", "--force", tree], check=True)


def frames(work: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield every table and CSV file with its name, in a fixed order of rows."""
    from deltalake import DeltaTable

    for warehouse in ("demo/warehouse", "real"):
        for table in TABLES:
            if (work / warehouse / table / "_delta_log").is_dir():
                read = DeltaTable(str(work / warehouse / table)).to_pyarrow_table()
                yield f"{warehouse}/{table}", ordered(read.to_pandas())
    for path in sorted(work.glob("*.csv")) + sorted((work / "demo").glob("*.csv")):
        yield path.relative_to(work).as_posix(), ordered(pd.read_csv(path))


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Drop what differs between any two runs, and order the rows by all columns."""
    frame = frame.drop(columns=[name for name in VOLATILE if name in frame])
    hidden = [name for name in frame if frame[name].dtype == object]
    for name in hidden:
        frame[name] = [repr(_plain(value)) for value in frame[name]]
    frame = frame[sorted(frame.columns)]
    return frame.sort_values(list(frame.columns), ignore_index=True)


def _plain(value: object) -> object:
    """Return maps in the order of their keys."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return sorted(value) if isinstance(value, list) else value


def differences(before: dict[str, pd.DataFrame], after: dict[str, pd.DataFrame]) -> Iterator[str]:
    """Yield a line per table."""
    for name in sorted({*before, *after}):
        if name not in before or name not in after:
            yield f"{name}: differ, only {'before' if name in before else 'after'}"
            continue
        old, new = before[name], after[name]
        common = [column for column in old if column in new]
        others = sorted({*old, *new} - {*common})
        more = f", columns of one only: {', '.join(others)}" if others else ""
        if old[common].equals(new[common]):
            yield f"{name}: {len(new):,} rows, the same{more}"
            continue
        same = old[common].merge(new[common], how="inner").shape[0]
        yield f"{name}: differ, {same:,} of {len(old):,} and {len(new):,} rows are the same{more}"


if __name__ == "__main__":
    main()
