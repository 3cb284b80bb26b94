"""What to type when a package is missing: the one place that says so."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import PurePath

DISTRIBUTION = "sonic-signature"
XGBOOST = "xgboost" if sys.platform == "darwin" else "xgboost-cpu"
# What the extra "models" brings.
MODELS = ("librosa", "scikit-learn", XGBOOST)


def install_command(*packages: str) -> str:
    """Give the command that brings packages to where this program runs.

    The packages are named, with the versions that setup.py allows, and not an extra of this
    program: pip would look for the program itself on an index, which need not have it.

    Parameters
    ----------
    packages : str
        Names as in setup.py.

    Returns
    -------
    str
        For a shell.
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
    """Name the running interpreter in as few letters as will do."""
    below_here = os.path.relpath(sys.executable)
    return sys.executable if below_here.startswith("..") else below_here


def _with_versions(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, requires  # here: it takes time to load

    from packaging.requirements import Requirement

    try:
        declared = [Requirement(line) for line in requires(DISTRIBUTION) or []]
    except PackageNotFoundError:  # it came as a zip, which says nothing of versions
        return name
    return next((f"{name}{found.specifier}" for found in declared if found.name == name), name)
