"""`sonic features`: descriptors of songs, from audio or from a CSV table."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

from pyspark.sql import SparkSession

from sonic_lib.audio.local_files import check_audio
from sonic_lib.cli.options import add_no_links
from sonic_lib.config import Config
from sonic_lib.console import say
from sonic_lib.errors import MODELS, SetupError, UsageError, install_command
from sonic_lib.formats import counted
from sonic_lib.spark.columns import sql_text
from sonic_lib.spark.messages import one_line
from sonic_lib.workflows.feature_extraction import (
    TableImport,
    check_import,
    describe_audio,
    import_table,
)

HELP = "compute features for the models from audio, or import them from CSV"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("paths", nargs="*", metavar="PATH", help="folder or audio file")
    parser.add_argument("--csv", metavar="FILE", help="a feature table instead of audio")
    parser.add_argument(
        "--source", metavar="NAME", help="name of the feature table (default: the file's name)"
    )
    parser.add_argument(
        "--id", metavar="COLUMN", help="its key (default: id or track_id, else the whole row)"
    )
    parser.add_argument(
        "--retry-rejected", action="store_true", help="also read rejected files again"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 if a file or row is rejected"
    )
    add_no_links(parser)


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts.

    Raises
    ------
    UsageError
        If both audio and a table are given, there is no audio, or the table or its name is not
        valid.
    SetupError
        If librosa is missing for audio.
    """
    if bool(args.paths) == bool(args.csv):
        raise UsageError("Expected either folders of audio, or a feature table with --csv FILE.")
    if args.csv is None:
        if args.source or args.id:
            raise UsageError("--source and --id are options for --csv FILE, not for audio.")
        if importlib.util.find_spec("librosa") is None:
            raise SetupError(f"Descriptors of audio need librosa: {install_command(*MODELS)}")
        check_audio(args.paths, follow_links=not args.no_links)
        return
    check_import(args.csv, source=source_name(args.csv, args.source), id_column=args.id)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Update the features from folders or from a table."""
    if args.csv:
        source = source_name(args.csv, args.source)
        done = import_table(spark, config, args.csv, source=source, id_column=args.id)
        counts = done.counts
        say_table(done, source, warehouse=config.warehouse)
    else:
        counts = describe_audio(
            spark,
            config,
            args.paths,
            retry_rejected=args.retry_rejected,
            follow_links=not args.no_links,
        )
        _say(_about_audio(counts), counts, config.warehouse)
    return 1 if args.strict and counts["rejected"] else 0


def say_table(done: TableImport, source: str, *, warehouse: str) -> None:
    """Describe what was imported from a table."""
    _say(_about_table(done, source), done.counts, warehouse)


def _say(message: str, counts: dict[str, float], warehouse: str) -> None:
    say(f"Features {warehouse}\n{message}\n  time    {counts['seconds']:.1f} s", **counts)


def _about_audio(counts: dict[str, float]) -> str:
    message = (
        f"  files   {counts['read']:.0f} read, {counts['files'] - counts['read']:.0f} unchanged; "
        f"of those read {counts['duplicate']:.0f} duplicate, {counts['rejected']:.0f} rejected\n"
        f"  added   {counted(counts['songs'], 'song')}, {counts['audio_s'] / 3600:.2f} h; "
        f"{counted(counts['dropped'], 'song')} dropped"
    )
    return message + _why(
        counts, "path, stage, error FROM sonic.feature_files WHERE song_id IS NULL"
    )


def _about_table(done: TableImport, source: str) -> str:
    counts = done.counts
    message = (
        f"  table   {source}: {counted(counts['rows'] - counts['rejected'], 'row')}, "
        f"{counts['rejected']} rejected; the key is "
        f"{f'the column {one_line(done.id_column)}' if done.id_column else 'the whole row'}\n"
        f"  numbers {one_line(', '.join(done.numbers)) or 'none'}\n"
        f"  texts   {one_line(', '.join(done.texts)) or 'none'}"
    )
    rejects = f"record, error FROM sonic.feature_rejects WHERE source = {sql_text(source)}"
    return (
        message
        + _why(counts, rejects)
        + "".join(f"\n  {one_line(remark)}" for remark in done.remarks)
    )


def source_name(csv: str, given: str | None) -> str:
    """Return the name of the source for a table: the given one, or that of the file."""
    return given or Path(csv).stem


def _why(counts: dict[str, float], query: str) -> str:
    return f'\n  Why: sonic sql "SELECT {query}"' if counts["rejected"] else ""
