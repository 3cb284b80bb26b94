"""Behaviour visible only in a separate process: exit codes, streams, a shared metastore."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sonic_lib.spark.jars import delta_jars
from sonic_lib.sql import views
from sonic_lib.storage import creation
from tests.e2e.conftest import ROOT, SPARK_HOME, submit_environment, versions


@pytest.fixture
def sonic(tmp_path):
    """Run the command line in a separate process and folder."""

    def run(*arguments: str) -> subprocess.CompletedProcess:
        environment = submit_environment() | {"PYTHONPATH": str(ROOT)}
        del environment["SPARK_CONF_DIR"]
        del environment["JAVA_TOOL_OPTIONS"]  # Java would print that it picked them up
        command = [sys.executable, "-m", "sonic_lib.cli.main", *arguments]
        return subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True
        )

    return run


def test_sql_prints_only_a_table(sonic, collection, indexed, tmp_path):
    statement = "SELECT status, count(*) AS n FROM sonic.song_files GROUP BY 1 ORDER BY 1"
    done = sonic("sql", statement, "--warehouse", indexed[0])
    assert (done.returncode, done.stderr) == (0, "")
    header, line, *rows = done.stdout.splitlines()
    assert (header, line) == ("status     n", "---------  -")
    assert [row.split() for row in rows] == [
        ["duplicate", "1"],
        ["indexed", str(len(collection.samples))],
        ["rejected", str(len(collection.rejected))],
    ]
    assert list(tmp_path.iterdir()) == []


def test_different_parameters_exit_with_1_and_one_paragraph(sonic, collection, indexed):
    before = versions(indexed[0])
    done = sonic(
        *["index", str(collection.folder), "--warehouse", indexed[0]],
        *["--set", "fingerprint.densities_per_s=[10]"],
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sonic: The fingerprints in ")
    assert len(done.stderr.splitlines()) == 1
    assert versions(indexed[0]) == before


def test_missing_folder_exits_with_2_and_creates_no_warehouse(sonic, tmp_path):
    done = sonic("index", "absent", "--warehouse", "lake")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'absent' does not exist" in done.stderr
    assert not Path(tmp_path, "lake").exists()


def test_registered_tables_and_views_are_visible_to_spark_sql(
    collection, indexed, submit, spark, tmp_path
):
    """Use a Hive metastore (Derby, as in conf/hive-site.xml) from two other programs."""
    home = ["--driver-java-options", f"-Duser.home={tmp_path}"]  # where the metastore is
    shutil.copytree(indexed[0], tmp_path / "lake's copy")
    warehouse = str(tmp_path / "lake's copy")

    def register() -> set[str]:
        hive = ["--conf", "spark.sql.catalogImplementation=hive"]
        words = ["--warehouse", warehouse, "--json"]
        done = submit("setup_tables.py", *words, options=[*home, *hive])
        assert done.returncode == 0, done.stderr
        return set(json.loads(done.stdout)["names"])

    before = register()
    assert {"sonic.fingerprints", "sonic.catalogue"} <= before
    # Register again with more tables: existing ones stay, and views of the new tables are added.
    creation.create_for_models(spark, warehouse)
    known = {f"sonic.{name}" for name, _ in views.statements("views")}
    assert {"sonic.genre_sets", "sonic.playlists"} <= known - before
    assert before | known < register()

    song = collection.folder / collection.copy
    script = f"{sys.executable} -m sonic_lib.sql.transform_script audio"
    counts = [f"SELECT '{view}', count(*) FROM {view}" for view in sorted(known)]
    statements = f"""
    SELECT 'join', count(DISTINCT song_id) FROM sonic.fingerprints JOIN sonic.songs USING (song_id);
    {" UNION ALL ".join(counts)};
    DESCRIBE sonic.catalogue fingerprints_per_s;
    SELECT 'stored', n_fingerprints FROM sonic.songs JOIN sonic.song_files USING (song_id)
    WHERE path = '{song}';
    SELECT 'made', count(*) FROM (
      SELECT TRANSFORM(path, hex(content)) USING '{script}'
        AS (path STRING, hash_prefix INT, hash BIGINT, offset_frames INT, descriptor INT,
            error STRING)
      FROM binaryFile.`{song}`
    ) LEFT SEMI JOIN sonic.fingerprints USING (hash_prefix, hash, offset_frames);
    """
    done = subprocess.run(
        [
            *[SPARK_HOME / "bin" / "spark-sql", *home],
            *["--jars", ",".join(delta_jars()), "-e", statements],
        ],
        env=submit_environment() | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    values = dict(line.split("\t", 1) for line in done.stdout.splitlines())
    assert values["join"] == values["sonic.catalogue"] == "6"
    assert known <= values.keys()
    assert int(values["made"]) == int(values["stored"]) > 0
    assert values["comment"] == "Density: n_fingerprints over duration_s (1/s)"
