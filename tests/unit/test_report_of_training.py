"""A training whose report cannot be written has saved its version, and is recorded as done."""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from sonic_lib.cli.failures import explain
from sonic_lib.config import Config
from sonic_lib.errors import ReportError
from sonic_lib.storage import runs
from sonic_lib.workflows import training


@pytest.fixture
def recorded(monkeypatch) -> list[tuple[str, dict]]:
    """Status and counts of each row of `runs`; the training itself is skipped."""
    rows = []
    model = SimpleNamespace(model=None, held_out=None, card={"metrics": {"f1_micro": 0.5}})
    monkeypatch.setattr(training.creation, "create_for_models", lambda *_: None)
    monkeypatch.setattr(training, "registry_of", lambda *_: None)
    monkeypatch.setattr(training, "training_set", lambda *_, **__: nullcontext())
    monkeypatch.setattr(training, "train_and_examine", lambda *_, **__: (model, []))
    monkeypatch.setattr(training, "keep_version", lambda *_, **__: ("v7", "champion"))
    monkeypatch.setattr(training, "release", lambda _: None)
    monkeypatch.setattr(runs, "_write", lambda *row: rows.append((row[-1], dict(row[2].counts))))
    return rows


def train(*, report: str | None) -> None:
    training.train_model(
        *(None, Config(), "genre"),
        **dict.fromkeys(("source", "labels", "target", "group", "limits")),
        **{"drop": (), "keep": (), "kind": "linear", "n_folds": 5, "seed": 0},
        **{"class_weights": False, "method": "lac", "mondrian": False, "report": report},
    )


def test_run_is_done_and_the_error_names_the_saved_version(recorded, tmp_path):
    (tmp_path / "report").touch()  # a file in the way
    with pytest.raises(ReportError) as caught:
        train(report=str(tmp_path / "report"))
    assert caught.value.exit_code == 1
    message = str(caught.value)
    assert message.startswith("Version v7 of genre was saved and is the champion, but report ")
    assert f"'{tmp_path}/report' (--report) could not be written: File exists. " in message
    (_, _), (status, counts) = recorded
    assert (status, counts["f1_micro"]) == ("done", 0.5)


def test_full_disk_below_the_report_does_not_ask_to_train_again(recorded, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sonic_lib.report.model_report.write", full)
    with pytest.raises(ReportError, match=r"v7 .* No space left on device") as caught:
        train(report=str(tmp_path))
    assert explain(caught.value, warehouse=str(tmp_path)) is None


def test_training_that_fails_itself_is_recorded_as_failed(recorded, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(training, "keep_version", fail)
    with pytest.raises(RuntimeError):
        train(report=None)
    assert [status for status, _ in recorded] == ["running", "failed"]
