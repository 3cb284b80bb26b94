"""Commands in README.md and docs/ run as printed, in reading order, on a small collection.

`sonic` commands run in this process, on the shared session; spark-submit and similar programs
are run by bash, from the root of a checkout. Only placeholders are replaced: folders, hosts, songs.
"""

from __future__ import annotations

import csv
import io
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile
import yaml

from notebooks.made_up import spotify_like
from sonic_lib.cli.main import main
from sonic_lib.schemas import RUNS, SONG_FILES
from sonic_lib.spark.jars import delta_jars
from sonic_lib.storage import tables
from sonic_lib.synth.collection import demo_songs, write_song
from tests.e2e.conftest import QUICK_JAVA, RATE_HZ, ROOT, SPARK_HOME, submit_environment
from tests.shown import NOT_RUN, PAGES, Block, blocks, commands
from tests.unit import test_deploy

DEPLOY = ROOT / "conf" / "deploy"
FIRST = ("README", "docs/index", "docs/tutorial", "docs/uses", "docs/features", "docs/models")
# Pages that remove songs or restore tables come last.
LAST = ("docs/operations",)
INTERNALS = re.compile(r"Traceback|py4j|java\.lang|org\.apache|\bat scala\.")


def _place(page: str) -> tuple[int, str]:
    name = page.removesuffix(".md")
    return (FIRST.index(name) if name in FIRST else len(FIRST) + (name in LAST), page)


SHOWN = [page for page in sorted(PAGES, key=_place) if blocks(page)]


@dataclass
class Reader:
    """A user in a checkout, with their own music, clips and tables."""

    here: Path
    home: Path
    lake: Path
    titles: list[str]
    spark: object
    first_day: str = ""

    def mine(self, text: str) -> str:
        """Replace placeholders."""
        music = str(self.home / "Music")
        stand_ins = {
            r"~(?=/)": lambda: str(self.home),
            r"(?<![\w/])/music/song\.mp3": lambda: self._song(1, self.warehouse)[1],
            r"(?<![\w/])/music\b": lambda: music,
            r"(?<![\w/])/clips\b": lambda: str(self.home / "clips"),
            r"(?<![\w/])/lake/sonic\b": lambda: str(self.lake),
            r"/opt/sonic/\.venv/bin/python": lambda: sys.executable,
            r"\bMUSIC_FOLDER\b": lambda: music,
            r"spark://HOST:7077": lambda: "local[2]",
            r"(?<=')python3(?= -m sonic_lib)": lambda: sys.executable,
            r"\b1234567890123\b": lambda: self._song(0, self.warehouse)[0],
            r"\bSONG_ID_OR_PATH\b": lambda: self._song(0, self.lake)[1],
            r"\b20\d{6}T\d{12}Z-\w{8}\b": self._run,
            r"2026-01-31 18:00:00": lambda: self.first_day,
            r"\bpart of a title\b": lambda: self.titles[0][1:],
            r"\ba(nother)? title\b": lambda: self.titles[1],
            r"artist = 'X' AND release_year < 1990": lambda: "artist = 'The Hay Wagon'",
        }
        for pattern, stand_in in stand_ins.items():
            text = re.sub(pattern, lambda _, value=stand_in: value(), text)
        for title in self.titles:  # one after the other
            text = re.sub(r"(?<=\s)SONG\b", title.replace(" ", "\\\\ "), text, count=1)
        return text

    @property
    def warehouse(self) -> Path:
        return self.here / "sonic-warehouse"

    def _song(self, place: int, lake: Path) -> tuple[str, str]:
        """The id and path of a song, quoted for a shell."""
        rows = tables.read(self.spark, str(lake), SONG_FILES).filter("status = 'indexed'")
        row = rows.orderBy("path").collect()[place]
        return str(row.song_id), shlex.quote(row.path)

    def _run(self) -> str:
        runs = tables.read(self.spark, str(self.warehouse), RUNS).filter("job = 'identify'")
        return max(row.run_id for row in runs.collect())


@pytest.fixture(scope="module")
def reader(tmp_path_factory, _spark_session) -> Iterator[Reader]:
    root = tmp_path_factory.mktemp("reader")
    home, here = root / "home", root / "checkout"
    (home / "clips").mkdir(parents=True)
    here.mkdir()
    songs = [replace(song, duration_s=20.0) for song in demo_songs(26, seed=3)]
    samples = [write_song(song, home / "Music") for song in songs]
    for name, of in (("one", 0), ("two", 5)):
        clip = samples[of][4 * RATE_HZ : 12 * RATE_HZ]
        soundfile.write(home / "clips" / f"{name}.wav", clip, RATE_HZ)
    shutil.copy(home / "clips" / "one.wav", here / "clip.wav")
    shutil.copytree(home / "clips", here / "clips")
    titles = [song.title for song in songs if re.fullmatch(r"\w+ \w+", song.title)]
    for name, n in (("songs", 300), ("spotify_train", 300), ("new_songs", 50)):
        table = spotify_like(n, seed=n)
        known = [*titles[:5], *(f"song {i}" for i in range(n - 5))]
        if name == "new_songs":
            table = table.drop(columns=["genre", "popularity"])
        table.assign(track_name=known).to_csv(here / f"{name}.csv", index=False)
    with (here / "plays.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "popularity"])
        writer.writerows((song.path, song.popularity) for song in songs)
    (here / "why.sql").write_text("SELECT count(*) AS songs FROM sonic.songs;\n")
    _checkout(here)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setattr(sys, "stdin", io.StringIO(""))
        yield Reader(here, home, root / "lake" / "sonic", titles, _spark_session)


def _checkout(here: Path) -> None:
    """Lay out the current folder for bash as `make env` leaves it."""
    for name in ("conf", "jobs", "sonic_lib", "Makefile", "setup.py"):
        (here / name).symlink_to(ROOT / name)
    binaries = here / ".venv" / "bin"
    binaries.mkdir(parents=True)
    module = {"python": "", "sonic": "-m sonic_lib.cli.main"}
    for name, words in module.items():
        (binaries / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
    for name in ("spark-submit", "spark-sql"):
        (binaries / name).write_text(f'#!/bin/sh\nexec "{SPARK_HOME}/bin/{name}" "$@"\n')
    for path in binaries.iterdir():
        path.chmod(0o755)
    (here / ".venv" / ".installed").touch()


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: Path(page).stem)
def test_commands_of_a_page_run_as_printed(page, reader):
    names = {"spark": reader.spark, "warehouse": str(reader.warehouse)}
    settings = ""  # shell settings that later blocks of a page use
    failed = []
    for block in blocks(page):
        if block.not_run:
            continue
        if block.language == "python":
            exec(compile(reader.mine(block.text), page, "exec"), names)
        elif block.language == "sql":
            failed += _sonic(["sql", reader.mine(block.text), "--warehouse", str(reader.lake)])
        elif block.language == "sh" and re.search(r"\$SUBMIT|\.venv/bin/spark", block.text):
            failed += _bash(reader, settings, block.text)
            settings += "".join(re.findall(r"^(?:export )?[A-Z_]+=.*\n", block.text, re.MULTILINE))
        elif block.language == "sh":
            failed += _run_block(reader, block)
    assert failed == []


def _run_block(reader: Reader, block: Block) -> list[str]:
    failed, piped = [], ""
    lines = block.text.replace("\\\n", " ").splitlines()
    # One by one: a command may name what the one before created.
    found = (command for line in lines for command in commands(block.page, reader.mine(line)))
    for command in found:
        program, *words = command.words
        if program == "echo":
            piped = words[0]
        elif program == "sonic":
            if words[:2] == ["models", "--rollback"]:
                failed += _two_champions(words[2])
            sys.stdin = io.StringIO(f"{piped};")
            failed += _sonic(words)
            piped = ""
            if not reader.first_day and words[0] == "index":
                reader.first_day = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
        else:
            assert program in NOT_RUN or program == "make" or "=" in program, command
    return failed


def _two_champions(name: str) -> list[str]:
    """Promote two versions in turn, so that there is one to roll back to."""
    output = io.StringIO()
    with redirect_stdout(output):
        main(["models", "--json"])
    versions = [card["version"] for card in json.loads(output.getvalue())[name]["versions"]]
    chosen = (versions[0], versions[-1])
    return [failure for it in chosen for failure in _sonic(["models", "--promote", name, it])]


def _sonic(words: list[str]) -> list[str]:
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            code = main(words)
        except SystemExit as ended:
            code = ended.code
        except Exception:  # reported with the other failures of the page
            code = traceback.format_exc()
    printed = output.getvalue() + errors.getvalue()
    files = [words[i + 1] for i, word in enumerate(words) if word in ("--output", "--plot")]
    missing = [name for name in files if not Path(name).exists()]
    if code == 0 and not missing and not INTERNALS.search(printed):
        return []
    return [f"sonic {' '.join(words)}: exit code {code}, not written {missing}\n{printed}"]


def _bash(reader: Reader, settings: str, text: str) -> list[str]:
    """Run commands for spark-submit; masters and workers are tested in test_cluster.py."""
    text = settings + re.sub(r"^\.venv/bin/spark-class .*$", "", text, flags=re.MULTILINE)
    environment = submit_environment() | {
        "JAVA_TOOL_OPTIONS": f"{QUICK_JAVA} -Duser.home={reader.home}",
        "PYTHONPATH": str(ROOT),
        "SONIC_JARS": str(Path(delta_jars()[0]).parent),
    }
    del environment["SPARK_CONF_DIR"], environment["PYSPARK_PYTHON"]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", reader.mine(text)],
        cwd=reader.here,
        env=environment,
        capture_output=True,
        text=True,
    )
    return [] if done.returncode == 0 else [f"{text}\n{done.stdout}\n{done.stderr}"]


def test_scheduled_commands_run_in_order(reader, monkeypatch):
    """Cron, systemd, Airflow and Kubernetes make the same calls: run each once, from nothing."""
    lake = str(reader.here / "scheduled")
    calls = [*_cron_and_systemd(), *_airflow(monkeypatch), *_kubernetes()]
    mine = {
        r"^/(srv/)?music$": str(reader.home / "Music"),
        r"^/(srv/)?clips$": str(reader.home / "clips"),
        r"^(\$WAREHOUSE|/srv/sonic/warehouse|/lake/sonic)$": lake,
        r"^/srv/sonic/(?=\w+\.csv$)": f"{reader.here}/",
    }
    failed, done = [], []
    for words in calls:
        for pattern, stand_in in mine.items():
            words = [re.sub(pattern, stand_in, word) for word in words]
        if words not in done:
            failed += _sonic(words)
            done.append(words)
    assert failed == []
    assert {words[0] for words in done} == {"index", "identify", "features", "retrain", "predict"}
    assert all(lake in words for words in done)


def _cron_and_systemd() -> list[list[str]]:
    files = ("crontab", "systemd/sonic-index.service", "systemd/sonic-retrain.service")
    return [words for name in files for words in test_deploy.commands((DEPLOY / name).read_text())]


def _airflow(monkeypatch) -> list[list[str]]:
    """The jobs that the DAG submits, recorded by a stand-in for Airflow."""
    submitted = []

    class Task:
        def __init__(self, **options) -> None:
            if "application" in options:
                submitted.append(_job_words(options["application"], options["application_args"]))

        def __rshift__(self, other: Task) -> Task:
            return other

    class Dag(AbstractContextManager):
        def __init__(self, **options) -> None:
            pass

        def __exit__(self, *raised) -> None:
            pass

    modules = {
        "airflow.sdk": {"DAG": Dag},
        "airflow.providers.apache.spark.operators.spark_submit": {"SparkSubmitOperator": Task},
        "airflow.providers.standard.operators.python": {"ShortCircuitOperator": Task},
    }
    for name, members in modules.items():
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**members))
    runpy.run_path(str(DEPLOY / "airflow" / "sonic_dag.py"))
    return submitted


def _kubernetes() -> list[list[str]]:
    found = []
    for name in ("index", "identify", "retrain"):
        application = yaml.safe_load((DEPLOY / "kubernetes" / f"{name}.yaml").read_text())["spec"]
        application = application.get("template", application)
        found.append(_job_words(application["mainApplicationFile"], application["arguments"]))
    return found


def _job_words(script: str, words: list[str]) -> list[str]:
    """The command behind a job's script, with its arguments."""
    text = (ROOT / "jobs" / Path(script).name).read_text(encoding="utf-8")
    called = re.search(r"run_job\((.+)\)", text)[1]
    return [*re.findall(r'"(\w+)"', called), *words]
