"""`sonic doctor`: check that this machine has what is needed, without starting Spark."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import sonic_lib
from sonic_lib.config import Config
from sonic_lib.console import paragraph, say
from sonic_lib.errors import MODELS, SonicError, install_command
from sonic_lib.formats import counted
from sonic_lib.spark.machine import memory_bytes, n_cores
from sonic_lib.spark.uris import absolute, is_local

HELP = "check Java, jars, memory, decoders and the warehouse"
NEEDS_SPARK = False

_NEEDED = (
    *("pyspark", "delta-spark", "pyarrow", "pandas", "numpy", "scipy", "numba"),
    *("soundfile", "soxr", "av", "deltalake", "jinja2"),
)
# Purpose and packages of each extra.
_EXTRAS = {
    "models": (MODELS, "describes audio and trains models"),
    "mlflow": (("mlflow",), "keeps models in MLflow"),
}
_MIN_MEMORY_GB = 4.0  # for Spark and two Python workers, with a collection of laptop size
_MIN_DISK_GB = 3.0


class Finding(NamedTuple):
    """One line of the report.

    Attributes
    ----------
    what : str
    state : str
        ``"ok"``, ``"note"`` (something optional is missing, or scarce) or ``"bad"``.
    message : str
        What was found and, unless it is ok, what to do.  The name is a key of ``--json``.
    """

    what: str
    state: str
    message: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""


def run(config: Config, args: argparse.Namespace) -> int:
    """Print the report; 1 if something necessary is missing."""
    findings = list(examine(config.warehouse))
    lines = [f"{state:<5} {what:<10} {message}" for what, state, message in findings]
    say(paragraph(lines), findings=[finding._asdict() for finding in findings])
    return int(any(finding.state == "bad" for finding in findings))


def examine(warehouse: str) -> Iterator[Finding]:
    """Run all checks, the most basic first."""
    running = f"{sonic_lib.__version__} in Python {platform.python_version()} ({sys.prefix})"
    yield Finding("sonic", "ok", running)
    yield _try("java", _java)
    yield _packages()
    yield _try("jars", _jars)
    yield _memory()
    yield _disk(warehouse)
    yield _try("decoders", _decoders)
    for extra, (packages, purpose) in _EXTRAS.items():
        if missing := [name for name in packages if not _version(name)]:
            message = f"without {', '.join(missing)}; {install_command(*missing)} {purpose}"
            yield Finding(extra, "note", message)
        else:
            there = ", ".join(f"{name} {_version(name)}" for name in packages)
            yield Finding(extra, "ok", f"{there}: {purpose}")
    yield _warehouse(warehouse)


def _try(what: str, probe: Callable[[], tuple[str, str]]) -> Finding:
    try:
        return Finding(what, *probe())
    except (SonicError, ImportError, OSError) as error:
        return Finding(what, "bad", str(error))


def _java() -> tuple[str, str]:
    from sonic_lib.spark.java import check_java, check_spark, check_user

    check_java()
    check_spark()
    check_user()
    home = os.environ.get("JAVA_HOME")
    return "ok", f"JAVA_HOME={home}" if home else str(shutil.which("java"))


def _packages() -> Finding:
    found = {name: _version(name) for name in _NEEDED}
    missing = [name for name, installed in found.items() if not installed]
    if missing:
        return Finding("packages", "bad", install_command(*missing))
    return Finding("packages", "ok", ", ".join(f"{name} {v}" for name, v in found.items()))


def _jars() -> tuple[str, str]:
    from sonic_lib.spark.jars import COORDINATES, cached_delta_jars

    jars = cached_delta_jars()
    if jars:
        return "ok", f"{counted(len(jars), 'jar')} in {Path(jars[0]).parent}"
    return "note", f"{COORDINATES} will be downloaded at the first start (or now: sonic jars)"


def _memory() -> Finding:
    gb = memory_bytes() / 1e9
    message = f"{gb:.1f} GB, {counted(n_cores(), 'core')}"
    if gb < _MIN_MEMORY_GB:
        return Finding(
            "memory", "note", f"{message}; {_MIN_MEMORY_GB:g} GB or more are recommended"
        )
    return Finding("memory", "ok", message)


def _disk(warehouse: str) -> Finding:
    place = Path(absolute(warehouse) if is_local(warehouse) else os.getcwd())
    while not os.path.exists(place):  # also one that may not be looked at
        place = place.parent
    gb = shutil.disk_usage(place).free / 1e9
    message = f"{gb:.1f} GB free in {place}"
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding("disk", "bad", f"{place} is not writable; give another --warehouse")
    if gb < _MIN_DISK_GB:
        return Finding("disk", "note", f"{message}; 1,000 hours of music take about 3 GB")
    return Finding("disk", "ok", message)


def _decoders() -> tuple[str, str]:
    """Decode a short sound in every format, since importing a package does not prove it works."""
    from sonic_lib.audio.samples import FORMATS, try_format

    problems = {name: try_format(name) for name in FORMATS}
    failed = [f"{name}: {problem}" for name, problem in problems.items() if problem]
    read = [name for name, problem in problems.items() if not problem]
    message = f"{', '.join(read) or 'no format'} decoded"
    if not failed:
        return "ok", message
    return "bad" if "WAV" in failed[0] else "note", f"{message}; {'; '.join(failed)}"


def _warehouse(warehouse: str) -> Finding:
    if not is_local(warehouse):
        return Finding("warehouse", "note", f"{warehouse} cannot be checked without Spark")
    place = Path(absolute(warehouse))
    try:
        os.listdir(place)
    except FileNotFoundError:
        pass  # the first index creates it
    except OSError as error:
        message = f"{place} cannot be read: {error.strerror}; give another --warehouse"
        return Finding("warehouse", "bad", message)
    tables = sorted(log.parent.name for log in place.glob("*/_delta_log"))
    if not tables:
        message = f"{place} has no tables yet; `sonic index FOLDER` creates them"
        return Finding("warehouse", "note", message)
    return Finding("warehouse", "ok", f"{place}: {', '.join(tables)}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
