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


# No deadline: the first example compiles kernels, and machines are shared.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marks: `pytest -m "not cluster"` is for machines with few cores."""
    config.addinivalue_line("markers", "cluster: starts a standalone Spark cluster")
    config.addinivalue_line(
        "markers", "long: runs only in `make test-long`; listed in LONG and LONG_TESTS"
    )
    # In a pytest-xdist worker, __main__ has no file. pyspark.sql.connect then takes it for one of
    # its doctests, and exits because of missing packages that we do not need.
    sys.modules["__main__"].__dict__.setdefault("__file__", __file__)


# Test files that take minutes, or need something not every machine has; not run by `make test`.
LONG = {
    **dict.fromkeys(("test_kill.py", "test_rounds.py"), "jobs killed repeatedly"),
    **dict.fromkeys(("test_disk_full.py", "test_clock.py"), "full disks, clock jumps"),
    **dict.fromkeys(("test_cluster.py", "test_processes.py"), "clusters, concurrent jobs"),
    **dict.fromkeys(("test_start.py", "test_submit.py"), "separate Spark processes"),
    "test_file_order.py": "sorts that spill",
    "test_s3.py": "an S3 server",
    "test_users.py": "user scripts",
    **dict.fromkeys(("test_notebooks.py", "test_demo.py"), "notebooks and the demo"),
    "test_report_browser.py": "a browser",
    "test_shown.py": "every command in the docs",
    "test_package.py": "a wheel in a separate environment",
    "test_watch.py": "streams",
    "test_retrain.py": "repeated training",
    "test_commands.py": "concurrent commands in separate processes",
    "test_strange_warehouse.py": "all commands in sequence",
    "test_hostile_folder.py": "hostile files, and decoders that hang",
    "test_hostile_index.py": "decoders that hang until they time out",
}


# Slow tests of other files: they run many commands or commits, or a faster test next to them covers
# the main case.
LONG_TESTS = {
    "spark/test_maintain.py": (
        "test_repartitioning_moves_all_rows_in_one_commit",
        "test_sweep_spares_a_live_run_and_stops_one_taken_for_dead",
        "test_duplicate_rows_are_removed",
        "test_commits_between_reading_and_writing_are_kept",
        "test_concurrent_jobs_all_succeed",
        "test_sweep_removes_only_what_dead_runs_left",
    ),
    "spark/test_recovery.py": (
        "test_readers_see_complete_songs_during_a_restore",
        "test_files_with_wrong_dates_are_swept",
        "test_run_that_looks_dead_after_a_clock_jump_can_stage_again",
        "test_check_names_damaged_files_and_maintain_repairs_them",
        "test_earlier_version_is_restored_completely",
        "test_purge_deletes_removed_songs_for_good",
        "test_purge_during_a_running_job_is_refused",
    ),
    "spark/test_warehouse.py": ("test_examples",),
    "spark/test_hostile_csv.py": ("test_unclosed_quote_longer_than_a_cell_costs_its_row",),
    "spark/test_sql.py": ("test_every_cookbook_query_runs_and_starts_with_its_description",),
    "spark/test_write.py": (
        "test_run_waits_for_a_sweep_and_finishes_one_of_a_dead_run",
        "test_run_whose_stage_is_fenced_meanwhile_commits_all_or_nothing",
        "test_song_removed_immediately_is_not_mistaken_for_a_sweep",
        "test_prefix_changed_during_a_run_is_applied_to_its_rows",
    ),
    "spark/test_report.py": ("test_index_and_run_have_a_page_with_players",),
    "spark/test_layout.py": ("test_frozen_layout_can_be_read_extended_and_maintained",),
    "spark/test_registry.py": (
        "test_crash_during_promotion_keeps_the_mlflow_champion",
        "test_mlflow_stores_aliases_signature_and_metrics",
    ),
    "spark/test_training.py": (
        "test_row_order_does_not_change_the_model",
        "test_class_weights_raise_the_recall_of_rare_classes",
        "test_cross_validation_scores_like_a_fit",
        "test_final_model_uses_all_rows_and_is_evaluated_out_of_sample[cluster-fame]",
    ),
    "spark/test_recommend.py": (
        "test_training_twice_gives_the_same_lists",
        "test_retraining_reuses_the_options",
        "test_without_titles_whole_keys_are_listed",
    ),
    "e2e/test_honesty.py": ("test_session_on_a_misleading_table",),
    "e2e/test_maintain.py": ("test_life_cycle_of_an_index",),
    "e2e/test_features.py": (
        "test_changed_files_replace_their_songs",
        "test_interrupted_run_resumes[half of the features]",
        "test_new_version_describes_every_song_again",
    ),
    "e2e/test_index.py": (
        "test_changed_file_replaces_its_song",
        "test_renamed_file_keeps_its_song",
        "test_damaged_file_loses_its_song",
        "test_two_folders_in_sequence_or_together_give_the_same_index",
        "test_batches_give_the_same_index",
        "test_run_does_without_the_stages_that_it_has_committed",
        "test_run_that_was_taken_for_dead_resumes",
        "test_remove_deletes_everything_computed_from_a_song",
    ),
    "e2e/test_identify.py": (
        "test_no_record_leaves_the_tables_unchanged[spark]",
        "test_candidates_and_other_formats[parquet]",
        "test_evaluate_reports_recall_and_false_accepts",
    ),
    "e2e/test_models.py": (
        "test_retraining_on_the_same_snapshot_promotes_no_new_champion",
        "test_manual_promotion_and_rollback",
        "test_numeric_target_has_boosted_trees_and_intervals",
    ),
    "faults/test_commits.py": ("test_commit_delayed_before_its_rename_replaces_nothing",),
}


def is_long(file: str, name: str) -> bool:
    """Whether a test, given its file below tests/ and its name, runs only in `make test-all`."""
    known = LONG_TESTS.get(file, ())
    return Path(file).name in LONG or name in known or name.partition("[")[0] in known


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the long tests."""
    here = Path(__file__).parent
    for item in items:
        if is_long(item.path.relative_to(here).as_posix(), item.name):
            item.add_marker(pytest.mark.long)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the rounds of random faults and their results."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.getreports(kind)]
    lines = rounds.summary(reports)
    if lines:
        terminalreporter.section("rounds of faults")
        terminalreporter.write("\n".join([*lines, ""]))


@pytest.fixture(scope="session")
def _spark_session() -> Iterator[SparkSession]:
    """One session per run, created on first use, so that unit tests never start a JVM."""
    from sonic_lib.spark.session import spark_job

    conf = {
        # Small frames: each shuffle partition is a task, and a task costs more than its data.
        "spark.sql.shuffle.partitions": "2",
        # Adaptive execution replans every stage, which gains nothing at this size.
        "spark.sql.adaptive.enabled": "false",
        # Code generation does not pay off at this size either; tests that start their own processes
        # do use it.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.databricks.delta.snapshotPartitions": "1",
        # Nobody opens the Spark UI, so do not format plans or keep history.
        "spark.sql.ui.explainMode": "simple",
        "spark.sql.maxPlanStringLength": "1000",
        "spark.sql.ui.retainedExecutions": "1",
        **dict.fromkeys((f"spark.ui.retained{what}" for what in ("Jobs", "Stages", "Tasks")), "1"),
        # C1 only: a short run never earns back C2, and gets 48 MB of code cache, which a session of
        # many tests fills. The heap sizes avoid spending a sixth of the time on garbage collection,
        # triggered by metaspace growth and by a young generation too small for query planning.
        "spark.driver.defaultJavaOptions": (
            "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC "
            "-XX:MetaspaceSize=400m -Xms1200m -Xmn600m "
            "-XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
        ),
        # Enough for the tests, and leaves memory for concurrent runs.
        "spark.driver.memory": "2g",
    }
    with spark_job(app_name="tests", master="local[2]", conf=conf) as spark:
        yield spark


@pytest.fixture
def spark(_spark_session: SparkSession) -> Iterator[SparkSession]:
    """The shared session; each test starts with an empty catalog."""
    yield _spark_session
    _spark_session.catalog.clearCache()
    # In SQL: listing them through `catalog` compiles code.
    for view in _spark_session.sql("SHOW VIEWS").filter("isTemporary").collect():
        _spark_session.catalog.dropTempView(view.viewName)
    for (database,) in _spark_session.sql("SHOW DATABASES").collect():
        if database != "default":
            _spark_session.sql(f"DROP DATABASE `{database}` CASCADE")


@pytest.fixture
def warehouse(tmp_path: Path) -> str:
    """The root of a warehouse that does not exist yet; its name needs quoting."""
    return str(tmp_path / "ware house")


@pytest.fixture
def rng() -> np.random.Generator:
    """A random generator with a fixed seed."""
    return np.random.default_rng(seed=440)
