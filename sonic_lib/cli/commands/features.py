"""`sonic features`: descriptors of songs, from their audio or from a table that others made."""

from __future__ import annotations

import argparse
import importlib.util
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.audio.listing import list_audio
from sonic_lib.config import Config
from sonic_lib.console import say
from sonic_lib.errors import SetupError, UsageError
from sonic_lib.features import csv_import
from sonic_lib.features.spark import (
    AUDIO,
    describe_songs,
    described_songs,
    feature_rows,
    settled_files,
)
from sonic_lib.fingerprint.spark import digest_files
from sonic_lib.hints import MODELS, install_command
from sonic_lib.index import commit, plan
from sonic_lib.progress import progress
from sonic_lib.schemas import FEATURE_CELLS, FEATURE_FILES, FEATURE_REJECTS, FEATURES
from sonic_lib.storage import runs, tables
from sonic_lib.workflows.streaming import add_no_links

HELP = "describe songs for the models, from their audio or from a CSV file"

# Such a name needs no quoting, neither in SQL nor as a folder of the table.
_SOURCE = re.compile(r"[\w][\w .-]*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("paths", nargs="*", metavar="PATH", help="folder or audio file")
    parser.add_argument("--csv", metavar="FILE", help="a feature table instead of audio")
    parser.add_argument(
        "--source", metavar="NAME", help="name of the feature table; that of its file by default"
    )
    parser.add_argument(
        "--id", metavar="COLUMN", help="its key; by default id or track_id, else the whole row"
    )
    parser.add_argument(
        "--retry-rejected", action="store_true", help="read rejected audio again, too"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 if a file or row is rejected"
    )
    add_no_links(parser)


def check(args: argparse.Namespace) -> None:
    """Refuse calls that cannot work, before Spark starts.

    Raises
    ------
    UsageError
        If audio and a table are mixed, or the table or its name will not do.
    SetupError
        If librosa is missing for audio.
    """
    if bool(args.paths) == bool(args.csv):
        raise UsageError("Expected either folders of audio, or a feature table with --csv FILE.")
    if args.csv is None:
        if args.source or args.id:
            raise UsageError("--source and --id go with --csv FILE; audio has neither.")
        if importlib.util.find_spec("librosa") is None:
            raise SetupError(f"Descriptors of audio need librosa: {install_command(*MODELS)}")
        return
    if "://" not in args.csv and not args.csv.startswith("file:") and not Path(args.csv).exists():
        raise UsageError(f"--csv {args.csv!r} does not exist; expected a CSV file or a folder.")
    source = source_name(args)
    if source == AUDIO or not _SOURCE.fullmatch(source):
        raise UsageError(
            f"--source {source!r}: expected a name of letters, digits, spaces, '.', '_' and "
            f"'-' that begins with a letter or digit and is not {AUDIO!r}."
        )


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Bring the features up to date with the folders, or with the table."""
    started_s = time.monotonic()
    warehouse = config.warehouse
    files = rows = None
    if args.csv:
        rows = csv_import.read_rows(spark, args.csv)
    else:
        files = list_audio(spark, args.paths, follow_links=not args.no_links)
    tables.create_for_models(spark, warehouse)
    with runs.recorded(spark, warehouse, job="features", config=config) as this_run:
        if files is None:
            counts, told = _from_table(spark, rows, warehouse, args, this_run.run_id)
        else:
            counts = _from_audio(spark, config, args, files.persist(), this_run.run_id)
            told = _about_audio(counts)
        counts["seconds"] = time.monotonic() - started_s
        this_run.counts.update(counts)
    say(f"Features {warehouse}\n{told}\n  time    {counts['seconds']:.1f} s", **counts)
    return 1 if args.strict and counts["rejected"] else 0


# ---- audio ----


def _from_audio(
    spark: SparkSession, config: Config, args: argparse.Namespace, files: DataFrame, run_id: str
) -> dict[str, float]:
    warehouse = config.warehouse
    known = tables.read(spark, warehouse, FEATURE_FILES)
    features = tables.read(spark, warehouse, FEATURES)
    settled = known.transform(settled_files, features=features)
    changed = plan.changed_files(files, known=settled, retry_rejected=args.retry_rejected).persist()
    n_changed, n_bytes = changed.agg(F.count("*"), plan.work_bytes()).first()
    counts = {"files": files.count(), "read": n_changed}
    if not n_changed:
        return counts | dict.fromkeys(("songs", "audio_s", "duplicate", "rejected", "dropped"), 0)

    # Staged as files: Spark computes a cached frame anew when a table below it is written.
    folder = commit.run_folder(warehouse, run_id)
    n_slots = spark.sparkContext.defaultParallelism
    n_tasks = plan.n_tasks(n_changed, n_bytes, n_slots=n_slots, task_mb=config.index.task_mb)
    digests = changed.repartition(n_tasks, "path").transform(digest_files)
    digests = commit.stage(digests, f"{folder}/digests")
    described = _describe_batches(spark, config, digests, run_id)

    stored = tables.read(spark, warehouse, FEATURES).transform(described_songs)
    judged = plan.song_files(digests, songs=stored, known=known, read=described).persist()
    abandoned = plan.abandoned_songs(known, gone=digests, digests=digests).persist()
    counts["dropped"] = abandoned.count()
    by_status = {row.status: row["count"] for row in judged.groupBy("status").count().collect()}
    done = described.filter("error IS NULL").agg(
        F.count("*").alias("songs"),
        F.coalesce(F.sum(F.col("numbers")["duration_s"]), F.lit(0.0)).alias("audio_s"),
    )
    counts |= done.first().asDict() | {
        "duplicate": by_status.get("duplicate", 0),
        "rejected": by_status.get("rejected", 0),
    }
    if counts["dropped"]:
        tables.delete_keys(abandoned, warehouse, FEATURES, key="song_id")
    # Last, so that the files of a run that was killed are looked at again.
    stamped = judged.withColumns({"run_id": F.lit(run_id), "seen_at": F.current_timestamp()})
    tables.upsert(stamped, warehouse, FEATURE_FILES, key="path")
    commit.remove_folder(spark, folder)
    return counts


def _describe_batches(
    spark: SparkSession, config: Config, digests: DataFrame, run_id: str
) -> DataFrame:
    """Describe and commit all new songs; return what became of each."""
    stored = tables.read(spark, config.warehouse, FEATURES).transform(described_songs)
    new = plan.new_songs(digests, songs=stored)
    n_new, n_bytes = new.agg(F.count("*"), plan.work_bytes()).first()
    n_batches = plan.n_batches(n_new, n_bytes, batch_gb=config.index.batch_gb)
    n_tasks = plan.n_tasks(
        n_new // n_batches + 1,
        n_bytes / n_batches,
        n_slots=spark.sparkContext.defaultParallelism,
        task_mb=config.index.task_mb,
    )
    n_done = spark.sparkContext.accumulator(0)
    batches = []
    with progress("songs", total=n_new, done=lambda: n_done.value):
        for batch in range(n_batches):
            chosen = new.filter(F.pmod("song_id", F.lit(n_batches)) == batch)
            described = chosen.repartition(n_tasks, "song_id").transform(
                describe_songs,
                min_duration_s=config.index.min_duration_s,
                limits=config.index.limits(),
                n_done=n_done,
            )
            described = commit.stage(
                described, commit.stage_folder(config.warehouse, run_id, batch)
            )
            rows = _stamped(described.transform(feature_rows), run_id, "computed_at")
            tables.upsert(rows, config.warehouse, FEATURES, key="song_id")
            batches.append(described)
    return reduce(DataFrame.unionByName, batches)


def _about_audio(counts: dict[str, float]) -> str:
    told = (
        f"  files   {counts['read']:.0f} read, {counts['files'] - counts['read']:.0f} unchanged; "
        f"of those read {counts['duplicate']:.0f} duplicate, {counts['rejected']:.0f} rejected\n"
        f"  added   {counts['songs']:.0f} songs, {counts['audio_s'] / 3600:.2f} h; "
        f"{counts['dropped']:.0f} songs dropped"
    )
    return told + _why(counts, "path, stage, error FROM sonic.feature_files WHERE song_id IS NULL")


# ---- tables ----


def _from_table(
    spark: SparkSession, rows: DataFrame, warehouse: str, args: argparse.Namespace, run_id: str
) -> tuple[dict[str, float], str]:
    """Bring in a table; it is read a second time if it turns out to be written in another way."""
    with _held(rows):
        better = csv_import.second_reading(rows.transform(csv_import.find_flaws).first().asDict())
        if not better:
            return _bring_in(rows, warehouse, args, run_id)
    told = ""
    if "encoding" in better:
        told += f"\n  read as {better['encoding']}: it is no UTF-8"
    if "by_lines" in better:
        told += "\n  read line by line: a quote in it is not closed"
    with _held(rows := csv_import.read_rows(spark, args.csv, **better)):
        counts, said = _bring_in(rows, warehouse, args, run_id)
    return counts, said + told


def _bring_in(
    rows: DataFrame, warehouse: str, args: argparse.Namespace, run_id: str
) -> tuple[dict[str, float], str]:
    source, columns = source_name(args), csv_import.named_columns(rows)
    cells = rows.transform(csv_import.count_cells, columns=columns).first().asDict()
    kinds = csv_import.choose_kinds(columns, cells)
    id_column = csv_import.choose_id(columns, cells, given=args.id)
    names: dict[str, list[str]] = {kind: [] for kind in ("number", "text")}
    for name in columns:
        if name != id_column:
            names[kinds[name]].append(name)
    # Labels may be texts alone; they are told by their key.
    if not names["number"] and not (id_column and names["text"]):
        raise UsageError(
            f"--csv {args.csv!r}: no column holds numbers, so nothing can be learned from it. "
            f"Expected cells such as 0.5, with a point; the columns are {', '.join(columns)}. "
            "A table of labels needs --id, the column with the paths of the songs."
        )
    judged = rows.transform(csv_import.judge_rows, kinds=kinds, id_column=id_column)
    with _held(judged):
        counts = _replace_source(judged, warehouse, run_id, source, kinds, id_column)
    told = (
        f"  table   {source}: {counts['rows'] - counts['rejected']} rows, "
        f"{counts['rejected']} rejected; the key is "
        f"{f'the column {id_column}' if id_column else 'the whole row'}\n"
        f"  numbers {', '.join(names['number']) or 'none'}\n"
        f"  texts   {', '.join(names['text']) or 'none'}"
    )
    rejects = f"record, error FROM sonic.feature_rejects WHERE source = '{source}'"
    return counts, told + _why(counts, rejects)


def _replace_source(
    judged: DataFrame,
    warehouse: str,
    run_id: str,
    source: str,
    kinds: dict[str, str],
    id_column: str | None,
) -> dict[str, float]:
    """Write rejects, cells and then rows of a table, each in place of what its source had."""
    rejected = judged.transform(csv_import.rejected_rows, source=source, columns=list(kinds))
    usable = judged.transform(
        csv_import.usable_rows, source=source, kinds=kinds, id_column=id_column
    )
    where = f"source = '{source}'"
    rejected = _stamped(rejected, run_id, "rejected_at")
    tables.replace(rejected, warehouse, FEATURE_REJECTS, where=where)
    cells = judged.transform(csv_import.cell_rows, source=source).withColumn(
        "run_id", F.lit(run_id)
    )
    tables.replace(cells, warehouse, FEATURE_CELLS, where=where)
    tables.replace(_stamped(usable, run_id, "computed_at"), warehouse, FEATURES, where=where)
    return {"rows": judged.count(), "rejected": rejected.count()}


@contextmanager
def _held(frame: DataFrame) -> Iterator[None]:
    """Keep a frame while it is in use: left behind, it would answer for a file changed since."""
    frame.persist()
    try:
        yield
    finally:
        frame.unpersist()


def source_name(args: argparse.Namespace) -> str:
    """Name of the source that a table becomes: as asked for, or that of its file."""
    return args.source or Path(args.csv).stem


def _stamped(rows: DataFrame, run_id: str, when: str) -> DataFrame:
    return rows.withColumns({"run_id": F.lit(run_id), when: F.current_timestamp()})


def _why(counts: dict[str, float], query: str) -> str:
    return f'\n  Why: sonic sql "SELECT {query}"' if counts["rejected"] else ""
