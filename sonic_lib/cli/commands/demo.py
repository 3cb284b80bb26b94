"""`sonic demo`: a tour on synthetic songs and clips."""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pyspark.sql import SparkSession

from sonic_lib.audio.decode import open_audio, stream_mono
from sonic_lib.cli.commands import features, identify, index, playlist, predict, report, sql, train
from sonic_lib.config import Config
from sonic_lib.console import paragraph, progress, say, show
from sonic_lib.errors import MODELS, UsageError, install_command
from sonic_lib.features.spark import AUDIO
from sonic_lib.fingerprint.params import SAMPLE_RATE_HZ
from sonic_lib.formats import counted, p_equation
from sonic_lib.matching.evaluation import MAX_OFFSET_ERROR_S
from sonic_lib.models.estimators import FOREST
from sonic_lib.report.figures.identification import constellation, explanation
from sonic_lib.report.figures.style import save
from sonic_lib.spark.uris import is_local, resolve_warehouse
from sonic_lib.storage.whole_file import check_folder, whole_file
from sonic_lib.synth.collection import write_demo
from sonic_lib.workflows.explanation import explain_clip, explain_without_spark

IS_PYTHON_WORK = True  # Java only plans many short queries
HELP = "a tour: synthesise songs and clips, index, identify, query, plot, train, recommend"
_CLIPS_PER_UNKNOWN = 6
_SAMPLES_PER_CONDITION = 2
_PASSAGE_S = 10.0
_MIN_LEARNED_SONGS = 24
_RECIPE = "demo.json"  # marks a folder as a demo's, and records its contents
_UNKNOWN = "unknown song"
_QUERY = """\
SELECT n_songs, count(*) AS n_hashes, round(100 * count(*) / sum(count(*)) OVER (), 1) AS percent
FROM (SELECT hash, count(DISTINCT song_id) AS n_songs FROM sonic.fingerprints GROUP BY hash)
GROUP BY n_songs ORDER BY n_songs LIMIT 5"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument(
        "--folder", default="demo", metavar="DIR", help="folder for everything (default demo)"
    )
    parser.add_argument(
        "--songs", type=int, default=36, metavar="N", help="songs to make (default 36)"
    )
    parser.add_argument(
        "--clips",
        type=int,
        default=60,
        metavar="N",
        help="clips to make, 1 in 6 of unknown songs (default 60)",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="random seed (default 1)")


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    if args.songs < 1 or args.clips < 1 or args.seed < 0:
        raise UsageError(
            f"--songs {args.songs} --clips {args.clips} --seed {args.seed}: expected at least one "
            "song and one clip, and a seed of 0 or more."
        )
    check_folder("--folder", args.folder)
    folder = Path(args.folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _RECIPE).is_file():
        raise UsageError(
            f"--folder {args.folder!r} contains files of your own; give a new or empty folder."
        )


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Take the tour."""
    started_s = time.monotonic()
    folder = Path(args.folder)
    warehouse = args.warehouse or str(folder / "warehouse")
    config = config.model_copy(update={"warehouse": resolve_warehouse(warehouse)})

    def call(command, *words: str) -> None:
        verb = command.__name__.rpartition(".")[2]
        show(f"\n$ sonic {shlex.join([verb, *words, '--warehouse', warehouse])}")
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        command.run(spark, config, parser.parse_args(words))

    _synthesise(folder, args)
    call(index, str(folder / "songs"), "--prune")
    call(identify, str(folder / "clips"), "--output", str(folder / "matches.csv"))
    answers = compare(pd.read_csv(folder / "matches.csv"), pd.read_csv(folder / "truth.csv"))
    summary = list(_summary_lines(answers))
    show(paragraph(["", *_sample_lines(answers), "", *summary]))
    show("\nMost hashes occur in only one song, so a few seconds are enough to identify it:")
    call(sql, _QUERY)
    _plot(spark, config, answers, folder)
    if importlib.util.find_spec("librosa") is None:
        show(f"\nModels need more packages: {install_command(*MODELS)}")
    elif args.songs < _MIN_LEARNED_SONGS:
        show(f"\nModels need at least {_MIN_LEARNED_SONGS} songs.")
    else:
        _learn(call, folder)
    if importlib.util.find_spec("jinja2") is not None:
        call(report, "--output", str(folder / "report.html"))
    seconds = time.monotonic() - started_s
    facts = {"folder": str(folder), "summary": summary[-1], "seconds": seconds}
    say(f"\nThe tour took {seconds:.0f} s.", **facts)
    return 0


def _learn(call: Callable, folder: Path) -> None:
    """Train on descriptors only, as artist and album would give the style away."""
    quick = ("--source", AUDIO, "--model", FOREST, "--folds", "3")
    revealing = ("artist", "album", "folder", "release_date")
    heard = [word for column in revealing for word in ("--drop", column)]
    call(features, str(folder / "songs"))
    call(features, "--csv", str(folder / "popularity.csv"), "--id", "path")
    call(train, "genre", *quick, *heard, "--report", str(folder / "plots" / "genre"))
    call(train, "popularity", *quick, *heard, "--drop", "genre", "--labels", "popularity")
    call(predict, "--source", AUDIO, "--output", str(folder / "predictions.csv"))
    call(train, "recommendations", "--source", AUDIO)
    with open(folder / "popularity.csv", encoding="utf-8") as file:
        seeds = [Path(row["path"]).stem for row in csv.DictReader(file)][:2]
    call(playlist, *seeds, "--source", AUDIO)


def compare(matches: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Compare the answers with the truth.

    Parameters
    ----------
    matches : pandas.DataFrame
        The output of identify.
    truth : pandas.DataFrame
        The table of `write_demo`.

    Returns
    -------
    pandas.DataFrame
        One row per clip, with the columns of both tables (true_song and true_offset_s are the
        truth), group (its condition, or unknown song), found, placed (found at the right offset)
        and falsely_accepted.
    """
    best = matches[matches["rank"] == 1]
    truth = truth.rename(columns={"song": "true_song", "offset_s": "true_offset_s"})
    answers = truth.merge(best, on="clip", how="left", validate="one_to_one")
    accepted = answers["accepted"].eq(True)
    right = answers["song"].eq(answers["true_song"])
    error_s = (answers["offset_s"] - answers["true_offset_s"]).abs()
    return answers.assign(
        group=answers["condition"].where(answers["true_song"].notna(), _UNKNOWN),
        found=accepted & right,
        placed=accepted & right & (error_s <= MAX_OFFSET_ERROR_S),
        falsely_accepted=accepted & ~right,
    ).sort_values(["group", "clip"], ignore_index=True)


def _synthesise(folder: Path, args: argparse.Namespace) -> None:
    recipe = json.dumps({"songs": args.songs, "clips": args.clips, "seed": args.seed})
    n_unknown = args.clips // _CLIPS_PER_UNKNOWN
    songs, clips = counted(args.songs, "song"), counted(args.clips, "clip")
    what = f"{songs} and {clips} in {folder} (seed {args.seed})"
    note, truth = folder / _RECIPE, folder / "truth.csv"
    if truth.exists() and note.read_text() == recipe:
        show(f"{what}: there already")
        return
    started_s = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(note) as (file, _):
        file.write(recipe)
    truth.unlink(missing_ok=True)  # written last, when everything else is complete
    for name in ("songs", "clips"):
        shutil.rmtree(folder / name, ignore_errors=True)
    n_done = 0

    def count(n: int, _: int) -> None:
        nonlocal n_done
        n_done = n

    with progress("synthesised", total=args.songs + n_unknown, done=lambda: n_done):
        write_demo(
            folder,
            n_songs=args.songs,
            n_clips=args.clips,
            n_unknown_songs=n_unknown,
            seed=args.seed,
            progress=count,
        )
    show(f"{what}: synthesised in {time.monotonic() - started_s:.0f} s")


def _sample_lines(answers: pd.DataFrame) -> Iterator[str]:
    for row in answers.groupby("group").head(_SAMPLES_PER_CONDITION).itertuples():
        answer = f"{_name(row)} @ {row.offset_s:.2f} s" if row.accepted else "unknown"
        p = p_equation(row.p_value)
        yield f"{row.clip}  {row.group:<12} {row.length_s:4.1f} s  {p:<9} -> {answer}"


def _summary_lines(answers: pd.DataFrame) -> Iterator[str]:
    right = f"offset within {MAX_OFFSET_ERROR_S} s"
    yield f"{'':<12}  clips  found  {right}  falsely accepted"
    for group, clips in answers.groupby("group"):
        is_known = group != _UNKNOWN
        found, placed = (clips[name].sum() if is_known else "-" for name in ("found", "placed"))
        n_false = clips["falsely_accepted"].sum()
        yield f"{group:<12}  {len(clips):5}  {found:>5}  {placed:>{len(right)}}  {n_false:16}"
    is_known = answers["group"] != _UNKNOWN
    known, unknown = answers[is_known], answers[~is_known]
    yield (
        f"{counted(len(known), 'known clip')}: {known['found'].sum()} found; "
        f"{len(unknown)} unknown: {unknown['falsely_accepted'].sum()} falsely accepted"
    )


def _plot(spark: SparkSession, config: Config, answers: pd.DataFrame, folder: Path) -> None:
    found = answers[answers["found"]]
    if found.empty:
        show("\nNo clip was found, so there is nothing to plot.")
        return
    # Prefer clips in noise, which best show how the right song stands out, and Latin titles, as
    # matplotlib's font has few scripts.
    order = found.assign(
        is_noisy=found["group"].eq("noise"),
        is_plain=(found["title"] + found["artist"]).map(str.isascii),
    ).sort_values(["is_noisy", "is_plain"], ascending=False, kind="stable")
    clip = order.iloc[0]
    show("\nPlots:")
    _save(_song_figure(config, clip, folder), folder / "plots" / "constellation.png")
    _save(_clip_figure(spark, config, clip, folder), folder / "plots" / "explanation.png")


def _song_figure(config: Config, clip: pd.Series, folder: Path) -> Figure:
    with open_audio(str(folder / "songs" / clip["song"])) as file:
        _, blocks = stream_mono(file, sample_rate_hz=SAMPLE_RATE_HZ)
        samples = np.concatenate(list(blocks))
    latest_s = len(samples) / SAMPLE_RATE_HZ - _PASSAGE_S
    return constellation(
        samples,
        params=config.fingerprint.params(),
        start_s=float(np.floor(np.clip(clip["offset_s"], 0, latest_s))),
        length_s=_PASSAGE_S,
        title=f"Landmarks and triangles of {_name(clip)}",
    )


def _clip_figure(spark: SparkSession, config: Config, clip: pd.Series, folder: Path) -> Figure:
    path = (folder / "clips" / clip["clip"]).resolve()
    found = explain_without_spark(config, str(path)) if is_local(config.warehouse) else None
    found = found or explain_clip(spark, config, str(path))
    title = f"{clip['clip']} ({clip['condition']}, {clip['length_s']:.1f} s)"
    return explanation(found.hits, found.answers, title=title)


def _name(song: pd.Series) -> str:
    return f"{song.title} - {song.artist}"


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    save(figure, path)
    show(f"  {path}")
