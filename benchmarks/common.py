"""Shared by the benchmarks: a description of the machine, the command line, and result files."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numba
import numpy
import pyspark

import sonic_lib

RESULTS = Path(__file__).parent / "results"


def machine() -> dict:
    """Describe the machine and the versions used."""
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), cpu)
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(memory_gib),
        "python": platform.python_version(),
        "pyspark": pyspark.__version__,
        "numpy": numpy.__version__,
        "numba": numba.__version__,
        "sonic_signature": sonic_lib.__version__,
    }


def sonic(*arguments: str) -> str:
    """Run a `sonic` command as a user would; return its standard output."""
    command = [sys.executable, "-m", "sonic_lib.cli.main", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def counts_of(printed: str) -> str:
    """Return the line of the output of `sonic identify` that counts clips."""
    return next(line for line in printed.splitlines() if re.match(r"\d+ clips?: ", line))


def save(name: str, text: str, figures: dict) -> None:
    """Print a result and save it to benchmarks/results."""
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
    figures = {"machine": machine(), **figures}
    (RESULTS / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
