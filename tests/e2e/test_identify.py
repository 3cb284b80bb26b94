"""Clips of a small collection through the real jobs."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sonic_lib.audio.degradations import add_noise, change_speed, cut
from sonic_lib.cli.main import main
from sonic_lib.config import load_config
from sonic_lib.schemas import MATCHES, RUNS
from sonic_lib.storage import tables
from sonic_lib.workflows import explanation
from tests.e2e.conftest import RATE_HZ

_COLUMNS = """
clip rank song title artist clip_start_s clip_end_s offset_s speed n_votes score p_value accepted
pitch note error
"""
COLUMNS = _COLUMNS.split()
READERS = {
    ".csv": pd.read_csv,
    ".json": lambda path: pd.DataFrame(json.loads(path.read_text(encoding="utf-8"))),
    ".parquet": pd.read_parquet,
}
CLIP_S = 6.0
FAST = 1.08


def mono(samples: np.ndarray) -> np.ndarray:
    return samples if samples.ndim == 1 else samples.mean(axis=1)


@pytest.fixture(scope="module")
def clips(collection, tmp_path_factory) -> tuple[Path, dict[str, tuple[str, float] | None]]:
    """A folder of clips with the song and offset of each; None for unknown clips."""
    rng = np.random.default_rng(7)
    folder = tmp_path_factory.mktemp("clips")
    (folder / "a b").mkdir()
    truth: dict[str, tuple[str, float] | None] = {}
    for i, (song, samples) in enumerate(collection.samples.items()):
        start_s = float(rng.uniform(0, 8))
        clip = cut(samples, start_s=start_s, length_s=CLIP_S, sample_rate_hz=RATE_HZ)
        if i % 2:
            clip = add_noise(clip, snr_db=10.0, sample_rate_hz=RATE_HZ, rng=rng)
        truth[f"a b/{i}%20.wav"] = (song, start_s)
        soundfile.write(folder / f"a b/{i}%20.wav", clip, RATE_HZ)
        if i == 0:
            fast = change_speed(mono(samples), factor=FAST)
            fast = cut(fast, start_s=1.0, length_s=CLIP_S, sample_rate_hz=RATE_HZ)
            soundfile.write(folder / "fast.wav", fast, RATE_HZ)
            truth["fast.wav"] = (song, FAST)
    unheard = cut(collection.unheard, start_s=3.0, length_s=CLIP_S, sample_rate_hz=RATE_HZ)
    soundfile.write(folder / "unheard.flac", unheard, RATE_HZ)
    soundfile.write(folder / "silence.wav", np.zeros(RATE_HZ * 5), RATE_HZ)
    (folder / "letter.mp3").write_text("no sound " * 500)
    return folder, truth | dict.fromkeys(["unheard.flac", "silence.wav", "letter.mp3"])


@pytest.fixture(scope="module")
def answers(clips, indexed, run_job, tmp_path_factory) -> list[dict[str, str]]:
    output = tmp_path_factory.mktemp("out") / "matches.csv"
    done = run_job("identify_clips.py", clips[0], "--warehouse", indexed[0], "--output", output)
    assert done.returncode == 0, done.stderr
    with output.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == COLUMNS
        return list(reader)


def test_every_clip_has_one_row(clips, answers):
    assert sorted(answer["clip"] for answer in answers) == sorted(clips[1])


def test_known_clips_are_found_at_their_offsets(clips, collection, answers):
    for answer in answers:
        truth = clips[1][answer["clip"]]
        if truth is None:
            continue
        song, start_s = truth
        names = {song} | ({collection.copy} if song == next(iter(collection.samples)) else set())
        assert answer["song"] in names
        assert answer["accepted"] == "true"
        assert float(answer["offset_s"]) == pytest.approx(start_s, abs=0.1)
        assert float(answer["clip_end_s"]) == pytest.approx(CLIP_S, abs=0.1)
        speed = FAST if answer["clip"] == "fast.wav" else 1.0
        assert float(answer["speed"]) == pytest.approx(speed, abs=0.01)
        assert float(answer["pitch"]) == pytest.approx(speed, abs=0.01)
        assert float(answer["p_value"]) < 0.01


def test_unknown_and_unreadable_clips_are_not_accepted(clips, answers):
    unknown = {a["clip"]: a for a in answers if clips[1][a["clip"]] is None}
    assert {a["accepted"] for a in unknown.values()} == {"false"}
    assert "silent" in unknown["silence.wav"]["error"]
    assert unknown["letter.mp3"]["error"]
    assert unknown["letter.mp3"]["song"] == ""
    assert unknown["unheard.flac"]["error"] == ""


def test_answers_are_also_stored_in_the_table(spark, clips, indexed, answers):
    matches = tables.read(spark, indexed[0], MATCHES)
    matches = matches.filter(matches.clip_path.startswith(str(clips[0])))
    first_run = matches.agg({"run_id": "min"}).first()[0]
    stored = matches.filter(matches.run_id == first_run).collect()
    assert len(stored) == len(answers)
    assert sum(row.accepted for row in stored) == sum(a["accepted"] == "true" for a in answers)


def identify_locally(path: Path, warehouse: str, output: Path, *options: str) -> pd.DataFrame:
    command = ["identify", str(path), "--warehouse", warehouse, "--engine", "local", *options]
    assert main([*command, "--output", str(output)]) == 0
    return READERS[output.suffix](output)


def assert_same_answers(found: pd.DataFrame, of_spark: pd.DataFrame) -> None:
    assert list(found.columns) == list(of_spark.columns) == COLUMNS
    # Sums of hits in another order differ in their last digits.
    pd.testing.assert_frame_equal(found, of_spark, rtol=1e-5, check_dtype=False)


def test_local_engine_gives_the_same_answers(spark, clips, indexed, answers, tmp_path, capsys):
    before = [(t, tables.version(spark, indexed[0], t)) for t in (MATCHES, RUNS)]
    found = identify_locally(clips[0], indexed[0], tmp_path / "local.csv")
    of_spark = pd.DataFrame(answers)
    of_spark.to_csv(tmp_path / "spark.csv", index=False)
    assert_same_answers(found, pd.read_csv(tmp_path / "spark.csv"))

    run_id = re.search(r"Run (\S+) in", capsys.readouterr().out)[1]
    stored = tables.read(spark, indexed[0], MATCHES).filter(f"run_id = '{run_id}'").toPandas()
    assert sorted(stored["score"]) == pytest.approx(sorted(found["score"]), rel=1e-5)
    run = tables.read(spark, indexed[0], RUNS).filter(f"run_id = '{run_id}'").first()
    assert (run.status, run.counts["clips"]) == ("done", len(clips[1]))
    for table, version in before:
        assert tables.version(spark, indexed[0], table) == version + 1
        detail = spark.sql(f"DESCRIBE DETAIL delta.`{tables.location(indexed[0], table)}`").first()
        assert (detail.minReaderVersion, detail.minWriterVersion) == (1, 2)


@pytest.mark.parametrize("engine", ["local", "spark"])
def test_no_record_leaves_the_tables_unchanged(spark, clips, indexed, tmp_path, capsys, engine):
    before = [tables.version(spark, indexed[0], table) for table in (MATCHES, RUNS)]
    command = ["identify", str(clips[0] / "fast.wav"), "--warehouse", indexed[0], "--no-record"]
    assert main([*command, "--engine", engine, "--output", str(tmp_path / "a.csv")]) == 0
    assert "Not recorded" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "a.csv")["accepted"].all()
    assert [tables.version(spark, indexed[0], table) for table in (MATCHES, RUNS)] == before


def test_read_only_warehouse_still_gives_answers(spark, clips, indexed, capsys, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    before = tables.version(spark, indexed[0], MATCHES)
    command = ["identify", str(clips[0] / "fast.wav"), "--warehouse", indexed[0]]
    assert main([*command, "--engine", "local"]) == 0
    printed = capsys.readouterr()
    assert "not writable" in printed.err
    assert "1 identified" in printed.out
    assert tables.version(spark, indexed[0], MATCHES) == before


def test_chunks_and_helpers_do_not_change_answers(clips, indexed, tmp_path, monkeypatch):
    monkeypatch.setattr("sonic_lib.matching.budget.CHUNK_BYTES", 1)
    monkeypatch.setattr("sonic_lib.matching.budget.CHUNK_BYTES_PER_ROW", 0)
    monkeypatch.setattr("sonic_lib.workflows.local_engine.FILES_PER_HELPER", 1)
    apart = identify_locally(clips[0], indexed[0], tmp_path / "apart.csv", "--no-record")
    monkeypatch.undo()
    together = identify_locally(clips[0], indexed[0], tmp_path / "together.csv", "--no-record")
    pd.testing.assert_frame_equal(apart, together)


@pytest.mark.parametrize("suffix", ["json", "parquet"])
def test_candidates_and_other_formats(suffix, spark, clips, indexed, answers, tmp_path):
    output = tmp_path / f"matches.{suffix}"
    command = ["identify", str(clips[0]), "--warehouse", indexed[0], "--candidates", "3"]
    assert main([*command, "--output", str(output)]) == 0
    rows = READERS[output.suffix](output)
    local = tmp_path / f"local.{suffix}"
    assert_same_answers(identify_locally(clips[0], indexed[0], local, "--candidates", "3"), rows)
    assert rows["rank"].max() > 1
    assert (rows.groupby("clip")["score"].diff().dropna() <= 0).all()
    best = rows[rows["rank"] == 1].set_index("clip")["song"].fillna("")
    assert best.to_dict() == {answer["clip"]: answer["song"] for answer in answers}


def test_long_recording_gives_its_segments(spark, collection, indexed, tmp_path):
    first, second = list(collection.samples)[:2]
    gap = np.random.default_rng(5).normal(0, 0.02, 8 * RATE_HZ)
    parts = [mono(collection.samples[name])[: 14 * RATE_HZ] for name in (first, second)]
    (tmp_path / "radio").mkdir()
    radio = np.concatenate([parts[0], gap, parts[1]])
    soundfile.write(tmp_path / "radio" / "show.wav", radio, RATE_HZ)
    output = tmp_path / "segments.csv"
    command = ["identify", str(tmp_path / "radio"), "--warehouse", indexed[0]]
    assert main([*command, "--output", str(output)]) == 0
    found = pd.read_csv(output)
    local = identify_locally(tmp_path / "radio", indexed[0], tmp_path / "local.csv")
    assert_same_answers(local, found)
    copies = {collection.copy, first}
    assert [song in copies for song in found["song"]] == [True, False]
    assert found["song"][1] == second
    assert found["accepted"].all()
    assert found["clip_start_s"].tolist() == pytest.approx([0, 22], abs=1.5)
    assert found["clip_end_s"].tolist() == pytest.approx([14, 36], abs=1.5)
    assert found["offset_s"].tolist() == pytest.approx(
        [found["clip_start_s"][0], found["clip_start_s"][1] - 22], abs=0.1
    )


def _nothing_is_cached(spark) -> bool:
    return spark._jsparkSession.sharedState().cacheManager().isEmpty()


def test_explain_shows_the_evidence(spark, clips, indexed, tmp_path, capsys):
    plot = tmp_path / "why.png"
    command = ["explain", str(clips[0] / "fast.wav"), "--warehouse", indexed[0]]
    assert main([*command, "--plot", str(plot)]) == 0
    said = capsys.readouterr().out
    assert "accepted: p " in said
    assert float(re.search(r"speed ([0-9.]+)", said)[1]) == pytest.approx(FAST, abs=0.005)
    assert "runner-up" in said
    assert " Hz " in said
    assert plot.stat().st_size > 10_000


def test_explain_without_spark_shows_the_same_hits(spark, clips, indexed):
    clip = str(clips[0] / "fast.wav")
    config = load_config().model_copy(update={"warehouse": indexed[0]})
    on_spark = explanation.explain_clip(spark, config, clip)
    assert _nothing_is_cached(spark)
    local = explanation.explain_without_spark(config, clip)
    assert local.answers["song_id"].tolist() == on_spark.answers["song_id"].tolist()
    columns = ["song_id", "hash", "clip_s", "song_s", "weight"]
    hits = [found.hits[columns].sort_values(columns[:4]) for found in (local, on_spark)]
    assert len(hits[0]) > 20
    np.testing.assert_array_equal(*(part[columns[:2]].to_numpy(np.int64) for part in hits))
    np.testing.assert_allclose(*(part[columns[2:]].to_numpy(float) for part in hits), rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("letter.mp3", 1, "cannot be read"), ("silence.wav", 1, "silent"), ("a b", 2, "takes one")],
)
def test_explain_without_an_answer_says_why(spark, clips, indexed, capsys, name, code, words):
    assert main(["explain", str(clips[0] / name), "--warehouse", indexed[0]]) == code
    printed = capsys.readouterr()
    assert words in printed.out + printed.err


def test_evaluate_reports_recall_and_false_accepts(spark, indexed, tmp_path, capsys):
    folder = tmp_path / "report"
    command = ["evaluate", "--warehouse", indexed[0], "--clips", "2", "--lengths", "5"]
    assert main([*command, "--left-out", "0.34", "--output", str(folder)]) == 0
    said = capsys.readouterr().out
    table = pd.read_csv(folder / "robustness.csv").set_index("condition")
    assert (table["n"] == 2).all()
    assert table.loc[["clean", "tilt 6 dB", "speed 5 %"], "top1"].min() == 100
    cases = pd.read_csv(folder / "clips.csv")
    left_out = set(cases.loc[~cases["is_known"], "song_id"])
    assert left_out.isdisjoint(cases["found_id"].dropna())
    assert "at a false-accept rate of" in said
    assert _nothing_is_cached(spark)
    assert {path.name for path in folder.glob("*.png")} == {"calibration.png", "robustness.png"}


def test_empty_clip_folder_is_not_an_error(spark, indexed, tmp_path, capsys):
    assert main(["identify", str(tmp_path), "--warehouse", indexed[0]]) == 0
    assert "0 clips" in capsys.readouterr().out


def test_missing_index_says_what_to_do(spark, clips, warehouse, capsys):
    assert main(["identify", str(clips[0]), "--warehouse", warehouse]) == 1
    assert "sonic index" in capsys.readouterr().err
    assert not Path(warehouse).exists()


def test_sql_over_the_tables(spark, indexed, capsys):
    statement = "SELECT count(DISTINCT song_id) AS n FROM sonic.fingerprints"
    assert main(["sql", statement, "--warehouse", indexed[0]]) == 0
    assert capsys.readouterr().out.split() == ["n", "-", "6"]
    assert main(["sql", statement, "--warehouse", indexed[0], "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["rows"], result["rows_are_all"]) == ([{"n": 6}], True)
    assert main(["sql", "SELECT nonsense FROM sonic.songs", "--warehouse", indexed[0]]) == 1
    assert "nonsense" in capsys.readouterr().err
