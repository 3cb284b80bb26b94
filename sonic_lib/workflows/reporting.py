"""Report on the index, an identification run and the models in one HTML page."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import sonic_lib
from sonic_lib.config import Config
from sonic_lib.errors import UsageError
from sonic_lib.models.registry import NAMES
from sonic_lib.report import page, summary
from sonic_lib.report.data import Findings, ModelRecord
from sonic_lib.report.excerpts import with_excerpts
from sonic_lib.report.sections.overview import nothing_yet, sections_of
from sonic_lib.schemas import FEATURES, MATCHES, PREDICTIONS, RUNS, SONG_FILES, SONGS, Table
from sonic_lib.storage import tables
from sonic_lib.storage.whole_file import check_file, whole_file
from sonic_lib.workflows.sources import registry_of

EVALUATION = "evaluation"  # default output of `sonic evaluate`
N_CLIPS = 50
MAX_CLIPS = 1000
_TRAININGS = ("train", "retrain")


def check_wanted(path: str, *, n_clips: int, evaluation: str | None) -> None:
    """Check the arguments.

    Raises
    ------
    UsageError
        If the path does not end in .html or cannot be written, the number of clips is out of
        range, or the evaluation folder has no tables.
    SetupError
        If jinja2 is not installed.
    """
    if not path.lower().endswith((".html", ".htm")):
        raise UsageError(f"path {path!r} (--output): expected a name that ends in .html.")
    check_file("path (--output)", path)
    if not 0 <= n_clips <= MAX_CLIPS:
        raise UsageError(f"n_clips {n_clips} (--clips): expected 0 to {MAX_CLIPS}.")
    if evaluation and not _evaluation_files(evaluation):
        raise UsageError(
            f"evaluation {evaluation!r} (--evaluation): expected a folder with robustness.csv and "
            "calibration.csv, as written by `sonic evaluate --output FOLDER`."
        )
    page.check_installed()


def write_report(
    spark: SparkSession,
    config: Config,
    path: str,
    *,
    run_id: str | None = None,
    n_clips: int = N_CLIPS,
    evaluation: str | None = None,
) -> int:
    """Collect the data of a warehouse, write the page, and return its size in bytes.

    Parameters and errors are those of `Warehouse.report`.
    """
    check_wanted(path, n_clips=n_clips, evaluation=evaluation)
    found = collect(spark, config, run_id=run_id, n_clips=n_clips, evaluation=evaluation)
    made_at = datetime.now(timezone.utc)
    html = page.render(
        list(sections_of(found)) or [nothing_yet()],
        title="Sonic Signature report",
        subtitle=f"{made_at:%Y-%m-%d %H:%M} UTC · version {sonic_lib.__version__}",
    )
    with whole_file(path) as (file, _):
        file.write(html)
    return len(html.encode())


def collect(
    spark: SparkSession,
    config: Config,
    *,
    run_id: str | None = None,
    n_clips: int = N_CLIPS,
    evaluation: str | None = None,
) -> Findings:
    """Collect the data of a report; parameters as in `write_report`."""
    data = _index(spark, config.warehouse)
    # The default folder may belong to another warehouse.
    if evaluation is None and "jobs" in data and data["jobs"]["job"].eq("evaluate").any():
        evaluation = EVALUATION
    files = _evaluation_files(evaluation) if evaluation else {}
    return Findings(
        **data,
        **_identification(spark, config, run_id=run_id, n_clips=n_clips),
        **{name: pd.read_csv(file) for name, file in files.items()},
        **_models(spark, config),
    )


def _index(spark: SparkSession, warehouse: str) -> dict:
    data: dict = {}
    if (songs := _read(spark, warehouse, SONGS)) is not None:
        data["catalogue"] = songs.transform(summary.catalogue).first().asDict()
        for name, column in (("genres", "genre"), ("codecs", "codec")):
            data[name] = songs.transform(summary.commonest, column=column).toPandas()
        data["alike"] = songs.transform(summary.songs_named_alike).toPandas()
    if (song_files := _read(spark, warehouse, SONG_FILES)) is not None:
        data["files"] = song_files.transform(summary.file_states).toPandas()
        data["rejects"] = song_files.transform(summary.reject_reasons).toPandas()
    if (runs := _read(spark, warehouse, RUNS)) is not None:
        data["jobs"] = runs.transform(summary.job_states).toPandas()
        done = runs.filter("status = 'done'")
        compared = done.transform(summary.latest_runs, jobs=("duplicates",), n_runs=1).first()
        data["compared"] = compared.asDict() if compared else None
        trainings = runs.transform(summary.latest_runs, jobs=_TRAININGS).toPandas()
        data["trainings"] = trainings if len(trainings) else None
    return data


def _identification(
    spark: SparkSession, config: Config, *, run_id: str | None, n_clips: int
) -> dict:
    warehouse = config.warehouse
    runs, matches = (_read(spark, warehouse, table) for table in (RUNS, MATCHES))
    if runs is None or matches is None:
        if run_id:
            raise UsageError(f"run_id {run_id!r} (--run): {warehouse} has no runs of identify.")
        return {}
    done = runs.filter("status = 'done'").transform(summary.latest_runs, jobs=["identify"])
    chosen = (runs.filter(F.col("run_id") == run_id) if run_id else done).first()
    if chosen is None or chosen.job != "identify":
        if not run_id:
            return {}
        known = ", ".join(row.run_id for row in done.select("run_id").take(5)) or "none yet"
        raise UsageError(
            f"run_id {run_id!r} (--run): not a run of identify in {warehouse}; "
            f"the latest are {known}."
        )
    own = matches.filter(
        (F.col("run_date") >= F.lit(chosen.started_at.date())) & (F.col("run_id") == chosen.run_id)
    )
    data = {
        "run": {
            "run_id": chosen.run_id,
            "started_at": chosen.started_at,
            "config": json.loads(chosen.config),
        },
        "verdicts": own.transform(summary.verdicts).first().asDict(),
        "certainty": own.transform(summary.certainty_counts).toPandas(),
    }
    if n_clips:
        data["answers"] = _answers(spark, config, own, n_clips=n_clips)
    return data


def _answers(spark: SparkSession, config: Config, own: DataFrame, *, n_clips: int) -> pd.DataFrame:
    """Collect the answers for the first clips, and excerpts for the best answer of each."""
    names = {
        "songs": tables.read(spark, config.warehouse, SONGS),
        "song_files": tables.read(spark, config.warehouse, SONG_FILES),
    }
    answers = (
        own.transform(summary.shown_answers, n_clips=n_clips)
        .transform(summary.with_names, **names)
        .persist()
    )
    n_tasks = min(n_clips, 4 * spark.sparkContext.defaultParallelism)
    excerpts = (
        answers.filter("is_surest AND error IS NULL")
        .repartition(n_tasks, "clip_path")
        .transform(with_excerpts, params=config.fingerprint.params(), limits=config.index.limits())
        .toPandas()
    )
    shown = answers.orderBy("clip_path", "clip_start_s").toPandas()
    answers.unpersist()
    excerpts = excerpts.assign(is_surest=True)
    return shown.merge(excerpts, on=["clip_path", "is_surest"], how="left")


def _models(spark: SparkSession, config: Config) -> dict:
    registry = registry_of(spark, config)
    data: dict = {
        "models": {
            name: ModelRecord(registry.versions(name), registry.alias_history(name))
            for name in NAMES
        }
    }
    for name, table, sum_up in (
        ("sources", FEATURES, summary.feature_sources),
        ("predictions", PREDICTIONS, summary.prediction_states),
    ):
        if (rows := _read(spark, config.warehouse, table)) is not None:
            data[name] = rows.transform(sum_up).toPandas()
    return data


def _evaluation_files(folder: str) -> dict[str, Path]:
    paths = {name: Path(folder) / f"{name}.csv" for name in ("robustness", "calibration")}
    return paths if all(path.is_file() for path in paths.values()) else {}


def _read(spark: SparkSession, warehouse: str, table: Table) -> DataFrame | None:
    exists = tables.exists(spark, warehouse, table)
    return tables.read(spark, warehouse, table) if exists else None
