"""Rows of the table `runs`, written by Spark (see `runs`) or delta-rs."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone

import sonic_lib
from sonic_lib.config import Config


@dataclass
class Run:
    """A job run in progress."""

    run_id: str
    started_at: datetime
    counts: dict[str, float] = field(default_factory=dict)
    options: dict | None = None


def new_run() -> Run:
    """Start a run with a new id."""
    now = datetime.now(timezone.utc)
    return Run(time_id(now), now)


def time_id(at: datetime) -> str:
    """Return a unique id that sorts by a time (UTC); eight random digits follow it."""
    return f"{at:%Y%m%dT%H%M%S%fZ}-{uuid.uuid4().hex[:8]}"


def run_row(run: Run, *, job: str, config: Config, status: str) -> dict:
    """Return the row of a run, by the columns of `schemas.RUNS`."""
    return {
        "run_id": run.run_id,
        "job": job,
        "status": status,
        "started_at": run.started_at,
        "ended_at": None if status == "running" else datetime.now(timezone.utc),
        "counts": {name: float(n) for name, n in run.counts.items()},
        "config": _config(config, run.options),
        "code_version": sonic_lib.__version__,
    }


def _config(config: Config, options: dict | None) -> str:
    if options is None:
        return config.model_dump_json()
    return json.dumps(config.model_dump(mode="json") | {"options": options})
