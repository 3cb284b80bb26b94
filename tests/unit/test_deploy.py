"""Files under conf/deploy: the commands they run exist, with the versions of setup.py."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import sonic_lib
from sonic_lib.cli.parser import make_parser

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "conf" / "deploy"


def check_words(verb: str, words: list[str]) -> None:
    """Fail if a command rejects the words; its parser exits the process."""
    make_parser([verb])[1][verb].parse_args(words)


def check_job(script: str, words: list[str]) -> None:
    job = ROOT / "jobs" / Path(script).name
    verb = re.search(r'run_job\("(\w+)"((?:, "\w+")*)\)', job.read_text(encoding="utf-8"))
    check_words(verb[1], [*re.findall(r'"(\w+)"', verb[2]), *words])


def pinned(package: str) -> str:
    return re.search(rf'"{package}==([\d.]+)"', (ROOT / "setup.py").read_text())[1]


def commands(text: str) -> list[list[str]]:
    """Return the `sonic …` commands in a text."""
    found = re.findall(
        r"(?:^|[ /=\'])sonic ((?:index|identify|features|retrain|predict)[^&\n\']*)", text
    )
    return [shlex.split(words) for words in found]


@pytest.mark.parametrize(
    ("file", "n"),
    [("crontab", 5), ("systemd/sonic-index.service", 2), ("systemd/sonic-retrain.service", 3)],
)
def test_schedules_run_valid_commands(file, n):
    found = commands((DEPLOY / file).read_text())
    assert len(found) == n
    for verb, *words in found:
        check_words(verb, words)


@pytest.mark.parametrize("name", ["index", "identify", "retrain"])
def test_spark_operator_applications_run_our_jobs_on_our_spark_version(name):
    application = yaml.safe_load((DEPLOY / "kubernetes" / f"{name}.yaml").read_text())["spec"]
    application = application.get("template", application)
    assert application["sparkVersion"] == pinned("pyspark")
    assert application["image"].endswith(f":{sonic_lib.__version__}")
    check_job(application["mainApplicationFile"], application["arguments"])
    volumes = {volume["name"] for volume in application["volumes"]}
    for role in ("driver", "executor"):
        assert {mount["name"] for mount in application[role]["volumeMounts"]} <= volumes


def test_bundle_runs_our_jobs_in_a_valid_order():
    bundle = yaml.safe_load((DEPLOY / "databricks" / "databricks.yml").read_text())
    [job] = bundle["resources"]["jobs"].values()
    done = set()
    for task in job["tasks"]:
        script = task["spark_python_task"]
        assert (DEPLOY / "databricks" / script["python_file"]).resolve().is_file()
        check_job(script["python_file"], script["parameters"])
        assert {before["task_key"] for before in task.get("depends_on", [])} <= done
        done.add(task["task_key"])


def test_image_has_the_pinned_spark():
    text = (DEPLOY / "Dockerfile").read_text()
    assert re.search(r"^FROM apache/spark:([\d.]+)-", text, re.MULTILINE)[1] == pinned("pyspark")
    for copied in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / source).exists() for source in copied.split())


def test_compiled_code_of_the_image_can_be_written_by_its_user_only():
    text = (DEPLOY / "Dockerfile").read_text()
    assert re.search(r"NUMBA_CACHE_DIR=(\S+)", text)[1].startswith("/opt/sonic/")
    made = re.search(r'^RUN install .*--owner=spark .*--mode=700 "\$NUMBA_CACHE_DIR"$', text, re.M)
    assert made.start() < text.index("USER spark")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_units_are_valid_for_systemd(tmp_path):
    for unit in (DEPLOY / "systemd").iterdir():
        text = re.sub(r"/opt/sonic/\.venv/bin/sonic", "/bin/true", unit.read_text())
        (tmp_path / unit.name).write_text(text)
    checked = subprocess.run(
        ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, "")
