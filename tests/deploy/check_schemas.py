"""Check files under conf/deploy with the schemas and parsers of the tools that read them.

`make test-deploy` runs this in a separate environment, since Airflow's packages conflict with ours.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml
from croniter import croniter
from databricks.bundles.jobs import Job
from kubeflow_spark_api.models import (
    SparkV1beta2ScheduledSparkApplication,
    SparkV1beta2SparkApplication,
)

DEPLOY = Path(__file__).parents[2] / "conf" / "deploy"
KINDS = {
    "SparkApplication": SparkV1beta2SparkApplication,
    "ScheduledSparkApplication": SparkV1beta2ScheduledSparkApplication,
}


def lost(given, read, place: str = "") -> list[str]:
    """Return names that a schema does not know and therefore dropped."""
    if isinstance(given, dict):
        return [
            name
            for key, value in given.items()
            for name in (
                lost(value, read[key], f"{place}.{key}") if key in read else [f"{place}.{key}"]
            )
        ]
    if isinstance(given, list):
        return [
            name for one, other in zip(given, read, strict=True) for name in lost(one, other, place)
        ]
    return []


@pytest.mark.parametrize("name", ["index", "identify", "retrain"])
def test_operator_api_knows_every_field(name):
    given = yaml.safe_load((DEPLOY / "kubernetes" / f"{name}.yaml").read_text())
    read = KINDS[given["kind"]].from_dict(given)
    assert lost(given, read.to_dict()) == []


def test_unknown_fields_are_detected():
    given = yaml.safe_load((DEPLOY / "kubernetes" / "index.yaml").read_text())
    given["spec"]["executor"]["instancse"] = 4
    assert lost(given, KINDS[given["kind"]].from_dict(given).to_dict()) == [
        ".spec.executor.instancse"
    ]


def test_bundle_jobs_are_jobs():
    bundle = yaml.safe_load((DEPLOY / "databricks" / "databricks.yml").read_text())
    for job in bundle["resources"]["jobs"].values():
        assert lost(job, Job.from_dict(job).as_dict()) == []


def test_cron_reads_every_line():
    lines = [
        line
        for line in (DEPLOY / "crontab").read_text().splitlines()
        if line and line[0] not in "#" and "=" not in line.split()[0]
    ]
    assert len(lines) == 3
    for line in lines:
        assert croniter.is_valid(" ".join(line.split()[:5])), line
    scheduled = yaml.safe_load((DEPLOY / "kubernetes" / "retrain.yaml").read_text())
    assert croniter.is_valid(scheduled["spec"]["schedule"])


def test_airflow_reads_the_dag(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "false")
    file = DEPLOY / "airflow" / "sonic_dag.py"
    found = importlib.util.spec_from_file_location("sonic_dag", file)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    dag = module.dag
    dag.check_cycle()
    dag.validate()
    assert dag.task_dict["index_songs"].downstream_task_ids == {"identify_clips", "is_sunday"}
    assert dag.task_dict["retrain"].upstream_task_ids == {"extract_features"}
    for name, task in dag.task_dict.items():
        if name != "is_sunday":
            assert (DEPLOY.parents[1] / "jobs" / Path(task.application).name).is_file()
