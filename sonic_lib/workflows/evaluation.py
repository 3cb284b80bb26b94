"""Evaluate identification on degraded clips of the indexed songs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.config import Config
from sonic_lib.errors import UsageError
from sonic_lib.fingerprint.params import FRAMES_PER_S
from sonic_lib.index.copies import first_files
from sonic_lib.matching.cases import fingerprint_cases, plan_cases
from sonic_lib.matching.duplicates import compare_pairs
from sonic_lib.matching.evaluation import ASKED, calibration, judge_answers, robustness
from sonic_lib.report.figures.identification import calibration_curve, robustness_bars
from sonic_lib.report.figures.style import save
from sonic_lib.schemas import SONG_FILES
from sonic_lib.spark.caching import cache_scope
from sonic_lib.storage import runs, tables
from sonic_lib.storage.whole_file import write_csv
from sonic_lib.workflows.answers import NO_MATCH
from sonic_lib.workflows.duplicates import MAX_P
from sonic_lib.workflows.identification import Index, open_index, search

N_CLIPS, LENGTHS_S, LEFT_OUT, N_SONGS, SEED = 20, (5.0, 10.0), 0.2, 200, 1
_NONE = -1  # no song has this id


def check_plan(*, n_clips: int, lengths_s: Sequence[float], left_out: float, n_songs: int) -> None:
    """Check the numbers of an evaluation.

    Raises
    ------
    UsageError
        If one is out of range.
    """
    if n_clips < 1 or n_songs < 2 or not 0 < left_out < 1:
        raise UsageError(
            f"n_clips {n_clips} (--clips), n_songs {n_songs} (--songs), left_out {left_out:g} "
            "(--left-out): expected 1 or more clips, 2 or more songs, and a share between 0 and 1."
        )
    if not len(lengths_s) or not all(1 <= length_s <= 120 for length_s in lengths_s):
        raise UsageError(
            f"lengths_s {list(lengths_s)} (--lengths): expected 1 to 120 seconds each."
        )


def evaluate_index(
    spark: SparkSession,
    config: Config,
    *,
    n_clips: int,
    lengths_s: Sequence[float],
    left_out: float,
    n_songs: int,
    seed: int,
) -> pd.DataFrame:
    """Sample songs, degrade and identify clips of them, and compare the answers with the truth.

    Parameters are those of `Warehouse.evaluate`.

    Returns
    -------
    pandas.DataFrame
        One row per clip: the case (`matching.cases.plan_cases`), found_id, offset_s, speed,
        pitch, score, p_value and accepted of its best answer, is_right, is_placed, and has_copy
        (whether a held-out song has a copy that is still in the index).

    Raises
    ------
    UsageError
        If a number is out of range, or too few songs have readable files and are long enough.
    TableError
        If there is no index, or it is empty or was made with other parameters.
    """
    check_plan(n_clips=n_clips, lengths_s=lengths_s, left_out=left_out, n_songs=n_songs)
    tables.check_params(spark, config.warehouse, params=config.fingerprint.params())
    index = open_index(spark, config.warehouse)
    songs = _sample_songs(index, config, n_songs=n_songs, left_out=left_out, seed=seed)
    cases = plan_cases(songs, n_clips=n_clips, lengths_s=list(lengths_s), seed=seed)
    with (
        cache_scope(),
        runs.recorded(spark, config.warehouse, job="evaluate", config=config) as this_run,
    ):
        frame = spark.createDataFrame(cases)
        unknown = spark.createDataFrame(songs.loc[~songs["is_known"], ["song_id"]])
        found = search(
            frame, _without(index, unknown), config, n_listed=1, fingerprint=fingerprint_cases
        )
        judged = judge_answers(_answers(frame, found))
        copied = held_out_copies(judged, index)
        judged["has_copy"] = judged["song_id"].isin(copied) & ~judged["is_known"]
        this_run.counts.update({"clips": len(judged), "right": int(judged["is_right"].sum())})
    return judged


def write_tables(judged: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write tables and plots of an evaluation to a folder, which is created if necessary.

    Returns
    -------
    robustness, calibration : pandas.DataFrame
        From `matching.evaluation`, without held-out songs that have a copy in the index.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table, curve = robustness(judged), calibration(judged[~judged["has_copy"]])
    write_csv(judged, folder / "clips.csv")
    write_csv(table, folder / "robustness.csv", float_format="%.1f")
    write_csv(curve, folder / "calibration.csv", float_format="%.4g")
    save(robustness_bars(table, title="Found again"), folder / "robustness.png")
    save(calibration_curve(curve, title="False accepts"), folder / "calibration.png")
    return table, curve


def _sample_songs(
    index: Index, config: Config, *, n_songs: int, left_out: float, seed: int
) -> pd.DataFrame:
    """Sample songs by the hash of their ids."""
    spark = index.songs.sparkSession
    files = tables.read(spark, config.warehouse, SONG_FILES).transform(first_files)
    paths = files.select("song_id", F.col("path").alias("song_path"))
    drawn = (
        index.songs.orderBy(F.xxhash64("song_id", F.lit(seed)))
        .limit(n_songs)
        .join(paths, "song_id")
        .select("song_id", "song_path", "duration_s")
        .toPandas()
        .sort_values("song_id", ignore_index=True)
    )
    n_known = len(drawn) - round(left_out * len(drawn))
    return drawn.assign(is_known=drawn.index < n_known)


def _without(index: Index, songs: DataFrame) -> Index:
    """Return the index without some songs: fingerprints of songs not in `songs` are ignored."""
    left = index.songs.join(songs, "song_id", "left_anti")
    index_s = left.agg(F.sum("duration_s")).first()[0]
    ids = songs.toPandas()["song_id"].to_numpy()  # a part of those drawn
    excluded = np.union1d(index.files.excluded, ids)
    files = replace(index.files, n_frames=index_s * FRAMES_PER_S, excluded=excluded)
    return replace(index, songs=left, files=files)


def held_out_copies(judged: pd.DataFrame, index: Index) -> list[int]:
    """Find held-out songs whose music is still in the index, as a copy or in part.

    Parameters
    ----------
    judged : pandas.DataFrame
        From `judge_answers`.
    index : Index
        The full index; held-out songs are compared with the answers as by `sonic duplicates`.
    """
    is_candidate = (
        ~judged["is_known"] & (judged["p_value"] <= max(ASKED)) & judged["found_id"].notna()
    )
    candidates = judged.loc[is_candidate, ["song_id", "found_id"]].drop_duplicates().astype("int64")
    if candidates.empty:
        return []
    pairs = index.fingerprints.sparkSession.createDataFrame(
        candidates.rename(columns={"found_id": "other_song_id"})
    )
    shared = pairs.transform(
        compare_pairs, fingerprints=index.fingerprints, n_index_frames=index.files.n_frames
    )
    copied = shared.filter(F.col("p_value") <= MAX_P).select("song_id").distinct()
    return [row.song_id for row in copied.collect()]  # a part of those drawn


def _answers(cases: DataFrame, found: DataFrame) -> pd.DataFrame:
    """Join every case with the first of its best answers."""
    best = (
        found.filter("rank = 1 OR rank IS NULL")
        .groupBy("path")
        .agg(F.min_by(F.struct("*"), F.struct("p_value", "clip_start_s")).alias("answer"))
        .select(
            "path",
            F.coalesce("answer.song_id", F.lit(_NONE)).alias("found_id"),
            F.expr("answer.offset_s - answer.speed * answer.clip_start_s").alias("offset_s"),
            "answer.speed",
            "answer.pitch",
            *(
                F.coalesce(f"answer.{name}", F.lit(NO_MATCH[name])).alias(name)
                for name in ("score", "p_value", "accepted")
            ),
        )
    )
    answers = cases.drop("size_bytes").join(best, "path").orderBy("path").toPandas()
    # pandas turns integers with nulls into floats, in which ids would lose their last digits.
    found_id = answers["found_id"].astype("Int64")
    return answers.assign(found_id=found_id.mask(found_id == _NONE))
