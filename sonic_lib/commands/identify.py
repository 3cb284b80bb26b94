"""`sonic identify`: which songs are in a folder of clips, and where."""

from __future__ import annotations

import argparse
import time

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib import runs, tables
from sonic_lib.audio.files import list_audio, relative_path
from sonic_lib.commands.output import SUFFIXES, check_output, write_output
from sonic_lib.config import Config
from sonic_lib.errors import TableError
from sonic_lib.fingerprint.frame import fingerprint_files
from sonic_lib.fingerprint.params import FRAMES_PER_S
from sonic_lib.matching.candidates import choose_plan
from sonic_lib.matching.decide import N_CANDIDATES
from sonic_lib.matching.frame import clip_hashes, clip_id, identify
from sonic_lib.progress import progress
from sonic_lib.schemas import FINGERPRINTS, MATCHES, SONG_FILES, SONGS

HELP = "identify a folder of clips"
MIN_CLIP_S = 0.5  # less holds no triangle worth a vote


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
        help="list the N best songs of each clip (default 1)",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a clip is rejected")


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before Spark starts."""
    check_output(args.output)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Identify all clips of the folders in one join."""
    started_s = time.monotonic()
    warehouse = config.warehouse
    tables.check_params(spark, warehouse, params=config.fingerprint.params())
    clips = list_audio(spark, args.paths).persist()
    with runs.recorded(spark, warehouse, job="identify", config=config) as this_run:
        extracts = _extract(spark, clips, config)
        answers = _identify(spark, extracts, config, n_listed=args.candidates)
        matches = _matches(clips, extracts, answers, this_run.run_id).persist()
        this_run.counts.update(
            matches.filter("rank = 1")
            .agg(
                F.count("*").alias("clips"),
                F.count_if("accepted").alias("identified"),
                F.count("error").alias("rejected"),
            )
            .first()
            .asDict()
        )
        tables.append(matches, warehouse, MATCHES)
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


def _extract(spark: SparkSession, clips: DataFrame, config: Config) -> DataFrame:
    """Fingerprint the clips once; what follows reads them twice."""
    n_clips, n_bytes = clips.agg(F.count("*"), F.coalesce(F.sum("size_bytes"), F.lit(0))).first()
    n_tasks = max(
        4 * spark.sparkContext.defaultParallelism, int(n_bytes / (config.index.task_mb * 1e6))
    )
    n_done = spark.sparkContext.accumulator(0)
    extracts = (
        clips.repartition(n_tasks, "path")
        .transform(
            fingerprint_files,
            params=config.fingerprint.params(),
            query=True,
            min_duration_s=MIN_CLIP_S,
            n_done=n_done,
        )
        .persist()
    )
    with progress("clips", total=n_clips, done=lambda: n_done.value):
        extracts.count()
    return extracts


def _identify(
    spark: SparkSession, extracts: DataFrame, config: Config, *, n_listed: int
) -> DataFrame:
    warehouse = config.warehouse
    songs = tables.read(spark, warehouse, SONGS)
    index_s, n_fingerprints = songs.agg(F.sum("duration_s"), F.sum("n_fingerprints")).first()
    if not index_s:
        raise TableError(
            f"The index in {warehouse} holds no song; fill it with `sonic index FOLDER` first."
        )
    n_hashes = extracts.agg(F.coalesce(F.sum(F.size("hashes")), F.lit(0))).first()[0]
    return extracts.transform(
        clip_hashes, prefix_bits=tables.prefix_bits(spark, warehouse)
    ).transform(
        identify,
        fingerprints=tables.read(spark, warehouse, FINGERPRINTS),
        songs=songs,
        n_index_frames=index_s * FRAMES_PER_S,
        max_rows_per_hash=config.identify.max_rows_per_hash,
        broadcast=choose_plan(n_clip_hashes=n_hashes, n_fingerprints=n_fingerprints),
        false_accept_rate=config.identify.false_accept_rate,
        n_listed=n_listed,
    )


def _matches(clips: DataFrame, extracts: DataFrame, answers: DataFrame, run_id: str) -> DataFrame:
    """Every clip has at least one row: its candidates, or that there are none, or why."""
    closing = extracts.filter("hashes IS NULL").select(
        "path", clip_id(), "duration_s", F.coalesce("error", "stage").alias("error")
    )
    readable = answers.join(closing.filter("error IS NOT NULL"), "clip_id", "left_anti")
    return closing.join(readable, "clip_id", "left").select(
        F.lit(run_id).alias("run_id"),
        F.current_date().alias("run_date"),
        F.col("path").alias("clip_path"),
        F.lit(0.0).alias("clip_start_s"),
        F.col("duration_s").alias("clip_end_s"),
        F.coalesce("rank", F.lit(1)).alias("rank"),
        "song_id",
        "offset_s",
        F.when(F.col("song_id").isNotNull(), 1.0).alias("speed"),
        F.coalesce("n_votes", F.lit(0)).alias("n_votes"),
        F.coalesce("score", F.lit(0.0)).alias("score"),
        F.coalesce("p_value", F.lit(1.0)).alias("p_value"),
        F.coalesce("accepted", F.lit(False)).alias("accepted"),
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
            "error",
        )
        .orderBy("clip", "rank")
    )
