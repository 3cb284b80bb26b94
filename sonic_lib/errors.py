"""Every error that Sonic Signature raises on purpose.

One tree, so that a caller can catch `SonicError` and a command can turn any of them into one
paragraph and an exit code. A message says what was given, what was expected and what to do.
"""

from __future__ import annotations


class SonicError(Exception):
    """Raised when Sonic Signature cannot go on; the parent of all its errors."""

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
    """Raised when one audio file cannot be used; the job rejects the file and goes on.

    Parameters
    ----------
    stage : str
        Where it failed, as stored in the table `song_files`, for example ``"decode"``.
    message : str
        The reason, in words for the owner of the file.
    """

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(stage, message)
        self.stage = stage

    def __str__(self) -> str:
        return self.args[1]


class TableError(SonicError):
    """Raised when a table is missing, has another schema, or was made with other parameters."""


class ModelError(SonicError):
    """Raised when a model cannot be trained, found or applied."""
