"""`sonic duplicates`: songs of the index that are the same recording, or share a passage."""

from __future__ import annotations

import argparse

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.audio.sandbox import Limits
from sonic_lib.cli.writers import SUFFIXES, check_output, text_table, write_output
from sonic_lib.config import Config
from sonic_lib.console import say, show
from sonic_lib.index import copies
from sonic_lib.matching import duplicates
from sonic_lib.matching.budget import affordable_frequency
from sonic_lib.schemas import SONG_FILES
from sonic_lib.storage import runs, tables
from sonic_lib.workflows.identification import Index, open_index

HELP = "find songs of the index that are the same recording, or share a passage"
MAX_P = 1e-9
# What the self-join may give for a fingerprint, on the average, and in a small index at least.
PAIRS_PER_ROW, MIN_PAIRS = 8, 20_000_000
_SHOWN_ROWS = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("--output", metavar="FILE", help=f"write all pairs as {SUFFIXES}")


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before Spark starts."""
    check_output(args.output)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Compare all songs with each other, and say which belong together."""
    warehouse = config.warehouse
    tables.check_layout(spark, warehouse)
    with runs.recorded(spark, warehouse, job="duplicates", config=config) as this_run:
        index = open_index(spark, warehouse)
        files = tables.read_pinned(spark, warehouse, SONG_FILES)
        found = find_duplicates(index, files, limits=config.index.limits()).persist()
        counts = found.agg(
            F.count("*").alias("pairs"),
            F.count_if(F.col("kind") == "same recording").alias("same_recording"),
            F.count_if(F.col("kind") == "shared passage").alias("shared_passage"),
            F.count_distinct("group").alias("groups"),
        )
        this_run.counts.update(counts.first().asDict())
        if args.output:
            write_output(found, args.output)
    counts = this_run.counts
    say(
        f"{counts['same_recording']} pairs are the same recording, in {counts['groups']} groups; "
        f"{counts['shared_passage']} pairs share a passage",
        **counts,
        output=args.output,
    )
    if counts["pairs"]:
        shown = found.select("kind", F.round("overlap_s").alias("overlap_s"), *_NAMES)
        show("\n".join(text_table(shown, n_rows=_SHOWN_ROWS)))
        if counts["groups"]:
            show(f"keep: {copies.RULE}")
        if counts["pairs"] > _SHOWN_ROWS:
            show(f"… the first {_SHOWN_ROWS} pairs; --output FILE gives all")
    return 0


_NAMES = ("song", "other_song", "keep")


def find_duplicates(index: Index, song_files: DataFrame, *, limits: Limits) -> DataFrame:
    """Pairs of songs that have something in common: `duplicates.COLUMNS`.

    The files of songs that have copies are looked into once more, within the limits.
    """
    fingerprints = index.fingerprints.join(index.songs.select("song_id"), "song_id", "left_semi")
    sample = fingerprints.filter("hash_prefix = 0").transform(duplicates.pairs_by_frequency)
    share = 2**index.files.prefix_bits
    n_hits = {row.max_rows: row.n_hits * share for row in sample.collect()}
    max_pairs = max(MIN_PAIRS, PAIRS_PER_ROW * index.files.n_fingerprints)
    candidates = fingerprints.transform(
        duplicates.candidate_pairs,
        max_rows_per_hash=affordable_frequency(n_hits, max_hits=max_pairs),
    ).persist()
    overlaps = (
        candidates.transform(
            duplicates.compare_pairs, fingerprints=fingerprints, n_index_frames=index.files.n_frames
        )
        .filter(F.col("p_value") <= MAX_P)
        .transform(duplicates.kinds, songs=index.songs)
        .persist()
    )
    same = overlaps.filter("kind = 'same recording'").select("song_id", "other_song_id")
    labels = group_labels(same).persist()
    files = song_files.transform(copies.first_files)
    bands = files.join(labels, "song_id", "left_semi").transform(
        copies.measure_bands, limits=limits
    )
    ranked = index.songs.transform(copies.copies_by_quality, files=files, bands=bands).persist()
    return overlaps.transform(duplicates.report, labels=labels, copies=ranked)


def group_labels(same: DataFrame) -> DataFrame:
    """Connected components: song_id and label, the smallest song_id of its group.

    Notes
    -----
    As many rounds as the longest way within a group; each is a join and a shuffle of the pairs.
    """
    back = same.select(
        F.col("other_song_id").alias("song_id"), F.col("song_id").alias("other_song_id")
    )
    edges = same.unionByName(back).localCheckpoint()
    labels = edges.select("song_id", F.col("song_id").alias("label")).distinct()
    while True:
        step = labels.transform(duplicates.spread_labels, edges=edges).localCheckpoint()
        labels = step.drop("changed")
        if step.filter("changed").isEmpty():
            return labels
