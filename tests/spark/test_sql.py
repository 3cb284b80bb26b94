"""Views, table functions and the cookbook on a small real warehouse, filled once."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest
import soundfile
from pyspark.errors import PySparkException

from sonic_lib.cli.commands.sql import split_statements
from sonic_lib.cli.main import main
from sonic_lib.fingerprint.params import SAMPLE_RATE_HZ
from sonic_lib.schemas import FEATURES, PREDICTIONS, RECOMMENDATIONS, RUNS
from sonic_lib.sql import views
from sonic_lib.storage import creation, writes
from sonic_lib.synth.composer import synth_song

COOKBOOK = dict(views.statements("cookbook"))
VIEWS = dict(views.statements("views"))
NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=timezone.utc)
START_S = 4.0
# Without ambiguous answers, killed runs and unusual songs, these return no rows.
MAY_BE_EMPTY = {
    *("ambiguous_answers", "clips_at_other_speeds", "density_outliers", "runs_that_failed"),
    *("songs_that_share_hashes",),
}


@pytest.fixture(scope="module")
def filled(_spark_session, tmp_path_factory) -> SimpleNamespace:
    """Three songs (one of them twice), a bad file, two identified clips, and some model rows."""
    place = tmp_path_factory.mktemp("sql")
    songs, clips, warehouse = place / "songs", place / "clips", str(place / "ware house")
    songs.mkdir()
    clips.mkdir()
    for seed, style in enumerate(["folk", "techno", "folk"]):
        song = synth_song(seed, style=style, duration_s=12.0, sample_rate_hz=SAMPLE_RATE_HZ)
        if seed == 2:  # not in the index
            soundfile.write(clips / "unknown.wav", song[: 5 * SAMPLE_RATE_HZ], SAMPLE_RATE_HZ)
            break
        soundfile.write(songs / f"{style}.wav", song, SAMPLE_RATE_HZ)
    soundfile.write(songs / "folk again.wav", *soundfile.read(songs / "folk.wav"))
    (songs / "letter.mp3").write_text("no sound " * 500)
    folk = soundfile.read(songs / "folk.wav")[0]
    start = int(START_S * SAMPLE_RATE_HZ)
    soundfile.write(clips / "folk.wav", folk[start : start + 5 * SAMPLE_RATE_HZ], SAMPLE_RATE_HZ)
    (clips / "letter.wav").write_text("no sound " * 500)
    assert main(["index", str(songs), "--warehouse", warehouse]) == 0
    command = ["identify", str(clips), "--warehouse", warehouse, "--engine", "local"]
    assert main([*command, "--candidates", "2"]) == 0
    _add_models(_spark_session, warehouse)
    return SimpleNamespace(warehouse=warehouse, clips=clips)


def _add_models(spark, warehouse: str) -> None:
    """Add a few rows as written by training and prediction."""

    def add(table, *rows: dict) -> None:
        rows = [tuple(row.get(name) for name in table.schema.names) for row in rows]
        writes.append(spark.createDataFrame(rows, table.schema), warehouse, table)

    creation.create_for_models(spark, warehouse)
    add(
        FEATURES,
        *(
            {"source": "audio", "song_id": i, "numbers": {"tempo": 100.0 + i}, "texts": texts}
            for i, texts in enumerate([{"title": "a", "genre": "folk"}, {"title": "b"}])
        ),
    )
    genres = {"model": "genre", "source": "audio", "song_id": 0, "genre": "jazz"}
    add(PREDICTIONS, genres | {"genre_set": ["jazz", "pop"], "genre_probability": 0.5})
    pair = {"source": "audio", "song_id": 0, "rank": 1, "recommended_song_id": 1}
    add(RECOMMENDATIONS, pair | {"similarity": 0.5})
    run = {"status": "done", "started_at": NOW, "ended_at": NOW}
    add(
        RUNS,
        run | {"run_id": "1", "job": "train genre", "counts": {"f1_micro": 0.5, "seconds": 9.0}},
        run | {"run_id": "2", "job": "retrain genre", "counts": {"f1_micro": 0.75}},
        run | {"run_id": "3", "job": "train genre", "counts": {"seconds": 30.0}},
    )


@pytest.fixture
def query(spark, filled):
    """Run a cookbook query or other statement on the warehouse."""

    def run(text: str):
        clips = f"binaryFile.`{filled.clips}`"
        *others, last = split_statements(text.replace("binaryFile.`/clips`", clips))
        for statement in others:
            spark.sql(statement)
        return spark.sql(last)

    assert main(["sql", "SELECT 1", "--warehouse", filled.warehouse]) == 0
    return run


def test_every_cookbook_query_runs_and_starts_with_its_description(query):
    assert len(COOKBOOK) >= 20
    empty = {name for name, text in COOKBOOK.items() if query(text).isEmpty()}
    assert empty <= MAY_BE_EMPTY
    assert all(text.startswith("-- ") for text in COOKBOOK.values())


def test_sql_alone_identifies_clips(query):
    found = {
        row.path.rpartition("/")[2]: row for row in query(COOKBOOK["identify_a_folder"]).collect()
    }
    assert found["folk.wav"].title.startswith("folk")
    assert found["folk.wav"].offset_s == pytest.approx(START_S, abs=0.1)
    assert "letter.wav" not in found
    unknown = found["unknown.wav"].evidence_nats if "unknown.wav" in found else 0.0
    assert found["folk.wav"].evidence_nats > 5 * unknown


def test_table_function_returns_the_rows_of_the_table(query):
    made = query(
        "SELECT hash_prefix, hash, offset_frames, error FROM "
        "(SELECT content FROM binaryFile.`/clips` WHERE path LIKE '%letter%'), "
        "LATERAL fingerprint_audio(content)"
    ).collect()
    assert [row[:3] for row in made] == [(None, None, None)]
    assert made[0].error
    song = query("SELECT path, song_id FROM sonic.song_files WHERE path LIKE '%techno%'").first()
    made = query(
        f"SELECT f.* FROM binaryFile.`{song.path}`, LATERAL fingerprint_audio(content) AS f"
    ).drop("error")
    stored = query(
        "SELECT hash_prefix, hash, offset_frames, descriptor FROM sonic.fingerprints "
        f"WHERE song_id = {song.song_id}"
    )
    assert sorted(made.collect()) == sorted(stored.collect())


def test_view_columns_have_comments(query, spark):
    for name, text in VIEWS.items():
        described = {row.col_name: row.comment for row in query(f"DESCRIBE sonic.{name}").collect()}
        assert all(described.values()), name
        assert f"VIEW sonic.{name} (" in text
        query(f"SELECT * FROM sonic.{name}").collect()
    assert spark.catalog.getTable("sonic.catalogue").description.startswith("One row per song")


def test_views_return_rows(query):
    catalogue = query("SELECT n_files, n_fingerprints, fingerprints_per_s FROM sonic.catalogue")
    assert sorted(row.n_files for row in catalogue.collect()) == [1, 2]
    reject = query("SELECT * FROM sonic.rejects").first()
    assert reject.example_path.endswith("letter.mp3")
    places = query("SELECT metric, run_id, place FROM sonic.model_leaderboard ORDER BY ALL")
    expected = [
        ("f1_micro", "1", 2),
        ("f1_micro", "2", 1),
        ("seconds", "1", 1),
        ("seconds", "3", 2),
    ]
    assert [tuple(row) for row in places.collect()] == expected
    playlist = query("SELECT title, recommended_title FROM sonic.playlists").first()
    assert tuple(playlist) == ("a", "b")


def test_views_of_missing_tables_are_omitted(spark):
    assert views.create(spark, []) == []


def test_shell_continues_after_an_error(filled, spark, monkeypatch, capsys, tmp_path):
    typed = iter(["SELECT nonsense;", "SELECT 40", "+ 2 AS answer; SELECT 'a;b' AS c;"])

    def type_(_):
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("builtins.input", type_)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    assert main(["sql", "--warehouse", filled.warehouse]) == 0
    printed = capsys.readouterr()
    assert "nonsense" in printed.err
    assert "answer" in printed.out
    assert "42" in printed.out
    assert "a;b" in printed.out


def test_columns_of_one_name_are_told_apart(filled, tmp_path, capsys):
    statement = "SELECT 1 AS a, 2 AS b, 3 AS a"
    output = tmp_path / "x.csv"
    warehouse = ["--warehouse", filled.warehouse]
    assert main(["sql", statement, *warehouse, "--output", str(output)]) == 0
    assert output.read_text() == "a,b,a_2\n1,2,3\n"
    capsys.readouterr()
    assert main(["sql", statement, *warehouse, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == [{"a": 1, "b": 2, "a_2": 3}]


def test_piped_statements_stop_at_the_first_error(filled, spark, monkeypatch):
    monkeypatch.setattr("sys.stdin", open_text("SELECT 1;\nSELECT nonsense"))
    assert main(["sql", "--warehouse", filled.warehouse]) == 1


def test_unknown_table_is_answered_with_the_existing_ones(filled, spark, capfd):
    assert main(["sql", "SELECT * FROM sonic.song", "--warehouse", filled.warehouse]) == 2
    told = capfd.readouterr().err
    assert "sonic.song" in told
    assert "Did you mean sonic.songs?" in told
    assert "sonic.latest_matches" in told


@pytest.mark.parametrize("wrong", ["SELECT nonsense FROM sonic.songs", "SELEC 1"])
def test_statement_errors_are_one_line_without_codes(filled, spark, capfd, wrong):
    assert main(["sql", wrong, "--warehouse", filled.warehouse]) == 1
    told = capfd.readouterr().err
    assert re.fullmatch(r"sonic: [A-Z].*\(line 1, pos \d+\)\n", told)
    assert not re.search(r"SQLSTATE|\[[A-Z_]+|Logger|Project", told)


def open_text(text: str):
    lines = text.splitlines(keepends=True)

    class Piped(list):
        def isatty(self) -> bool:
            return False

    return Piped(lines)


def test_error_in_a_cookbook_query_is_detected(query):
    with pytest.raises(PySparkException):
        query("SELECT nothing FROM sonic.songs")
