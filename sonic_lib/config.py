"""The configuration: one YAML file, checked before Spark starts.

Settings come from the defaults below, then the file (`--config`), then `--set key=value`.
conf/sonic.yaml lists them all with their meaning.
"""

from __future__ import annotations

import reprlib
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from sonic_lib.audio.sandbox import Limits
from sonic_lib.errors import ConfigError, install_command
from sonic_lib.fingerprint.params import FingerprintParams

# What the YAML parser raises, including for invalid text, invalid dates and endless nesting.
_NO_YAML = (yaml.YAMLError, ValueError, RecursionError)
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 160, 160


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FingerprintConfig(_Section):
    """Parameters of the fingerprints, fixed for the lifetime of a table; except `prefix_bits`."""

    min_hz: float = Field(FingerprintParams.min_hz, ge=50, le=5000)
    max_hz: float = Field(FingerprintParams.max_hz, ge=1000, le=5900)
    densities_per_s: tuple[Annotated[int, Field(ge=1, le=200)], ...] = Field(
        FingerprintParams.densities_per_s, min_length=1
    )
    prefix_bits: int = Field(4, ge=0, le=12)

    @model_validator(mode="after")
    def _check(self) -> FingerprintConfig:
        if self.max_hz < self.min_hz + 500:
            raise ValueError("max_hz must be at least 500 Hz above min_hz")
        if list(self.densities_per_s) != sorted(set(self.densities_per_s)):
            raise ValueError("densities_per_s must be ascending")
        return self

    def params(self) -> FingerprintParams:
        """Return the parameters as sent to the executors."""
        return FingerprintParams(self.min_hz, self.max_hz, self.densities_per_s)


class IndexConfig(_Section):
    """How songs are indexed."""

    min_duration_s: float = Field(3.0, ge=0)
    task_mb: float = Field(16.0, gt=0)
    batch_gb: float = Field(64.0, gt=0)
    file_timeout_s: float = Field(Limits.timeout_s, gt=0, le=1e6)
    file_memory_mb: int = Field(Limits.memory_mb, ge=256)

    def limits(self) -> Limits:
        """Return the limits for reading one file; also used by identify and features."""
        return Limits(self.file_timeout_s, self.file_memory_mb)


class IdentifyConfig(_Section):
    """How clips are identified."""

    false_accept_rate: float = Field(0.01, gt=0, lt=1)
    max_hits_per_window: int = Field(100_000, ge=1000)


class ModelsConfig(_Section):
    """How models are stored."""

    registry: Literal["directory", "mlflow"] = "directory"

    @field_validator("registry")
    @classmethod
    def _check(cls, registry: str) -> str:
        if registry == "mlflow" and find_spec("mlflow") is None:
            raise ValueError(f"mlflow is not installed: {install_command('mlflow')}")
        return registry


class Config(_Section):
    """All settings."""

    warehouse: str = "sonic-warehouse"
    fingerprint: FingerprintConfig = FingerprintConfig()
    index: IndexConfig = IndexConfig()
    identify: IdentifyConfig = IdentifyConfig()
    models: ModelsConfig = ModelsConfig()


def load_config(path: str | None = None, overrides: list[str] | None = None) -> Config:
    """Read and check the configuration.

    Parameters
    ----------
    path : str, optional
        A YAML file.
    overrides : list of str
        ``key=value`` pairs such as ``index.task_mb=32``; values are YAML.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a key or value is not valid.
    """
    settings = _read_yaml(path) if path else {}
    for override in overrides or []:
        key, equals, value = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override!r}: expected key=value, as in index.task_mb=32.")
        *sections, name = key.strip().split(".")
        target = settings
        for section in sections:
            target = target.setdefault(section, {})
            if not isinstance(target, dict):
                raise ConfigError(f"--set {override!r}: {section!r} is not a section.")
        try:
            target[name] = yaml.safe_load(value)
        except _NO_YAML as error:
            message = f"--set {_short(override)}: {_short(value)} is not valid YAML."
            raise ConfigError(message) from error
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, p['loc'])) or 'the file'}: {p['msg']} "
            f"(given: {_short(p['input'])})"
            for p in error.errors()
        ]
        raise ConfigError(
            f"The configuration{f' {path}' if path else ''} is not valid: {'; '.join(problems)}. "
            "conf/sonic.yaml lists all settings."
        ) from error


def _short(given: object) -> str:
    """Abbreviate a value; a few lines of YAML can expand to more than fits into memory."""
    return _SHORT.repr(given)[:200]


def _read_yaml(path: str) -> dict:
    try:
        settings = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, *_NO_YAML) as error:
        reason = " ".join(str(error).split())  # YAML's takes several lines
        raise ConfigError(f"The configuration {path} cannot be read: {reason}.") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"The configuration {path} must be a mapping of settings to values.")
    # A section with all its lines commented out is empty, which is fine.
    return {key: value for key, value in settings.items() if value is not None}
