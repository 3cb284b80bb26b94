"""All errors that Sonic Signature raises on purpose.

They have one base class, so that callers can catch `SonicError` and commands can turn any of them
into a message and an exit code. A message says what was given, what was expected and what to do.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import PurePath

DISTRIBUTION = "sonic-signature"
XGBOOST = "xgboost" if sys.platform == "darwin" else "xgboost-cpu"
# Packages of the extra "models".
MODELS = ("librosa", "scikit-learn", XGBOOST)


class SonicError(Exception):
    """Raised when Sonic Signature cannot continue; the base class of all its errors."""

    exit_code = 1


class ConfigError(SonicError):
    """Raised when a configuration file or a `--set` option is not valid."""

    exit_code = 2


class UsageError(SonicError):
    """Raised when a path or a command-line argument is wrong."""

    exit_code = 2


class SetupError(SonicError):
    """Raised when the machine lacks something needed: Java, Delta's jars, a Python package."""


class DecodeError(SonicError):
    """Raised when one audio file cannot be used; the job rejects the file and continues.

    Parameters
    ----------
    stage : str
        Where it failed, as stored in the table `song_files`, for example ``"decode"``.
    message : str
        The reason, for the owner of the file.
    """

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(stage, message)
        self.stage = stage

    def __str__(self) -> str:
        return self.args[1]


class TableError(SonicError):
    """Raised when a table is missing, has a different schema, or was made with other parameters."""


class DamageError(TableError):
    """Raised when files of tables are broken.

    Parameters
    ----------
    warehouse : str
    damaged : sequence of storage.damage.Damage
        Each describes what is wrong with a file and what to do.
    """

    def __init__(self, warehouse: str, damaged: Sequence) -> None:
        super().__init__(warehouse, damaged)
        self.damaged = damaged

    def __str__(self) -> str:
        lines = "\n".join(f"  {damage}" for damage in self.damaged)
        return f"Files of the tables in {self.args[0]} are damaged:\n{lines}"


class ModelError(SonicError):
    """Raised when a model cannot be trained, found or applied."""


class ReportError(SonicError):
    """Raised when a job is done and its results are stored, but not the report on them."""


def install_command(*packages: str) -> str:
    """Return the command that installs packages where this program runs.

    It names packages with the versions that setup.py allows, not an extra of this program: for an
    extra, pip would look for the program itself on a package index, which may not have it.

    Parameters
    ----------
    packages : str
        Names as in setup.py.

    Returns
    -------
    str
        A shell command.
    """
    wanted = [shlex.quote(_with_versions(name)) for name in packages]
    parts = PurePath(sys.prefix).parts
    if "pipx" in parts:
        return f"pipx inject {DISTRIBUTION} {' '.join(wanted)}"
    if "uv" in parts and "tools" in parts:
        added = " ".join(f"--with {name}" for name in wanted)
        return f"uv tool install --upgrade {DISTRIBUTION} {added}"
    return f"{shlex.quote(_python())} -m pip install {' '.join(wanted)}"


def _python() -> str:
    """Return the shortest path to the running interpreter."""
    below_here = os.path.relpath(sys.executable)
    return sys.executable if below_here.startswith("..") else below_here


def _with_versions(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, requires  # imported late: it is slow

    from packaging.requirements import Requirement

    try:
        declared = [Requirement(line) for line in requires(DISTRIBUTION) or []]
    except PackageNotFoundError:  # running from a zip, which has no metadata
        return name
    return next((f"{name}{found.specifier}" for found in declared if found.name == name), name)
