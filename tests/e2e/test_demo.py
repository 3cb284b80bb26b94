"""The whole demo on a small collection."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd

from tests.e2e.conftest import ROOT, submit_environment


def test_demo_identifies_its_clips_and_draws_plots(tmp_path):
    environment = submit_environment() | {"PYTHONPATH": str(ROOT)}
    del environment["SPARK_CONF_DIR"]
    tour = subprocess.run(
        [sys.executable, "-m", "sonic_lib.cli.main", "demo", "--songs", "24", "--clips", "12"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert tour.returncode == 0, tour.stderr
    assert "10 known clips: 10 found; 2 unknown: 0 falsely accepted" in tour.stdout
    assert "n_songs  n_hashes  percent" in tour.stdout
    matches = pd.read_csv(tmp_path / "demo" / "matches.csv")
    assert matches["clip"].nunique() == 12
    assert "Model of genre of audio, forest" in tour.stdout
    predictions = pd.read_csv(tmp_path / "demo" / "predictions.csv")
    assert len(predictions) == 24
    assert predictions["genre"].notna().all()
    assert predictions["popularity"].between(0, 100).all()
    for name in ("constellation", "explanation"):
        assert f"demo/plots/{name}.png" in tour.stdout
        assert (tmp_path / "demo" / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert "Answers for 12 of 12 clips" in page
    assert "Versions of genre" in page
