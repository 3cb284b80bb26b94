"""Fixtures for all tests: a shared Spark session, a seeded generator, an empty warehouse."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

from tests import rounds

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


# Time says nothing of a test: the first example compiles kernels, and machines are shared.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """Name the marks: `pytest -m "not cluster"` is for machines with few cores."""
    config.addinivalue_line("markers", "cluster: starts a standalone Spark cluster")
    config.addinivalue_line(
        "markers", "long: left to `make test-long`; LONG and LONG_TESTS say which they are"
    )
    # The main module of a process of pytest-xdist has no file, by which pyspark.sql.connect takes
    # it for a doctest of its own, and exits where it lacks packages that we do not need.
    sys.modules["__main__"].__dict__.setdefault("__file__", __file__)


# Files of tests that take minutes, or what not every machine has: they are no part of `make test`.
LONG = {
    **dict.fromkeys(("test_kill.py", "test_rounds.py"), "jobs that are killed, again and again"),
    **dict.fromkeys(("test_disk_full.py", "test_clock.py"), "full disks, clocks that jump"),
    **dict.fromkeys(("test_cluster.py", "test_processes.py"), "clusters, jobs beside each other"),
    **dict.fromkeys(("test_start.py", "test_submit.py"), "Sparks of their own, one after another"),
    "test_file_order.py": "a Spark that has to spill",
    "test_s3.py": "an S3 server",
    "test_users.py": "three people's first day",
    **dict.fromkeys(("test_notebooks.py", "test_demo.py"), "notebooks and the tour"),
    "test_report_browser.py": "a browser",
    "test_shown.py": "every command of the pages",
    "test_package.py": "a wheel in an environment of its own",
    "test_watch.py": "streams that wait",
    "test_retrain.py": "models, trained time after time",
    "test_commands.py": "commands at once, each in a process of its own",
    "test_strange_warehouse.py": "all commands, one after another",
    "test_hostile_folder.py": "a folder of traps, and decoders that hang",
    "test_hostile_index.py": "decoders that hang until their time is over",
}


# Tests of other files that take long, because they are of many commands or commits, or because a
# shorter one beside them shows the same of one case.
LONG_TESTS = {
    "spark/test_maintain.py": (
        "test_another_prefix_moves_all_rows_in_one_commit",
        "test_a_run_between_its_commits_is_spared_and_one_taken_for_dead_cannot_go_on",
        "test_rows_that_stand_twice_are_made_single",
        "test_what_others_commit_between_reading_and_writing_is_kept",
        "test_jobs_at_the_same_time_all_end_well",
        "test_while_a_state_comes_back_readers_see_whole_songs",
        "test_what_a_wrong_clock_dated_is_swept_like_any_other",
        "test_a_run_that_a_jump_makes_look_dead_commits_nothing_and_can_stage_again",
        "test_damage_is_named_by_the_check_and_mended",
        "test_an_earlier_state_comes_back_whole",
        "test_a_purge_deletes_what_was_removed_for_good",
        "test_a_purge_under_a_running_job_is_refused",
        "test_a_sweep_takes_what_dead_runs_left_and_that_alone",
    ),
    "spark/test_warehouse.py": ("test_examples",),
    "spark/test_hostile_csv.py": (
        "test_a_quote_that_is_never_closed_over_more_than_a_cell_costs_its_row",
    ),
    "spark/test_sql.py": ("test_every_recipe_runs_and_begins_with_what_it_tells",),
    "spark/test_write.py": (
        "test_a_run_waits_for_the_end_of_a_sweep_and_ends_that_of_a_dead_one",
        "test_a_run_that_commits_while_its_stage_is_fenced_commits_all_or_nothing",
        "test_a_song_that_is_removed_at_once_is_no_sign_of_a_sweep",
        "test_a_prefix_that_changes_under_a_run_is_that_of_its_rows",
    ),
    "spark/test_report.py": ("test_an_index_and_a_run_have_a_page_with_players",),
    "spark/test_layout.py": ("test_the_frozen_layout_reads_identifies_indexes_and_is_maintained",),
    "spark/test_registry.py": (
        "test_a_death_in_between_leaves_the_champion_of_mlflow",
        "test_mlflow_knows_aliases_signature_and_metrics",
    ),
    "spark/test_training.py": (
        "test_the_same_rows_in_another_order_give_the_same_model",
        "test_class_weights_raise_the_recall_of_rare_classes",
        "test_cross_validation_with_models_scores_as_a_fit_does",
    ),
    "spark/test_recommend.py": (
        "test_training_twice_gives_the_same_lists_and_they_can_be_asked",
        "test_retraining_repeats_what_was_asked_for",
        "test_without_titles_whole_keys_are_listed",
    ),
    "e2e/test_honesty.py": ("test_a_session_on_a_table_that_deceives",),
    "e2e/test_maintain.py": ("test_the_life_of_an_index",),
    "e2e/test_features.py": (
        "test_changed_files_replace_their_songs",
        "test_run_that_died_goes_on_where_it_was[half of the features]",
        "test_another_version_describes_every_song_anew",
    ),
    "e2e/test_index.py": (
        "test_changed_file_replaces_its_song",
        "test_a_renamed_file_takes_its_song_along",
        "test_file_that_breaks_loses_its_song",
        "test_two_folders_after_each_other_or_at_once",
        "test_batches_give_the_same_index",
        "test_run_that_another_took_for_dead_goes_on",
        "test_what_is_known_of_a_removed_song_goes_with_it",
    ),
    "e2e/test_identify.py": (
        "test_without_a_record_the_tables_stay_as_they_are[spark]",
        "test_candidates_and_other_formats[parquet]",
        "test_evaluate_reports_what_is_found_and_what_chance_does",
    ),
    "e2e/test_models.py": (
        "test_retraining_one_snapshot_gives_the_same_figures_and_no_new_champion",
        "test_a_champion_by_hand_and_back",
        "test_a_number_is_learned_with_boosted_trees_and_has_intervals",
    ),
    "faults/test_commits.py": ("test_a_commit_that_is_held_before_its_rename_replaces_nothing",),
}


def is_long(file: str, name: str) -> bool:
    """Whether a test, by its file below tests/ and its name, is left to `make test-long`."""
    known = LONG_TESTS.get(file, ())
    return Path(file).name in LONG or name in known or name.partition("[")[0] in known


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the long tests."""
    here = Path(__file__).parent
    for item in items:
        if is_long(item.path.relative_to(here).as_posix(), item.name):
            item.add_marker(pytest.mark.long)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end which rounds of chance there were, and how they ended."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.getreports(kind)]
    lines = rounds.summary(reports)
    if lines:
        terminalreporter.section("rounds of faults")
        terminalreporter.write("\n".join([*lines, ""]))


@pytest.fixture(scope="session")
def _spark_session() -> Iterator[SparkSession]:
    """One session for the run: made on first use, so that unit tests never start a JVM."""
    from sonic_lib.spark.session import spark_job

    conf = {
        # Tiny frames: each shuffle partition is a task, each task costs more than its data.
        "spark.sql.shuffle.partitions": "2",
        # Adaptive plans re-plan every stage: time without a gain at this size.
        "spark.sql.adaptive.enabled": "false",
        # Nor does so little data earn back the code that is written and compiled for each plan;
        # what the tests run as processes of their own does compile.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.databricks.delta.snapshotPartitions": "1",
        # Nobody looks at Spark's pages: neither write plans out for them nor keep what they show.
        "spark.sql.ui.explainMode": "simple",
        "spark.sql.maxPlanStringLength": "1000",
        "spark.sql.ui.retainedExecutions": "1",
        **dict.fromkeys((f"spark.ui.retained{what}" for what in ("Jobs", "Stages", "Tasks")), "1"),
        # The first compiler only: a short run never earns back the second.
        # It gets 48 MB for what it made, which a session of many tests fills. Else a sixth of the
        # time goes into collecting garbage: whenever classes have taken some more room, and in a
        # young generation too small for what planning throws away.
        "spark.driver.defaultJavaOptions": (
            "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC "
            "-XX:MetaspaceSize=400m -Xms1200m -Xmn600m "
            "-XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
        ),
        # Enough for tests, and leaves room beside other runs.
        "spark.driver.memory": "2g",
    }
    with spark_job(app_name="tests", master="local[2]", conf=conf) as spark:
        yield spark


@pytest.fixture
def spark(_spark_session: SparkSession) -> Iterator[SparkSession]:
    """The shared session, whose catalog each test finds empty."""
    yield _spark_session
    _spark_session.catalog.clearCache()
    # By SQL: to list them by `catalog`, code has to be compiled.
    for view in _spark_session.sql("SHOW VIEWS").filter("isTemporary").collect():
        _spark_session.catalog.dropTempView(view.viewName)
    for (database,) in _spark_session.sql("SHOW DATABASES").collect():
        if database != "default":
            _spark_session.sql(f"DROP DATABASE `{database}` CASCADE")


@pytest.fixture
def warehouse(tmp_path: Path) -> str:
    """The root of a warehouse that does not exist yet, with a name that needs quoting."""
    return str(tmp_path / "ware house")


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(seed=440)
