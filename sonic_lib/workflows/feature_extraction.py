"""Fill the table `features`, from audio or from an existing feature table."""

from __future__ import annotations

import glob
import itertools
import re
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.audio.listing import list_audio
from sonic_lib.config import Config
from sonic_lib.errors import UsageError
from sonic_lib.features import csv_files, csv_import, csv_reading
from sonic_lib.features.spark import (
    AUDIO,
    describe_songs,
    described_songs,
    feature_rows,
    settled_files,
)
from sonic_lib.fingerprint.spark import digest_files
from sonic_lib.formats import counted
from sonic_lib.index import commit, plan
from sonic_lib.schemas import FEATURE_CELLS, FEATURE_FILES, FEATURE_REJECTS, FEATURES
from sonic_lib.spark.caching import cache_scope, cached
from sonic_lib.spark.columns import sql_text
from sonic_lib.spark.uris import absolute, is_local
from sonic_lib.storage import creation, runs, tables, writes
from sonic_lib.workflows.batches import Extract, ingest_in_batches

# Such names need no quoting in SQL or as folders of the table.
_SOURCE = re.compile(r"[\w][\w .-]*")


class TableImport(NamedTuple):
    """Result of `import_table`.

    Attributes
    ----------
    counts : dict of str to float
        rows, rejected, seconds.
    id_column : str or None
        Column that identifies a row; None if all columns together do.
    numbers, texts : list of str
        Numeric and text columns.
    remarks : list of str
        How the file was read, if it is not UTF-8 or has an unclosed quote.
    """

    counts: dict[str, float]
    id_column: str | None
    numbers: list[str]
    texts: list[str]
    remarks: list[str]


def describe_audio(
    spark: SparkSession,
    config: Config,
    paths: list[str],
    *,
    retry_rejected: bool = False,
    follow_links: bool = True,
) -> dict[str, float]:
    """Compute the descriptors of songs that are new or have changed.

    Parameters are those of `Warehouse.extract_features`.

    Returns
    -------
    dict of str to float
        files, read, songs, audio_s, duplicate, rejected, dropped, seconds.
    """
    started_s = time.monotonic()
    files = list_audio(spark, paths, follow_links=follow_links)
    creation.create_for_models(spark, config.warehouse)
    with (
        cache_scope(),
        runs.recorded(spark, config.warehouse, job="features", config=config) as this_run,
    ):
        counts = _describe(
            spark, config, cached(files), retry_rejected=retry_rejected, run_id=this_run.run_id
        )
        counts["seconds"] = time.monotonic() - started_s
        this_run.counts.update(counts)
    return counts


def check_source(source: str) -> None:
    """Check the name of a feature table.

    Raises
    ------
    UsageError
        If it is not a plain name, or is the one of the descriptors of audio.
    """
    if source == AUDIO or not _SOURCE.fullmatch(source):
        raise UsageError(
            f"source {source!r} (--source): expected a name of letters, digits, spaces, '.', '_' "
            f"and '-' that begins with a letter or digit and is not {AUDIO!r}."
        )


def check_import(csv: str, *, source: str, id_column: str | None = None) -> None:
    """Check the name of a feature table and, if it is local, its files; before Spark starts.

    Raises
    ------
    UsageError
        If the name is not a plain one, there are no such files, or they do not look like CSV.
    """
    check_source(source)
    if not is_local(csv):
        return
    place = Path(absolute(csv))
    if place.is_file():
        csv_files.check_local(str(place), id_column=id_column)
    elif not (place.is_dir() or glob.glob(str(place))):
        raise UsageError(f"csv {csv!r} (--csv): does not exist; expected a CSV file or a folder.")
    elif place.is_dir() and not any(place.iterdir()):
        raise UsageError(f"csv {csv!r} (--csv): an empty folder; expected a folder with CSV files.")


def import_table(
    spark: SparkSession, config: Config, csv: str, *, source: str, id_column: str | None = None
) -> TableImport:
    """Import a feature table; it replaces earlier rows of its source.

    Parameters and errors are those of `Warehouse.import_features`.  The file is read a second time
    if its encoding or quoting turns out to be different.
    """
    check_source(source)
    started_s = time.monotonic()
    rows = csv_reading.read_rows(spark, csv)
    creation.create_for_models(spark, config.warehouse)
    with runs.recorded(spark, config.warehouse, job="features", config=config) as this_run:
        import_rows = partial(
            _import_rows,
            warehouse=config.warehouse,
            csv=csv,
            source=source,
            id_column=id_column,
            run_id=this_run.run_id,
        )
        # Cached only in here: a longer-lived cache would hide changes to the file.
        with cache_scope():
            better = csv_reading.second_reading(_flaws(cached(rows)))
            if not better:
                done = import_rows(rows)
        if better:
            with cache_scope():
                rows = cached(csv_reading.read_rows(spark, csv, **better))
                try:
                    done = import_rows(rows)
                except (PySparkException, Py4JJavaError) as error:
                    if csv_reading.is_too_long(error):
                        raise csv_reading.too_long(csv) from error
                    raise
        done.counts["seconds"] = time.monotonic() - started_s
        this_run.counts.update(done.counts)
    remarks = []
    if "encoding" in better:
        remarks.append(f"read as {better['encoding']}: it is not UTF-8")
    if "by_lines" in better:
        remarks.append("read line by line: it has an unclosed quote")
    return done._replace(remarks=remarks)


def _flaws(rows: DataFrame) -> dict[str, int]:
    """Count flaws by `csv_reading.find_flaws`; a cell that is too long counts as swallowed rows."""
    try:
        return rows.transform(csv_reading.find_flaws).first().asDict()
    except (PySparkException, Py4JJavaError) as error:
        if csv_reading.is_too_long(error):
            return {"n_replaced": 0, "n_swallowed": 1}
        raise


def _describe(
    spark: SparkSession, config: Config, files: DataFrame, *, retry_rejected: bool, run_id: str
) -> dict[str, float]:
    warehouse = config.warehouse
    known = tables.read(spark, warehouse, FEATURE_FILES)
    features = tables.read(spark, warehouse, FEATURES)
    settled = known.transform(settled_files, features=features)
    changed = cached(plan.changed_files(files, known=settled, retry_rejected=retry_rejected))
    n_changed, n_bytes = changed.agg(F.count("*"), plan.work_bytes()).first()
    counts = {"files": files.count(), "read": n_changed}
    if not n_changed:
        return counts | dict.fromkeys(("songs", "audio_s", "duplicate", "rejected", "dropped"), 0)

    # Staged as files: Spark recomputes a cached DataFrame when a table that it reads is written.
    folder = commit.run_folder(warehouse, run_id)
    n_slots = spark.sparkContext.defaultParallelism
    n_tasks = plan.n_tasks(n_changed, n_bytes, n_slots=n_slots, task_mb=config.index.task_mb)
    digests = changed.repartition(n_tasks, "path").transform(digest_files)
    digests = commit.stage(digests, f"{folder}/digests")
    described = _describe_batches(spark, config, digests, run_id)

    stored = tables.read(spark, warehouse, FEATURES).transform(described_songs)
    file_rows = cached(plan.song_files(digests, songs=stored, known=known, read=described))
    abandoned = cached(plan.abandoned_songs(known, gone=digests, digests=digests))
    counts["dropped"] = abandoned.count()
    songs = described.filter("error IS NULL").agg(
        F.count("*").alias("songs"),
        F.coalesce(F.sum(F.col("numbers")["duration_s"]), F.lit(0.0)).alias("audio_s"),
    )
    states = file_rows.agg(
        *(F.count_if(F.col("status") == state).alias(state) for state in ("duplicate", "rejected"))
    )
    counts |= songs.first().asDict() | states.first().asDict()
    if counts["dropped"]:
        writes.delete_keys(abandoned, warehouse, FEATURES, key="song_id")
    # Written last, so that the files of a killed run are read again.
    stamped = file_rows.transform(runs.stamped, run_id=run_id, when="seen_at")
    writes.upsert(stamped, warehouse, FEATURE_FILES, key="path")
    commit.remove_folder(spark, folder)
    return counts


def _describe_batches(
    spark: SparkSession, config: Config, digests: DataFrame, run_id: str
) -> DataFrame:
    """Compute and commit the descriptors of all new songs; return the outcome for each."""
    stored = tables.read(spark, config.warehouse, FEATURES).transform(described_songs)
    new = plan.new_songs(digests, songs=stored)
    batches = itertools.count()

    def ingest(chosen: DataFrame, extract: Extract) -> DataFrame:
        folder = commit.stage_folder(config.warehouse, run_id, next(batches))
        described = commit.stage(extract(chosen), folder)
        rows = described.transform(feature_rows).transform(
            runs.stamped, run_id=run_id, when="computed_at"
        )
        writes.upsert(rows, config.warehouse, FEATURES, key="song_id")
        return described

    return ingest_in_batches(new, config, extract=describe_songs, ingest=ingest)


def _import_rows(
    rows: DataFrame, *, warehouse: str, csv: str, source: str, id_column: str | None, run_id: str
) -> TableImport:
    columns = csv_reading.named_columns(rows)
    found = rows.transform(csv_import.count_cells, columns=columns).collect()  # a row per column
    n_cells = {row.name: row.asDict() for row in found}
    if not n_cells:
        raise UsageError(
            f"The table {csv!r} (--csv) has no row with {counted(len(columns), 'cell')} below its "
            "first line. Expected a row per song, with commas between its cells."
        )
    kinds = csv_import.choose_kinds(columns, n_cells)
    id_column = csv_import.choose_id(columns, n_cells, given=id_column)
    names: dict[str, list[str]] = {kind: [] for kind in ("number", "text")}
    for name in columns:
        if name != id_column:
            names[kinds[name]].append(name)
    # A table of labels may have only text columns, if it has a key.
    if not names["number"] and not (id_column and names["text"]):
        raise UsageError(
            f"The table {csv!r} (--csv) has no numeric column, so no model can be trained on it. "
            f"Expected cells such as 0.5, with a decimal point; columns: {', '.join(columns)}. "
            "A table of labels needs id_column (--id), the column with the paths of the songs."
        )
    checked = cached(rows.transform(csv_import.check_rows, kinds=kinds, id_column=id_column))
    rejected = checked.transform(csv_import.rejected_rows, source=source, columns=columns)
    cells = checked.transform(csv_import.cell_rows, source=source)
    usable = checked.transform(
        csv_import.usable_rows, source=source, kinds=kinds, id_column=id_column
    )
    counts = checked.agg(
        F.count("*").alias("rows"), F.count(csv_files.REASON).alias("rejected")
    ).first()
    where = f"source = {sql_text(source)}"
    for table, new in (
        (FEATURE_REJECTS, rejected.transform(runs.stamped, run_id=run_id, when="rejected_at")),
        (FEATURE_CELLS, cells.withColumn("run_id", F.lit(run_id))),
        (FEATURES, usable.transform(runs.stamped, run_id=run_id, when="computed_at")),
    ):
        # Most tables have no rejects, and a commit of nothing would take seconds.
        is_empty = table is FEATURE_REJECTS and not counts.rejected
        if not is_empty or source in tables.sources(rows.sparkSession, warehouse, table):
            writes.replace(new, warehouse, table, where=where)
    return TableImport(counts.asDict(), id_column, names["number"], names["text"], [])
