"""The data of a report, and the command, also with missing tables."""

from __future__ import annotations

import argparse
import json
import re
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sonic_lib.cli.commands import report
from sonic_lib.config import Config
from sonic_lib.errors import UsageError
from sonic_lib.fingerprint.params import FingerprintParams
from sonic_lib.models.registry import open_registry
from sonic_lib.report import summary
from sonic_lib.schemas import FEATURES, MATCHES, PREDICTIONS, RUNS, SONG_FILES, SONGS
from sonic_lib.storage import creation, writes
from tests.reports import HOSTILE, card

AT = datetime(2026, 1, 2, 3, 4, 5)


def rows(spark, table, *given: dict):
    """A frame of a table's columns; values not given are null."""
    unknown = {name for row in given for name in row} - set(table.schema.names)
    assert not unknown
    filled = [tuple(row.get(name) for name in table.schema.names) for row in given]
    return spark.createDataFrame(filled, table.schema)


def match(clip: str, *, start_s: float = 0.0, run_id: str = "r2", **given) -> dict:
    values = {"run_id": run_id, "run_date": date(2026, 1, 2), "clip_path": clip, "rank": 1}
    values |= {
        "clip_start_s": start_s,
        "clip_end_s": start_s + 3,
        "accepted": False,
        "p_value": 1.0,
    }
    return values | {"score": 0.0, "n_votes": 0} | given


def dicts(frame) -> list[dict]:
    return [row.asDict() for row in frame.collect()]


def test_catalogue_is_one_row_even_when_empty(spark):
    songs = rows(
        spark,
        SONGS,
        {"song_id": 1, "artist": "A", "duration_s": 10.0, "n_fingerprints": 5, "indexed_at": AT},
        {"song_id": 2, "artist": "A", "duration_s": 20.5, "n_fingerprints": 6, "genre": "x"},
        {"song_id": 3, "genre": "x", "duration_s": 7200.0},
    )
    assert dicts(songs.transform(summary.catalogue)) == [
        {
            "n_songs": 3,
            "n_artists": 1,
            "duration_s": 7230.5,
            "n_fingerprints": 11,
            "first_at": AT,
            "last_at": AT,
        }
    ]
    (none,) = dicts(songs.limit(0).transform(summary.catalogue))
    assert (none["n_songs"], none["duration_s"], none["last_at"]) == (0, 0.0, None)
    genres = dicts(songs.transform(summary.commonest, column="genre"))
    assert [(row["value"], row["n_songs"]) for row in genres] == [("x", 2), (None, 1)]
    assert genres[0]["hours"] == pytest.approx(7220.5 / 3600)
    assert len(dicts(songs.transform(summary.commonest, column="song_id", n_values=2))) == 2


def test_songs_with_equal_name_and_length_are_likely_duplicates(spark):
    def song(n: int, title: str | None, length_s: float, artist: str | None = "A") -> dict:
        values = {"title": title, "artist": artist, "duration_s": length_s}
        return {"song_id": n, "codec": f"c{n % 2}"} | values

    songs = rows(
        spark,
        SONGS,
        *(song(1, "Help", 100.0), song(2, " HELP ", 102.5), song(3, "Help", 104.0)),
        *(song(4, "Help", 190.0), song(5, "Help", 100.0, "B"), song(6, None, 100.0)),
        *(song(7, None, 100.0), song(8, "", 100.0), song(9, "", 100.0)),
        *(song(10, "Two", 5.0, None), song(11, "two", 5.0, None)),
    )
    found = dicts(songs.transform(summary.songs_named_alike))
    assert [(row["artist"], row["n_songs"], row["codecs"]) for row in found] == [
        ("A", 3, "c0, c1"),
        (None, 2, "c0, c1"),
    ]
    assert (found[0]["shortest_s"], found[0]["longest_s"]) == (100.0, 104.0)
    assert len(dicts(songs.transform(summary.songs_named_alike, n_names=1))) == 1


def test_reasons_that_differ_only_in_figures_are_merged(spark):
    def rejected(path: str, error: str) -> dict:
        return {"path": path, "root": "/m", "status": "rejected", "stage": "x", "error": error}

    files = rows(
        spark,
        SONG_FILES,
        rejected("/m/b/1.mp3", "broken after 3.5 s of 10.0 s"),
        rejected("/m/a.mp3", "broken after 12 s of 200.1 s"),
        rejected("/m/c.mp3", "no sound"),
        {"path": "/m/d.mp3", "root": "/m", "status": "indexed", "size_bytes": 7},
    )
    reasons = dicts(files.transform(summary.reject_reasons))
    assert [(row["reason"], row["n_files"], row["example"]) for row in reasons] == [
        ("broken after # s of # s", 2, "a.mp3"),
        ("no sound", 1, "c.mp3"),
    ]
    states = dicts(files.transform(summary.file_states))
    assert [(row["status"], row["n_files"]) for row in states] == [("rejected", 3), ("indexed", 1)]


def test_runs_are_counted_by_job(spark):
    def run(n: int, job: str, status: str, ended_s: int | None = None) -> dict:
        ended = None if ended_s is None else AT.replace(second=ended_s)
        times = {"started_at": AT.replace(day=n), "ended_at": ended}
        return {"run_id": str(n), "job": job, "status": status} | times

    frame = rows(
        spark,
        RUNS,
        run(2, "index", "done", 15),
        run(2, "index", "failed", 59),
        run(3, "index", "running"),
        run(4, "retrain genre", "done"),
        run(5, "train popularity", "done"),
        run(6, "training", "done"),
    )
    index = dicts(frame.transform(summary.job_states))[0]
    assert index == {
        "job": "index",
        "n_runs": 3,
        "n_failed": 1,
        "n_unfinished": 1,
        "last_at": AT.replace(day=3),
        "mean_s": 10.0,
    }
    latest = frame.transform(summary.latest_runs, jobs=["train", "retrain"]).collect()
    assert [row.job for row in latest] == ["train popularity", "retrain genre"]


def test_answers_are_counted_and_chosen_per_clip(spark):
    frame = rows(
        spark,
        MATCHES,
        match("a", accepted=True, song_id=1, p_value=1e-5),
        match("a", start_s=9.0, accepted=True, song_id=2, p_value=1e-9),
        match("a", start_s=20.0, song_id=3, p_value=0.5),
        match("a", rank=2, song_id=9, p_value=0.9),
        match("b", song_id=1, p_value=0.04),
        match("c", error="gone"),
        *(match("d", start_s=30.0 * i, accepted=True, song_id=1, p_value=0.0) for i in range(15)),
    )
    assert dicts(frame.transform(summary.verdicts)) == [
        {"n_clips": 4, "n_identified": 2, "n_rejected": 1, "n_segments": 17, "n_songs": 2}
    ]
    counts = {(r.digits, r.accepted): r.n for r in summary.certainty_counts(frame).collect()}
    assert counts == {(5, True): 1, (9, True): 1, (0, False): 1, (1, False): 1, (20, True): 15}

    shown = frame.transform(summary.shown_answers, n_clips=3).orderBy("clip_path", "clip_start_s")
    assert [(r.clip_path, r.clip_start_s, r.is_surest, r.n_segments) for r in shown.collect()] == [
        *(("a", 0.0, False, 2), ("a", 9.0, True, 2), ("b", 0.0, True, 0), ("c", 0.0, True, 0))
    ]
    long = frame.transform(summary.shown_answers, n_clips=9).filter("clip_path = 'd'").collect()
    assert len(long) == 12
    assert sum(row.is_surest for row in long) == 1


def test_predictions_are_summarised_by_model(spark):
    frame = rows(
        spark,
        PREDICTIONS,
        {"model": "genre", "genre_set": ["a"], "confidence": 0.9},
        {"model": "genre", "genre_set": ["a", "b", "c"], "confidence": 0.9},
        {"model": "popularity", "popularity": 4.0, "popularity_low": 1.0, "popularity_high": 9.0},
    )
    genre, popularity = dicts(frame.transform(summary.prediction_states))
    assert (genre["n_songs"], genre["mean_set_size"], genre["share_single"]) == (2, 2.0, 0.5)
    assert genre["mean_width"] is None
    assert (popularity["mean_width"], popularity["mean_set_size"]) == (8.0, None)


@pytest.fixture
def make_report(spark, warehouse, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(*words: str) -> str:
        parser = argparse.ArgumentParser()
        report.add_arguments(parser)
        args = parser.parse_args(words)
        report.check(args)
        assert report.run(spark, Config(warehouse=warehouse), args) == 0
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return make


def headings(html: str) -> list[str]:
    return re.findall(r'<section id="(\w+)"', html)


def write_evaluation(folder: Path) -> None:
    folder.mkdir()
    names = "condition,length_s,n,top1,placed,accepted"
    (folder / "robustness.csv").write_text(f"{names}\nx,5,2,50,50,0")
    (folder / "calibration.csv").write_text("asked,observed,low,high,n\n0.1,0.2,0.1,0.3,9")


def test_empty_warehouse_has_a_page_that_says_so(tmp_path, make_report):
    write_evaluation(tmp_path / "evaluation")  # belongs to another warehouse
    assert headings(make_report()) == ["nothing"]
    assert headings(make_report("--evaluation", "evaluation")) == ["evaluation"]


def test_models_alone_have_a_page(spark, warehouse, make_report):
    creation.create_for_models(spark, warehouse)
    numbers = {"source": "csv", "song_id": 1, "numbers": {"x": 1.0}, "computed_at": AT}
    writes.append(rows(spark, FEATURES, numbers), warehouse, FEATURES)
    folder = Path(open_registry(spark, warehouse).root, "genre")
    for path, content in (
        ("1/card.json", card("1", 0.7)),
        ("aliases/00000001.json", {"champion": "1", "at": AT.isoformat(), "why": "trained"}),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(content))
    html = make_report()
    assert headings(html) == ["models", "retraining"]
    assert "Versions of genre" in html
    assert ">champion<" in html


def test_index_and_run_have_a_page_with_players(spark, warehouse, tmp_path, make_report):
    creation.create(spark, warehouse, params=FingerprintParams(), prefix_bits=1)
    sound = np.random.default_rng(1).normal(0, 0.1, 24_000 * 6).astype(np.float32)
    song, clip = tmp_path / "m" / "song.wav", tmp_path / "<b>clip.wav"
    song.parent.mkdir()
    soundfile.write(song, sound, 24_000)
    soundfile.write(clip, sound[24_000 : 24_000 * 5], 24_000)
    named = {"song_id": 1, "title": HOSTILE[0], "artist": HOSTILE[1], "duration_s": 6.0}
    writes.append(rows(spark, SONGS, named | {"n_fingerprints": 9}), warehouse, SONGS)
    file = {"path": str(song), "root": str(song.parent), "song_id": 1, "status": "indexed"}
    writes.append(rows(spark, SONG_FILES, file), warehouse, SONG_FILES)
    found = {"song_id": 1, "offset_s": 1.0, "speed": 1.0, "pitch": 1.0, "accepted": True}
    matches = [
        match(str(clip), **found, p_value=1e-9),
        match("/gone/z.wav", **found, p_value=1e-4, run_id="r1"),
        match("/gone/y.wav", error="gone"),
    ]
    writes.append(rows(spark, MATCHES, *matches), warehouse, MATCHES)
    config = Config().model_dump_json()
    runs = [
        {"run_id": f"r{n}", "job": job, "status": status, "started_at": AT.replace(minute=n)}
        for n, job, status in (
            (1, "identify", "done"),
            (2, "identify", "done"),
            (3, "identify", "failed"),
            (4, "index", "done"),
            (5, "evaluate", "done"),
        )
    ]
    writes.append(rows(spark, RUNS, *(run | {"config": config} for run in runs)), warehouse, RUNS)
    write_evaluation(tmp_path / "evaluation")

    html = make_report()
    assert headings(html) == ["index", "identification", "evaluation", "jobs"]
    assert "Run r2 of" in html
    assert "Answers for 2 of 2 clips" in html
    assert html.count("data:audio/mpeg;base64,") == 2
    shared, of = map(int, re.search(r"(\d+) of (\d+) landmarks", html).groups())
    assert shared > 0.9 * of > 10
    assert "z.wav" not in html
    assert ">unreadable<" in html
    assert "<b>clip" not in html
    assert "&lt;b&gt;clip.wav" in html
    assert str(tmp_path) not in html

    html = make_report("--run", "r1", "--clips", "0")
    assert "Run r1 of" in html
    assert "data:audio" not in html
    with pytest.raises(UsageError, match=r"'r4' .*not a run of identify .* r2, r1"):
        make_report("--run", "r4")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--output", "r.pdf"], r"\.html"),
        (["--output", "/absent/r.html"], "folder does not exist"),
        (["--clips", "-1"], "0 to 1000"),
        (["--evaluation", "/absent"], "robustness.csv"),
    ],
)
def test_wrong_arguments_are_refused_before_spark(words, said):
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    with pytest.raises(UsageError, match=said):
        report.check(parser.parse_args(words))
