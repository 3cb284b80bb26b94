"""Calls of the Python API that are refused, or need more of Spark, before it starts."""

from __future__ import annotations

import inspect

import pytest

import sonic_lib
from sonic_lib.cli.commands import recommend
from sonic_lib.cli.parser import VERBS, make_parser
from sonic_lib.config import Config
from sonic_lib.errors import UsageError
from sonic_lib.warehouse import Warehouse
from sonic_lib.workflows import answers, exploration, recommendation, upkeep


@pytest.fixture
def started(monkeypatch) -> list[bool]:
    """Whether each session was started with S3."""
    with_s3 = []

    def start(**options):
        with_s3.append(options["with_s3"])
        raise KeyboardInterrupt

    monkeypatch.setattr("sonic_lib.spark.session.spark_session", start)
    return with_s3


@pytest.mark.parametrize(
    ("warehouse", "songs", "with_s3"),
    [
        ("lake", "s3a://bucket/music", True),
        ("s3a://bucket/lake", "music", True),
        ("lake", "music", False),
    ],
)
def test_songs_or_tables_in_s3_start_spark_with_it(tmp_path, started, warehouse, songs, with_s3):
    place = warehouse if "://" in warehouse else tmp_path / warehouse
    with pytest.raises(KeyboardInterrupt):
        sonic_lib.open_warehouse(place).index(songs, prune=True)
    assert started == [with_s3]


def test_credentials_in_a_path_are_refused(tmp_path, started):
    lake = sonic_lib.open_warehouse(tmp_path)
    with pytest.raises(UsageError, match="contains a password") as refused:
        lake.index("s3a://AKIA:sesame@bucket/music")
    assert "sesame" not in str(refused.value)
    assert started == []


def test_calls_without_music_or_a_table_are_refused(tmp_path, started):
    lake = sonic_lib.open_warehouse(tmp_path / "lake")
    empty = tmp_path / "unmounted"
    empty.mkdir()
    (tmp_path / "table.csv").write_text("track_id,tempo\n1,120\n")
    for method in (lake.index, lake.extract_features):
        with pytest.raises(UsageError, match="no audio file"):
            method(empty)
    for csv, told in ((empty, "an empty folder"), (tmp_path / "no.csv", "does not exist")):
        with pytest.raises(UsageError, match=told):
            lake.import_features(csv, source="charts")
    with pytest.raises(UsageError, match="no such column; there are track_id, tempo"):
        lake.import_features(tmp_path / "table.csv", source="charts", id_column="song")
    assert started == []


@pytest.mark.parametrize("n_listed", [0, -1, 29])
def test_more_candidates_than_are_searched_for_are_refused(n_listed):
    with pytest.raises(UsageError, match=rf"n_listed {n_listed} .*expected 1 to 28"):
        answers.n_asked(n_listed)


@pytest.mark.parametrize("n_sample", [9, 20_001])
def test_a_sample_out_of_range_is_refused(n_sample):
    with pytest.raises(UsageError, match="expected 10 to 20000 songs"):
        exploration.explore_source(
            *(None, Config()), source=None, color=None, columns=None, n_sample=n_sample, seed=1
        )


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_a_number_of_similar_songs_out_of_range_is_refused(count):
    problem = rf"count {count} \(--count\): expected 1 to 1000 songs"
    with pytest.raises(UsageError, match=problem):
        recommendation.recommended(None, None, ["a song"], source=None, count=count)
    _, parsers = make_parser(["recommend"])
    with pytest.raises(UsageError, match=problem):
        recommend.check(parsers["recommend"].parse_args(["a song", "--count", str(count)]))


@pytest.mark.parametrize("grace_hours", [-1.0, float("inf"), float("nan")])
def test_a_period_of_grace_out_of_range_is_refused(grace_hours):
    with pytest.raises(UsageError, match="grace_hours"):
        upkeep.check(None, None, grace_hours=grace_hours)


def test_local_engine_reads_no_object_store(tmp_path):
    for warehouse, clips in (("s3a://bucket/lake", "clips"), (tmp_path, "s3a://bucket/clips")):
        with pytest.raises(UsageError, match="local files only"):
            sonic_lib.open_warehouse(warehouse).identify(clips, engine="local")


# Parameters of methods whose option has another name.
OPTIONS = {
    **{"n_clips": "clips", "lengths_s": "lengths", "n_songs": "songs", "n_sample": "sample"},
    **{"n_listed": "candidates", "n_folds": "folds", "kind": "model", "path": "output"},
    **{"run_id": "run", "id_column": "id"},
}
OTHER_VERBS = {
    **{"extract_features": "features", "import_features": "features"},
    "train_recommendations": "train",
}
# A method writes no files unless asked; a command has a word for "all".
OTHER_DEFAULTS = {("evaluate", "output"), ("predict", "model")}


def test_methods_and_commands_have_the_same_defaults():
    _, parsers = make_parser(VERBS)
    compared = set()
    for name, method in inspect.getmembers(Warehouse, inspect.isfunction):
        verb = OTHER_VERBS.get(name, name)
        actions = parsers[verb]._actions if verb in parsers else []
        defaults = {action.dest: action.default for action in actions if action.option_strings}
        for parameter in inspect.signature(method).parameters.values():
            option = OPTIONS.get(parameter.name, parameter.name)
            is_option = option in defaults and parameter.default is not parameter.empty
            if is_option and (name, parameter.name) not in OTHER_DEFAULTS:
                given = defaults[option]
                given = tuple(given) if isinstance(given, list) else given
                assert parameter.default == given, f"{name}, {parameter.name}"
                compared.add((name, parameter.name))
    assert len(compared) > 40
