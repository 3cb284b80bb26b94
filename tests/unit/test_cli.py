"""The command line: what is refused before Spark starts, and with which exit code."""

from __future__ import annotations

import errno
import os
import re
import shlex
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest
from pyspark.errors import AnalysisException

import sonic_lib
from sonic_lib.cli import main as cli
from sonic_lib.cli.parser import VERBS, make_parser
from sonic_lib.errors import SetupError, TableError
from sonic_lib.spark.conf import _INTERPRETED_CONF, _ONE_TASK_CONF

ROOT = Path(__file__).parents[2]
JOBS = sorted((ROOT / "jobs").glob("*.py"))


@pytest.fixture
def no_spark(monkeypatch):
    @contextmanager
    def start(**_):
        raise AssertionError("Spark was started")
        yield

    monkeypatch.setattr("sonic_lib.spark.session.spark_job", start)


@pytest.fixture
def fake_spark(monkeypatch):
    """A session that is never used."""

    @contextmanager
    def start(**_):
        yield "spark"

    monkeypatch.setattr("sonic_lib.spark.session.spark_job", start)
    monkeypatch.delattr("sonic_lib.cli.commands.register.READS")  # there are no tables here


def exit_code(*arguments: str) -> int:
    try:
        return cli.main(list(arguments))
    except SystemExit as end:
        return end.code


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_a_valid_call(verb, capsys):
    assert exit_code(verb, "--help") == 0
    said = capsys.readouterr().out
    example = re.search(r"^example: sonic (.*)", said, re.MULTILINE)[1]
    words = shlex.split(example)
    parser, _ = make_parser([verb])
    assert parser.parse_args(words).verb == verb
    # Options of the verb come before those of all verbs.
    assert said.index("--help") < said.index("of every verb:") < said.index("  --warehouse URI ")


@pytest.mark.usefixtures("no_spark")
@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "VERB"),
        (["dance"], "no verb 'dance'"),
        (["indx"], "Did you mean 'index'?"),
        (["index"], "PATH"),
        (["index", "songs", "--colour", "red"], "--colour"),
        (["index", "songs", "--warehouse", "la`ke"], "backtick"),
        (["identify"], "PATH"),
        (["identify", "clips", "--candidates", "0"], "--candidates"),
        (["identify", "clips", "--candidates", "many"], "--candidates"),
        (["identify", "clips", "--candidates", "99"], "expected 1 to 28, not '99'"),
        (["identify", "clips", "--output", "out.txt"], "'out.txt'"),
        (["identify", "clips", "--output", "/absent/out.csv"], "'/absent/out.csv'"),
        (["explain", "a.wav", "--plot", "/absent/why.png"], "its folder does not exist"),
        (["remove"], "SONG"),
        (["sql", "--output", "out.csv"], "SQL"),
        (["sql", "SELECT 1", "--file", "a.sql"], "--file"),
        (["sql", "--file", "/absent.sql"], "'/absent.sql'"),
        (["sql", "SELECT 1", "--output", "out.xls"], "'out.xls'"),
        (["index", "songs", "--config", "/absent.yaml"], "/absent.yaml"),
        (["index", "songs", "--set", "index.task_md=3"], "index.task_md"),
        (["register", "--set", "index.task_mb=none at all"], "index.task_mb"),
    ],
)
def test_wrong_calls_exit_with_2_before_spark_starts(arguments, word, capsys):
    assert exit_code(*arguments) == 2
    said = capsys.readouterr()
    assert word in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


@pytest.mark.usefixtures("no_spark")
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    assert exit_code(verb, "--help") == 0
    said = capsys.readouterr().out
    assert all(option in said for option in ("--warehouse", "--config", "--set"))


def test_help_says_what_options_are(capsys):
    for verb, *said in (
        ("explain", "show why a clip got its answer"),
        (
            "retrain",
            "versions, and promote those",
            "cross-validation folds (default: as for",
        ),
        ("train", "number of cross-validation folds (default 5)", "random seed (default 0)"),
        ("report", "the page to write (default report.html)"),
    ):
        exit_code(verb, "--help")
        told = " ".join(capsys.readouterr().out.split())
        assert all(words in told for words in said)


@pytest.mark.usefixtures("no_spark")
def test_version_is_the_librarys(capsys):
    assert exit_code("--version") == 0
    assert capsys.readouterr().out.strip() == sonic_lib.__version__


@pytest.mark.usefixtures("no_spark")
def test_jars_are_printed_in_spark_submit_format(tmp_path, monkeypatch, capsys):
    for name in ("delta-spark_4.2_2.13-4.4.0.jar", "delta-storage-4.4.0.jar"):
        (tmp_path / name).touch()
    monkeypatch.setenv("SONIC_JARS", str(tmp_path))
    assert cli.main(["jars"]) == 0
    jars = capsys.readouterr().out.strip().split(",")
    assert jars == sorted(map(str, tmp_path.iterdir()))


@pytest.mark.usefixtures("fake_spark")
@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (TableError("the table is round"), 1, "sonic: the table is round\n"),
        (SetupError("no Java"), 1, "sonic: no Java\n"),
        (AnalysisException("no x\n+- Plan", "NO_X", {}), 1, "sonic: no x\n"),
        (KeyboardInterrupt(), 130, "sonic: interrupted; run the same command again to continue.\n"),
    ],
)
def test_failures_are_one_paragraph_and_an_exit_code(monkeypatch, capsys, error, code, said):
    def fail(*_):
        raise error

    monkeypatch.setattr("sonic_lib.cli.commands.sql.run", fail)
    assert cli.main(["sql", "SELECT 1"]) == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    "arguments",
    [
        ["sql", "--file", "private/a.sql"],
        ["features", "--csv", "private/a.csv"],
        ["explain", "clip.wav", "--plot", "private/a.png"],
    ],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.usefixtures("fake_spark")
def test_path_that_may_not_be_looked_at_is_named(monkeypatch, capsys, arguments):
    look = os.stat

    def refuse(path, *args, **kwargs):
        if "private" in str(path):  # root may look everywhere
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return look(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr(Path, "stat", refuse)  # that of Python 3.10 does not call the one above
    assert cli.main(arguments) == 1
    told = capsys.readouterr().err
    assert "private" in told
    assert "cannot be used: Permission denied; expected a path" in told


@pytest.mark.usefixtures("fake_spark")
def test_bugs_are_one_sentence_and_a_traceback_if_asked_for(monkeypatch, capsys):
    def fail(*_):
        raise ZeroDivisionError("of\n\x1b[2Jhttps://me:sesame@host")

    monkeypatch.setattr("sonic_lib.cli.commands.sql.run", fail)
    assert cli.main(["sql", "SELECT 1"]) == 1
    sentence = r"sonic: unexpected error ZeroDivisionError: of\n\x1b[2Jhttps://***@host"
    assert capsys.readouterr() == ("", f"{sentence}; run with --debug for details\n")
    assert cli.main(["sql", "SELECT 1", "--debug"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("Traceback (most recent call last)")
    assert told.endswith(f"{sentence}\n")
    assert "in fail" in told
    assert "sesame" not in told
    assert "\x1b" not in told


@pytest.fixture
def given(monkeypatch, fake_spark):
    """The configuration and arguments that a command gets."""
    seen = Namespace()

    def run(spark, config, args):
        seen.config, seen.args = config, args
        return 0

    monkeypatch.setattr("sonic_lib.cli.commands.index.check", lambda args: None)
    monkeypatch.setattr("sonic_lib.cli.commands.index.run", run)
    return seen


def test_settings_reach_the_command(given, tmp_path):
    (tmp_path / "c.yaml").write_text("index: {task_mb: 2, batch_gb: 3}")
    cli.main(["index", "a", "b", "--config", f"{tmp_path}/c.yaml", "--set", "index.task_mb=9"])
    assert (given.config.index.task_mb, given.config.index.batch_gb) == (9, 3)
    assert given.args.paths == ["a", "b"]


@pytest.mark.parametrize(
    ("option", "warehouse"),
    [
        ([], "{folder}/sonic-warehouse"),
        (["--warehouse", "x/../a b"], "{folder}/a b"),
        (["--set", "warehouse=other"], "{folder}/other"),
        (["--set", "warehouse=other", "--warehouse", "/lake"], "/lake"),
        (["--warehouse", "s3a://bucket/lake"], "s3a://bucket/lake"),
        (["--warehouse", "file:///lake"], "file:///lake"),
    ],
)
def test_warehouse_is_a_uri_or_an_absolute_path(given, tmp_path, monkeypatch, option, warehouse):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["index", "songs", *option]) == 0
    assert given.config.warehouse == warehouse.format(folder=tmp_path)


def test_home_is_expanded(given, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    cli.main(["index", "songs", "--warehouse", "~/lake"])
    assert given.config.warehouse == "/home/me/lake"


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stem)
def test_every_job_has_the_arguments_of_its_verb(job):
    run = [sys.executable, str(job), "--help"]
    done = subprocess.run(
        run, capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    assert f"usage: {job.name}" in done.stdout
    assert "--warehouse" in done.stdout


def test_the_five_jobs_exist():
    names = {job.stem for job in JOBS}
    assert {"index_songs", "identify_clips", "remove_songs", "query", "setup_tables"} <= names


def test_small_tables_take_one_task_and_the_smallest_are_interpreted(tmp_path):
    for name, n_bytes in (("small", 7), ("medium", 2_000_000), ("large", 20_000_000)):
        (tmp_path / f"{name}.csv").touch()
        os.truncate(tmp_path / f"{name}.csv", n_bytes)

    def conf(verb, *words, warehouse=str(tmp_path / "lake")):
        command = import_module(f"sonic_lib.cli.commands.{verb}")
        args = ArgumentParser()
        command.add_arguments(args)
        return cli._conf(command, args.parse_args(words), warehouse)

    interpreted = _ONE_TASK_CONF | _INTERPRETED_CONF
    assert conf("predict") == interpreted
    assert conf("train", "genre", "--csv", str(tmp_path / "small.csv")) == interpreted
    assert conf("features", "--csv", str(tmp_path / "medium.csv")) == _ONE_TASK_CONF
    assert conf("features", "--csv", str(tmp_path / "large.csv")) == {}
    assert conf("features", "--csv", str(tmp_path / "*.csv")) == {}
    assert conf("features", str(tmp_path)) == {}  # audio
    assert conf("evaluate") == {}
    assert conf("predict", warehouse="s3a://lake/sonic") == {}
    (tmp_path / "lake" / "features").mkdir(parents=True)
    (tmp_path / "medium.csv").rename(tmp_path / "lake" / "features" / "rows.parquet")
    assert conf("predict") == _ONE_TASK_CONF
