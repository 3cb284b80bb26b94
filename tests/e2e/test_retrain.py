"""kill -9 of a retraining run at critical moments: the champion stays, the next run resumes."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys

import numpy as np
import pytest

from sonic_lib.cli.main import main
from sonic_lib.models.registry import open_registry
from sonic_lib.schemas import PREDICTIONS
from sonic_lib.storage import tables
from tests.e2e.conftest import ROOT, submit_environment

QUICK = ("--model", "forest", "--folds", "2")
STYLES = ("bebop", "dub")
N_SONGS = 160

# Dies, with its JVM, when half of the named file has been written.
DYING = """
import json, os, signal, sys
from pathlib import Path
from sonic_lib.cli.main import main
from sonic_lib.models.registry import directory

name, *words = sys.argv[1:]
write = directory._write

def half(spark, uri, content):
    if name not in uri:
        return write(spark, uri, content)
    text = json.dumps(content)
    Path(uri).write_text(text[: len(text) // 2])
    os.killpg(0, signal.SIGKILL)

directory._write = half
sys.exit(main(words))
"""


def kill(dying: str, words: list[str]) -> subprocess.CompletedProcess:
    environment = submit_environment()
    del environment["SPARK_CONF_DIR"]
    return subprocess.run(
        [sys.executable, "-c", DYING, dying, *words],
        env=environment,
        cwd=ROOT,
        start_new_session=True,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def table(tmp_path) -> str:
    """Songs of two tempos."""
    rng = np.random.default_rng(7)
    with open(tmp_path / "songs.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["beat", "mood", "genre"])
        for i in range(N_SONGS):
            mood, beat = rng.normal(), 90 + 30 * (i % 2) + rng.normal(0, 12)
            writer.writerow([f"{beat:.3f}", f"{mood:.3f}", STYLES[i % 2]])
    return str(tmp_path / "songs.csv")


@pytest.fixture
def trained(spark, table, tmp_path) -> str:
    """A warehouse with a champion."""
    warehouse = str(tmp_path / "ware house")
    assert main(["train", "genre", "--csv", table, *QUICK, "--warehouse", warehouse]) == 0
    return warehouse


def test_killed_retraining_keeps_the_champion(spark, trained):
    registry = open_registry(spark, trained)
    words = ["retrain", "genre", *QUICK, "--warehouse", trained]
    champion = registry.load("genre")[1]
    for dying, n_versions in (("card.json", 1), ("aliases", 2)):
        done = kill(dying, words)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert registry.load("genre")[1] == champion
        assert len(registry.versions("genre")) == n_versions

    assert main(["predict", "--warehouse", trained]) == 0
    rows = tables.read(spark, trained, PREDICTIONS)
    assert rows.filter(rows.model_version == champion["version"]).count() == N_SONGS

    assert main(words) == 0
    now = registry.aliases("genre")
    cards = {card["version"]: card for card in registry.versions("genre")}
    assert now["champion"] == champion["version"]
    assert now["challenger"] in cards
    assert len(cards) == 3
    for card in cards.values():  # of one snapshot, so all are equal
        assert card["metrics"] == champion["metrics"]
        assert card["conformal"] == champion["conformal"]


def test_mlflow_stores_the_same_models_as_the_folder(spark, table, tmp_path, capsys):
    pytest.importorskip("mlflow")
    here = ["--warehouse", str(tmp_path), "--set", "models.registry=mlflow"]
    assert main(["train", "genre", "--csv", table, *QUICK, *here]) == 0
    assert main(["retrain", "genre", *QUICK, *here]) == 0
    assert main(["predict", *here]) == 0
    rows = tables.read(spark, str(tmp_path), PREDICTIONS)
    assert {row.model_version for row in rows.collect()} == {"1"}

    assert main(["models", "--promote", "genre", "2", *here]) == 0
    assert main(["models", "--rollback", "genre", *here]) == 0
    assert "The champion of genre is 1 again." in capsys.readouterr().out
    aliases = open_registry(spark, str(tmp_path), kind="mlflow").aliases("genre")
    assert aliases["champion"] == "1"
    assert not (tmp_path / "_models").exists()
