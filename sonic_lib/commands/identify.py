"""`sonic identify`: which songs are in a folder of clips, and where."""

from __future__ import annotations

import argparse
import time

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib import runs, tables
from sonic_lib.audio.files import list_audio, relative_path
from sonic_lib.commands.output import SUFFIXES, check_output, write_output
from sonic_lib.commands.search import open_index, search
from sonic_lib.commands.watch import add_watch, check_watch, watch
from sonic_lib.config import Config
from sonic_lib.errors import UsageError
from sonic_lib.matching.decide import N_CANDIDATES
from sonic_lib.schemas import MATCHES, SONG_FILES, SONGS

HELP = "identify a folder of clips"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="folder or audio file")
    parser.add_argument("--output", metavar="FILE", help=f"also write {SUFFIXES}")
    parser.add_argument(
        "--candidates",
        type=int,
        default=1,
        choices=range(1, N_CANDIDATES + 1),
        metavar="N",
        help="list the N best songs of each segment (default 1)",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a clip is rejected")
    add_watch(parser)


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before Spark starts."""
    check_output(args.output)
    check_watch(args)
    if args.watch and args.output:
        raise UsageError(
            "--output and --watch: expected one of them. What a watch finds is in the table: "
            'sonic sql "SELECT * FROM sonic.matches" --output FILE'
        )


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Identify all clips of the folders in one batch, or the new ones as they come."""
    tables.check_params(spark, config.warehouse, params=config.fingerprint.params())
    if not args.watch:
        return _identify(spark, config, args, list_audio(spark, args.paths))

    def take(session: SparkSession, clips: DataFrame, batch: str) -> None:
        _identify(session, config, args, clips, token=batch)

    n = watch(
        spark, args.paths, warehouse=config.warehouse, verb="identify", when=args.watch, take=take
    )
    print(f"{n} batches of new clips in {', '.join(args.paths)}")
    return 0


def _identify(
    spark: SparkSession,
    config: Config,
    args: argparse.Namespace,
    clips: DataFrame,
    *,
    token: str | None = None,
) -> int:
    started_s = time.monotonic()
    warehouse = config.warehouse
    index = open_index(spark, warehouse)
    clips = clips.persist()
    with runs.recorded(spark, warehouse, job="identify", config=config) as this_run:
        found = search(clips, index, config, n_listed=args.candidates)
        matches = _matches(found, this_run.run_id).persist()
        this_run.counts.update(
            matches.filter("rank = 1")
            .agg(
                F.count_distinct("clip_path").alias("clips"),
                F.count_distinct(F.when(F.col("accepted"), F.col("clip_path"))).alias("identified"),
                F.count_if("accepted").alias("segments"),
                F.count("error").alias("rejected"),
            )
            .first()
            .asDict()
        )
        tables.append(matches, warehouse, MATCHES, token=token)
        if args.output:
            write_output(_named(matches, clips, warehouse), args.output)
        this_run.counts["seconds"] = time.monotonic() - started_s
    counts = this_run.counts
    print(
        f"{counts['clips']:.0f} clips: {counts['identified']:.0f} identified, "
        f"{counts['clips'] - counts['identified'] - counts['rejected']:.0f} unknown, "
        f"{counts['rejected']:.0f} rejected, in {counts['seconds']:.1f} s\n"
        f"  Run {this_run.run_id} in {warehouse}/matches"
        + (f", and {args.output}" if args.output else "")
    )
    return 1 if args.strict and counts["rejected"] else 0


def _matches(found: DataFrame, run_id: str) -> DataFrame:
    """Every clip has at least one row: its segments, or that there are none, or why."""
    return found.select(
        F.lit(run_id).alias("run_id"),
        F.current_date().alias("run_date"),
        F.col("path").alias("clip_path"),
        F.coalesce("clip_start_s", F.lit(0.0)).alias("clip_start_s"),
        F.coalesce("clip_end_s", "duration_s").alias("clip_end_s"),
        F.coalesce("rank", F.lit(1)).alias("rank"),
        "song_id",
        "offset_s",
        "speed",
        F.coalesce("n_votes", F.lit(0)).alias("n_votes"),
        F.coalesce("score", F.lit(0.0)).alias("score"),
        F.coalesce("p_value", F.lit(1.0)).alias("p_value"),
        F.coalesce("accepted", F.lit(False)).alias("accepted"),
        "pitch",
        "error",
    )


def _named(matches: DataFrame, clips: DataFrame, warehouse: str) -> DataFrame:
    """Paths relative to the folders given, titles and artists in place of ids."""
    spark = matches.sparkSession
    songs = tables.read(spark, warehouse, SONGS).select("song_id", "title", "artist")
    is_copy = (F.col("status") == "duplicate").alias("is_copy")
    files = (
        tables.read(spark, warehouse, SONG_FILES)
        .filter("song_id IS NOT NULL")
        .groupBy("song_id")
        .agg(F.min(F.struct(is_copy, relative_path().alias("song"))).alias("name"))
        .select("song_id", "name.song")
    )
    clip_names = clips.select(F.col("path").alias("clip_path"), relative_path().alias("clip"))
    return (
        matches.join(clip_names, "clip_path")
        .join(songs, "song_id", "left")
        .join(files, "song_id", "left")
        .select(
            "clip",
            "rank",
            "song",
            "title",
            "artist",
            "clip_start_s",
            "clip_end_s",
            "offset_s",
            "speed",
            "n_votes",
            "score",
            "p_value",
            "accepted",
            "pitch",
            "error",
        )
        .orderBy("clip", "clip_start_s", "rank")
    )
