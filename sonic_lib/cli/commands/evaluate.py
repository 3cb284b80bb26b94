"""`sonic evaluate`: measure identification on degraded clips of the indexed songs."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from pyspark.sql import SparkSession

from sonic_lib.config import Config
from sonic_lib.console import say, show
from sonic_lib.formats import counted
from sonic_lib.schemas import SONGS
from sonic_lib.storage.whole_file import check_folder
from sonic_lib.workflows.evaluation import (
    LEFT_OUT,
    LENGTHS_S,
    N_CLIPS,
    N_SONGS,
    SEED,
    check_plan,
    evaluate_index,
    write_tables,
)

HELP = "measure identification on degraded clips of the indexed songs"
READS = (SONGS,)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument(
        "--clips",
        type=int,
        default=N_CLIPS,
        metavar="N",
        help="clips of known songs, and as many of unknown ones, per condition and length "
        f"(default {N_CLIPS})",
    )
    parser.add_argument(
        "--lengths",
        type=float,
        nargs="+",
        default=list(LENGTHS_S),
        metavar="S",
        help=f"clip lengths in seconds (default {' '.join(f'{s:g}' for s in LENGTHS_S)})",
    )
    parser.add_argument(
        "--left-out",
        type=float,
        default=LEFT_OUT,
        metavar="SHARE",
        help=f"share of the sampled songs held out as unknown ones (default {LEFT_OUT})",
    )
    parser.add_argument(
        "--songs",
        type=int,
        default=N_SONGS,
        metavar="N",
        help=f"songs to sample (default {N_SONGS})",
    )
    parser.add_argument(
        "--seed", type=int, default=SEED, metavar="N", help=f"random seed (default {SEED})"
    )
    parser.add_argument(
        "--output", default="evaluation", metavar="DIR", help="folder for tables and plots"
    )


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    check_folder("--output", args.output)
    check_plan(
        n_clips=args.clips,
        lengths_s=args.lengths,
        left_out=args.left_out,
        n_songs=args.songs,
    )


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Evaluate the index and print the results."""
    judged = evaluate_index(
        spark,
        config,
        n_clips=args.clips,
        lengths_s=args.lengths,
        left_out=args.left_out,
        n_songs=args.songs,
        seed=args.seed,
    )
    _report(judged, Path(args.output))
    return 0


def _report(judged: pd.DataFrame, folder: Path) -> None:
    table, curve = write_tables(judged, folder)
    show(f"{'condition':<12} length  clips  right  within 0.1 s  accepted   (%)")
    for row in table.itertuples():
        show(
            f"{row.condition:<12} {row.length_s:4.0f} s {row.n:6} {row.top1:6.1f}"
            f" {row.placed:13.1f} {row.accepted:9.1f}"
        )
    means = table[["top1", "placed", "accepted"]].mean()
    show(f"{'mean':<25} {means.top1:6.1f} {means.placed:13.1f} {means.accepted:9.1f}")
    n_clips = counted(curve["n"].iloc[0], "clip")
    show(f"\nOf {n_clips} of held-out songs, accepted at a false-accept rate of:")
    if n_copied := int(judged["has_copy"].sum()):
        show(
            f"  ({counted(n_copied, 'more does', 'more do')} not count, as the music is still in "
            "the index, in a copy or another song; `sonic duplicates` lists them)"
        )
    for row in curve.itertuples():
        show(f"  {row.asked:6.1%}: {row.observed:6.2%}  ({row.low:.2%} to {row.high:.2%})")
    say(
        f"\nTables and plots: {folder}",
        robustness=table.to_dict("records"),
        calibration=curve.to_dict("records"),
        report=str(folder),
    )
