"""`sonic playlist`: songs that go with several songs, and are not all the same."""

from __future__ import annotations

import argparse

import numpy as np
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from sonic_lib.cli.commands.recommend import find_songs, named, song_lines
from sonic_lib.cli.commands.train_recommendations import song_vectors
from sonic_lib.cli.writers import check_output, write_output
from sonic_lib.config import Config
from sonic_lib.console import say
from sonic_lib.errors import UsageError
from sonic_lib.models.similarity.topk import diverse, unit_rows
from sonic_lib.workflows.sources import read_source

HELP = "make a playlist from a few songs"
# As many of the most alike come to the driver for each song of the list.
_CANDIDATES_PER_SONG = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument(
        "songs", nargs="+", metavar="SONG", help="song_id, path, id, or part of the title"
    )
    parser.add_argument("--source", metavar="NAME", help="which features, if there are several")
    parser.add_argument("--columns", nargs="+", metavar="COLUMN", help="numbers to compare by")
    parser.add_argument("--count", type=int, default=20, metavar="N", help="default 20")
    parser.add_argument(
        "--diversity",
        type=float,
        default=0.3,
        metavar="D",
        help="0: the most alike, 1: the most unlike each other (default 0.3)",
    )
    parser.add_argument("--output", metavar="FILE", help="write .csv, .json or .parquet as well")


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before Spark starts."""
    if not 0 <= args.diversity <= 1:
        raise UsageError(f"--diversity {args.diversity:g}: expected 0 to 1.")
    if not 1 <= args.count <= 500:
        raise UsageError(f"--count {args.count}: expected 1 to 500 songs.")
    check_output(args.output)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Choose the songs and print them."""
    _, features = read_source(spark, config.warehouse, args.source)
    seed_ids = find_songs(features, args.songs)
    vectors = song_vectors(features, columns=args.columns).frame
    seeds = vectors.filter(F.col("song_id").isin(seed_ids)).collect()
    wish = unit_rows(np.array([row.vector for row in seeds])).mean(axis=0)

    length = F.sqrt(F.aggregate("vector", F.lit(0.0), lambda total, x: total + x * x))
    wished = F.zip_with("vector", F.array(*(F.lit(float(x)) for x in wish)), lambda a, b: a * b)
    relevance = F.aggregate(wished, F.lit(0.0), lambda total, x: total + x) / F.nullif(
        length, F.lit(0.0)
    )
    candidates = (
        vectors.filter(~F.col("recording").isin([row.recording for row in seeds]))
        .withColumn("relevance", F.coalesce(relevance, F.lit(0.0)))
        .orderBy(F.desc("relevance"), "song_id")
        .limit(_CANDIDATES_PER_SONG * args.count)
        .toPandas()
    )
    if candidates.empty:
        raise UsageError("There is no other song to choose from; `sonic features` brings more in.")
    rows = unit_rows(np.stack(candidates["vector"]))
    chosen = diverse(
        rows @ rows.T,
        candidates["relevance"].to_numpy(),
        candidates["recording"].to_numpy(),
        n=args.count,
        diversity=args.diversity,
    )
    listed = candidates.iloc[chosen][["song_id", "relevance"]].reset_index(drop=True)
    listed.insert(0, "place", range(1, len(listed) + 1))
    playlist = (
        spark.createDataFrame(listed)
        .join(named(features), "song_id")
        .select("place", "relevance", "title", "artist", "song_id", "source_key")
        .orderBy("place")
    )
    found = playlist.collect()  # as many as asked for
    say("\n".join(song_lines(found)), songs=[row.asDict() for row in found])
    if args.output:
        write_output(playlist, args.output)
    return 0
